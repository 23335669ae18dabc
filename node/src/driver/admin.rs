//! Handover and split, as asked for by a person, the master or the node's own shutdown.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kv_replication::core::{Input, RoleReport, Token};
use kv_types::{Command, Epoch, NodeName, ShardConfig, ShardId, Split, VolumeId};
use tokio::{sync::oneshot, time::timeout};
use tracing::info;

use super::{
    Driver,
    middle::{Measured, measure},
    replica::{Pending, Replica},
    request::Failure,
};

/// How long a handover or split may take; it goes on by itself if nobody waits any more.
const TRANSFER_LIMIT: Duration = Duration::from_secs(10);

impl Driver {
    /// Makes the in-sync copy on `target` the primary of `shard`.
    ///
    /// # Errors
    /// [`Failure::NotHere`] if this node does not lead the shard, or why it can't be done.
    pub async fn handover(&self, shard: ShardId, target: &NodeName) -> Result<Epoch, Failure> {
        let replica = self.leading(shard)?;
        let view = self.cluster().view();
        let node = view.nodes.get(target).map(|node| &node.value);
        let node = node.ok_or_else(|| Failure::NoSuch(format!("there is no node {target}")))?;
        let isr = replica.lock().core.config().map(|config| config.isr.clone()).unwrap_or_default();
        let volume = [node.data, node.bkpdata].into_iter().find(|volume| isr.contains(volume));
        let volume =
            volume.ok_or_else(|| Failure::Refused(format!("{target} has no copy of shard {shard} in sync")))?;
        let config = self.transfer(&replica, |token| Input::Handover { token, target: volume }).await?;
        Ok(config.epoch)
    }

    /// Splits `shard` at a key, or in the middle of its keys. Returns the new shard and its first key.
    ///
    /// # Errors
    /// [`Failure::NotHere`] if this node does not lead the shard, or why it can't be done.
    pub async fn split(&self, shard: ShardId, at: Option<Bytes>) -> Result<(ShardId, Bytes), Failure> {
        let replica = self.leading(shard)?;
        let at = match at {
            Some(at) => at,
            None => {
                let middle = self.measure(shard).await?.middle;
                middle.ok_or_else(|| Failure::Refused(format!("shard {shard} has too few keys to be split")))?
            }
        };
        // The split itself flushes the table while requests are held: the less is left for it, the shorter they wait.
        let table = Arc::clone(replica.volume.volume.table());
        let flushed = tokio::task::spawn_blocking(move || table.flush()).await;
        flushed
            .map_err(|error| Failure::Fault(error.to_string()))?
            .map_err(|error| Failure::Fault(error.to_string()))?;
        let child = self.unused_shard();
        let payload = Command::Split(Split { child, at: at.clone() }).encode();
        let input = |token| Input::Split { token, child, at: at.clone(), payload };
        self.transfer(&replica, input).await?;
        info!(%shard, %child, at = %at.escape_ascii(), "shard was split");
        Ok((child, at))
    }

    /// Reads all rows of a shard that this node leads.
    pub(super) async fn measure(&self, shard: ShardId) -> Result<Measured, Failure> {
        let replica = self.leading(shard)?;
        let measured = tokio::task::spawn_blocking(move || measure(&replica)).await;
        let fault = |error: &dyn std::fmt::Display| Failure::Fault(error.to_string());
        measured.map_err(|error| fault(&error))?.map_err(|error| fault(&error))
    }

    /// An id that no other node takes at the same time: each has its own residue by its place in the line of members. (Where
    /// two take the same after all, ZooKeeper creates only one, and the other split is called off.)
    fn unused_shard(&self) -> ShardId {
        let view = self.cluster().view();
        let place = view.members.iter().position(|member| member.info.node == *self.node()).unwrap_or(0) as u64;
        let line = view.members.len().max(1) as u64;
        let next = view.next_shard().0;
        ShardId(next + (place + line - next % line) % line)
    }

    async fn transfer(
        &self,
        replica: &Arc<Replica>,
        input: impl FnOnce(Token) -> Input,
    ) -> Result<ShardConfig, Failure> {
        let (done, outcome) = oneshot::channel();
        {
            let mut state = replica.lock();
            let token = state.token();
            state.pending.insert(token, Pending::Transfer(done));
            state.step(&self.shared, replica, input(token));
        }
        let unknown = |why: &str| Err(Failure::Unknown(why.to_owned()));
        match timeout(TRANSFER_LIMIT, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => unknown("the copy was dropped meanwhile"),
            Err(_) => unknown("it is still under way"),
        }
    }

    fn leading(&self, shard: ShardId) -> Result<Arc<Replica>, Failure> {
        let routes = self.shared.routes();
        let entry = routes.of_shard(shard).ok_or_else(|| Failure::NoSuch(format!("there is no shard {shard}")))?;
        entry.copies.iter().find(|copy| copy.leads()).cloned().ok_or(Failure::NotHere)
    }

    /// Hands over all that this node leads, as far as another copy is in sync. Returns how many shards are left.
    pub async fn hand_over_all(&self) -> usize {
        let leading: Vec<_> = self.shared.replicas().values().filter(|replica| replica.leads()).cloned().collect();
        let handovers = leading.iter().map(|replica| async move {
            let Some(target) = best_follower(self, replica) else { return false };
            self.transfer(replica, |token| Input::Handover { token, target }).await.is_ok()
        });
        let done = futures::future::join_all(handovers).await;
        done.into_iter().filter(|done| !done).count()
    }
}

impl Driver {
    /// Whether a primary elsewhere waits for acknowledgements of a copy here.
    pub(super) fn is_counted_on(&self) -> bool {
        let mine = self.shared.volumes.each_ref().map(|volume| volume.id);
        let view = self.cluster().view();
        let counted = |config: &ShardConfig| {
            !mine.contains(&config.primary) && mine.iter().any(|volume| config.is_in_sync(*volume))
        };
        view.shards.values().any(|seen| counted(&seen.value))
    }
}

/// The in-sync follower that is alive and lags least.
fn best_follower(driver: &Driver, replica: &Arc<Replica>) -> Option<VolumeId> {
    let report = replica.lock().core.report(driver.shared.now());
    let RoleReport::Primary { followers, .. } = report.role else { return None };
    let config = report.config?;
    let in_sync = followers.into_iter().filter(|follower| follower.alive && config.is_in_sync(follower.volume));
    in_sync.max_by_key(|follower| follower.matched).map(|follower| follower.volume)
}
