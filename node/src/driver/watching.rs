//! Watches of the shards that this node leads.

use kv_types::{KeyRange, Seq, ShardId};
use tokio::sync::watch;

use super::{Driver, events::Event, replica::Replica};
use std::sync::Arc;

/// Events of one shard, from one copy for as long as it leads.
pub struct Subscription {
    replica: Arc<Replica>,
    range: KeyRange,
    /// All up to here was given out.
    at: Seq,
    changed: watch::Receiver<Seq>,
}

/// Why a subscription can't begin or go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchFailure {
    /// This node does not lead the shard (any more): ask the one that does.
    #[error("this node does not serve the shard")]
    NotHere,
    /// Older events than are kept were asked for.
    #[error("events after {asked} were asked for, only those after {since} are kept")]
    Compacted {
        /// The seq that was asked for.
        asked: Seq,
        /// Events after this seq are kept.
        since: Seq,
    },
}

impl Driver {
    /// Follows the changes of `shard` within `range` after `from` (`None`: from now on).
    ///
    /// # Errors
    /// [`WatchFailure`].
    pub fn subscribe(&self, shard: ShardId, range: KeyRange, from: Option<Seq>) -> Result<Subscription, WatchFailure> {
        let routes = self.shared.routes();
        let entry = routes.of_shard(shard).ok_or(WatchFailure::NotHere)?;
        let replica = entry.copies.iter().find(|copy| copy.leads()).ok_or(WatchFailure::NotHere)?;
        let state = replica.lock();
        let at = from.unwrap_or(state.applied.seq);
        let changed = state.events.subscribe();
        drop(state);
        let mut subscription = Subscription { replica: Arc::clone(replica), range, at, changed };
        subscription.check()?;
        Ok(subscription)
    }
}

impl Subscription {
    /// The next events, at most about `max`, and the seq up to which there are no others.
    ///
    /// # Errors
    /// [`WatchFailure`]; go on from the last seq elsewhere.
    pub async fn next(&mut self, max: usize) -> Result<(Vec<Event>, Seq), WatchFailure> {
        loop {
            self.changed.borrow_and_update();
            let (events, until) = self.take(max)?;
            if !events.is_empty() {
                return Ok((events, until));
            }
            // A copy that doesn't lead any more may still apply: what it applies is committed, but late.
            let moved = tokio::time::timeout(LEAD_CHECK, self.changed.changed()).await;
            if matches!(moved, Ok(Err(_))) || !self.replica.leads() {
                return Err(WatchFailure::NotHere);
            }
        }
    }

    /// The range of keys that the shard still has of those asked for.
    #[must_use]
    pub fn covered(&self) -> KeyRange {
        let own = self.replica.lock().core.config().map(|config| config.range.clone());
        own.map_or_else(|| self.range.clone(), |own| own.intersection(&self.range))
    }

    fn check(&mut self) -> Result<(), WatchFailure> {
        let (asked, range) = (self.at, self.range.clone());
        let found = self.replica.lock().events.after(asked, &range, 0);
        found.map(drop).map_err(|compacted| WatchFailure::Compacted { asked, since: compacted.since })
    }

    fn take(&mut self, max: usize) -> Result<(Vec<Event>, Seq), WatchFailure> {
        let asked = self.at;
        let found = self.replica.lock().events.after(asked, &self.range, max);
        let (events, until) = found.map_err(|compacted| WatchFailure::Compacted { asked, since: compacted.since })?;
        self.at = until;
        Ok((events, until))
    }
}

/// How often an idle watch looks whether its copy still leads.
const LEAD_CHECK: std::time::Duration = std::time::Duration::from_millis(250);
