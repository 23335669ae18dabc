//! Waits for a cluster that has all it should have.

use std::time::Duration;

use kv_client::description::ClusterDescription;
use kv_tests::claims;
use tokio::time::{Instant, sleep};

use crate::{Result, nemesis::Nemesis, observe, rule};

/// How long a cluster may take to have all its copies before something is destroyed; else that is left out.
const CALM_WITHIN: Duration = Duration::from_secs(20);
/// A primary removes a copy that does not acknowledge after less than a lease, and asks ZooKeeper for that at once.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

impl Nemesis<'_> {
    /// Waits for the end of all faults, until the cluster has all its copies, and then for so long that no change of a
    /// configuration can be under way that an earlier fault has caused: one that removes the very copy which is to be kept.
    pub(crate) async fn calm(&mut self) -> Result<std::result::Result<ClusterDescription, String>> {
        self.pass_all().await?;
        let deadline = Instant::now() + CALM_WITHIN;
        let settled = SETTLED_AFTER.max(self.settings.lease() * 3);
        let epochs = |description: &ClusterDescription| -> Vec<_> {
            description.shards.iter().map(|shard| (shard.shard, shard.epoch)).collect()
        };
        let mut last: Option<(Instant, Vec<_>)> = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let description = match self.until(left, rule::complete).await? {
                Ok((description, _)) => description,
                Err(why) => return Ok(Err(why)),
            };
            self.rule.note(&description);
            let now = epochs(&description);
            match &last {
                Some((since, before)) if *before == now && since.elapsed() >= settled => return Ok(Ok(description)),
                Some((_, before)) if *before == now => {}
                _ => last = Some((Instant::now(), now)),
            }
            if left.is_zero() {
                return Ok(Err(format!("configurations go on changing for {CALM_WITHIN:?}")));
            }
            self.pause().await;
        }
    }

    /// Waits until the cluster has all its copies and every home serves its own; how long that took, or what was not so.
    pub(crate) async fn whole(&mut self, within: Duration) -> Result<std::result::Result<Duration, String>> {
        let nodes = self.cluster.node_count();
        let whole = self.until(within, |description| claims::whole_with(description, nodes)).await?;
        Ok(whole.map(|(_, took)| took))
    }

    /// As [`observe::until`]; who ends by itself meanwhile is started again, as a supervisor does.
    async fn until(
        &mut self,
        within: Duration,
        mut claim: impl FnMut(&ClusterDescription) -> std::result::Result<(), String>,
    ) -> Result<std::result::Result<(ClusterDescription, Duration), String>> {
        let started = Instant::now();
        loop {
            self.look_for_the_dead()?;
            match observe::claimed(self.cluster, &mut claim).await {
                Ok(description) => return Ok(Ok((description, started.elapsed()))),
                Err(why) if started.elapsed() >= within => return Ok(Err(observe::late(within, &why))),
                Err(_) => sleep(observe::LOOK_EVERY).await,
            }
        }
    }
}
