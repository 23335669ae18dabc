use kv_types::{Epoch, ShardConfig, ShardId};
use tokio::sync::watch;
use tracing::{debug, warn};
use zookeeper_client::{Error as ZkError, MultiWriteResult};

use std::sync::Arc;

use crate::{
    Error, Result, Versioned, View,
    document::{decode, encode},
    layout::Key,
    request::{Write, WriteFailure},
    session::Session,
};

/// How a compare-and-set of a shard ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CasOutcome {
    /// It was applied; the version of the znode since.
    Won(i32),
    /// It was not applied and never will be. `newer` was read from ZooKeeper's leader. It may equal what was to be
    /// written: then an earlier request of unknown outcome had been applied.
    Lost {
        /// What ZooKeeper holds, of a higher epoch than the expected one.
        newer: ShardConfig,
    },
    /// It may have been applied, or may still be, until an epoch above the expected one has been seen.
    Unknown,
}

/// A split, as the parent's primary wants it.
#[derive(Clone, Debug)]
pub struct SplitChange {
    /// The shard that is split.
    pub parent: ShardId,
    /// Its epoch before.
    pub expected: Epoch,
    /// The parent after: `expected + 1` and the lower half of the range.
    pub new_parent: ShardConfig,
    /// An id that was never used.
    pub child: ShardId,
    /// The child: the upper half, with the parent's primary, ISR and lineage.
    pub child_config: ShardConfig,
}

/// The one path by which a shard's configuration changes.
#[derive(Clone)]
pub(crate) struct Changes {
    session: Session,
    view: watch::Receiver<Arc<View>>,
}

impl Changes {
    pub(crate) fn new(session: Session, view: watch::Receiver<Arc<View>>) -> Self {
        Self { session, view }
    }

    pub(crate) async fn compare_and_set(&self, shard: ShardId, expected: Epoch, new: &ShardConfig) -> CasOutcome {
        if new.epoch != expected.next() || !new.is_in_sync(new.primary) {
            // Nothing that the protocol allows: never sent, so it can't be in flight either; but it has no other answer.
            warn!(%shard, %expected, ?new, "refused to write a configuration that can't follow");
            return CasOutcome::Unknown;
        }
        match self.change(shard, expected, new, Vec::new()).await {
            Ok(outcome) => outcome,
            Err(error) => {
                warn!(%shard, %expected, %error, "outcome of a change is unknown");
                CasOutcome::Unknown
            }
        }
    }

    /// # Errors
    /// [`Error::ShardExists`], [`Error::NoShard`] and [`Error::InvalidChange`]: nothing was changed.
    pub(crate) async fn split(&self, split: &SplitChange) -> Result<CasOutcome> {
        let SplitChange { parent, expected, new_parent, child, child_config } = split;
        check_split(split)?;
        let layout = self.session.layout();
        let placement = layout.path(&Key::Placement(*parent));
        let Some(placement) = self.session.read(&placement).await?.map(|node| node.data) else {
            return Err(Error::NoShard(*parent));
        };
        let with = vec![
            Write::create(layout.path(&Key::Shard(*child)), encode(child_config)),
            Write::create(layout.path(&Key::Placement(*child)), placement),
        ];
        match self.change(*parent, *expected, new_parent, with).await {
            Err(Error::Refused { source: ZkError::NodeExists, .. }) => Err(Error::ShardExists(*child)),
            Err(Error::NoShard(shard)) => Err(Error::NoShard(shard)),
            Err(error) => {
                warn!(shard = %parent, %expected, %error, "outcome of a split is unknown");
                Ok(CasOutcome::Unknown)
            }
            Ok(outcome) => Ok(outcome),
        }
    }

    /// `sync`, then read.
    pub(crate) async fn quorum_read(&self, shard: ShardId) -> Result<Versioned<ShardConfig>> {
        let path = self.session.layout().path(&Key::Shard(shard));
        let Some(node) = self.session.read_synced(&path).await? else {
            // A shard is never removed. Who takes it for gone would throw its copies away.
            if self.view.borrow().shards.contains_key(&shard) {
                return Err(Error::Malformed { path, reason: "it has vanished".into() });
            }
            return Err(Error::NoShard(shard));
        };
        let value = decode(&path, &node.data)?;
        Ok(Versioned { value, version: node.stat.version, changed: node.stat.mzxid, owner: 0 })
    }

    /// Writes `new` at the version that the configuration of epoch `expected` has, together with `with`.
    async fn change(&self, shard: ShardId, expected: Epoch, new: &ShardConfig, with: Vec<Write>) -> Result<CasOutcome> {
        let seen = {
            let view = self.view.borrow();
            // Only from a view that is kept up to date: were ZooKeeper rebuilt meanwhile, versions begin anew.
            let seen = view.shards.get(&shard).filter(|seen| view.connected && seen.value.epoch == expected);
            seen.cloned()
        };
        let current = match seen {
            Some(seen) => seen,
            None => self.quorum_read(shard).await?,
        };
        if current.value.epoch > expected {
            return Ok(CasOutcome::Lost { newer: current.value });
        }
        if current.value.epoch < expected {
            let reason = format!("zookeeper holds epoch {} where {expected} was seen", current.value.epoch);
            return Err(Error::InvalidChange { shard, reason });
        }
        let path = self.session.layout().path(&Key::Shard(shard));
        let mut writes = vec![Write::Set { path: path.clone(), data: encode(new), version: current.version }];
        writes.extend(with);
        match self.session.commit(writes).await {
            Ok(results) => match results.first() {
                Some(MultiWriteResult::SetData { stat }) => Ok(CasOutcome::Won(stat.version)),
                _ => Err(Error::Unknown(None)),
            },
            // Never skipped: what is there now decides (KAFKA-2729).
            Err(WriteFailure::Part(0, ZkError::BadVersion)) => {
                debug!(%shard, %expected, "another change came first");
                let newer = self.quorum_read(shard).await?.value;
                if newer.epoch > expected {
                    return Ok(CasOutcome::Lost { newer });
                }
                let reason = format!("its version is not that of epoch {expected}, but its epoch is {}", newer.epoch);
                Err(Error::InvalidChange { shard, reason })
            }
            Err(WriteFailure::Part(0, ZkError::NoNode)) => Err(Error::NoShard(shard)),
            Err(failure) => Err(failure.into_error(&path)),
        }
    }
}

fn check_split(split: &SplitChange) -> Result<()> {
    let SplitChange { parent, expected, new_parent, child, child_config } = split;
    let invalid = |reason: &str| Err(Error::InvalidChange { shard: *parent, reason: reason.to_owned() });
    if parent == child {
        return invalid("a split's child needs an id of its own");
    }
    if new_parent.epoch != expected.next() {
        return invalid("a split's parent must be of the next epoch");
    }
    let halves = new_parent.range.end.as_ref() == Some(&child_config.range.start);
    if !halves || new_parent.range.is_empty() || child_config.range.is_empty() {
        return invalid("a split's halves must adjoin and hold keys");
    }
    let alike = new_parent.primary == child_config.primary
        && new_parent.isr == child_config.isr
        && new_parent.lineage == child_config.lineage;
    if !alike {
        return invalid("a split's child must have the parent's primary, in-sync set and lineage");
    }
    Ok(())
}
