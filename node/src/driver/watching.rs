//! Watches of the shards that this node leads.

use std::{sync::Arc, time::Duration};

use kv_types::{KeyRange, Lineage, Seq, ShardId};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::{Driver, events::Event, replica::Replica};

/// How often an idle watch looks whether its copy still leads; it is told, so this is a safety net.
const LEAD_CHECK: Duration = Duration::from_secs(1);
/// How often a watch tells that time has passed its keys by, while others of the shard change.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// What changes within this time is taken together, so that a busy shard does not wake each watch at every entry.
const GATHER: Duration = Duration::from_millis(2);

/// Up to where a shard's changes are known. A split's child goes on with its parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Seqs of another lineage name other entries.
    pub lineage: Lineage,
    /// All changes up to this one.
    pub seq: Seq,
}

/// Events of one range of keys within a shard, from one copy for as long as it leads them all.
pub struct Subscription {
    replica: Arc<Replica>,
    range: KeyRange,
    /// All up to here was given out.
    at: Position,
    told: Seq,
    told_at: Instant,
    taken_at: Instant,
    changed: watch::Receiver<Seq>,
}

/// Why a subscription can't begin or go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchFailure {
    /// This node does not lead all of the range (any more): ask those that do.
    #[error("this node does not serve the shard")]
    NotHere,
    /// Older events than are kept were asked for.
    #[error("changes after {asked} were asked for, only those after {since} are kept")]
    Compacted {
        /// The seq that was asked for.
        asked: Seq,
        /// Events after this seq are kept.
        since: Seq,
    },
    /// Changes may have been lost.
    #[error(
        "changes of lineage {asked} were asked for, and the shard is of lineage {now} since it was promoted by force"
    )]
    Promoted {
        /// The lineage that was asked for.
        asked: Lineage,
        /// That of the shard.
        now: Lineage,
    },
}

impl Driver {
    /// Follows the changes of `range`, which is within `shard`, after `from` (`None`: from now on).
    ///
    /// # Errors
    /// [`WatchFailure`].
    pub fn subscribe(
        &self,
        shard: ShardId,
        range: KeyRange,
        from: Option<Position>,
    ) -> Result<Subscription, WatchFailure> {
        let routes = self.shared.routes();
        let entry = routes.of_shard(shard).ok_or(WatchFailure::NotHere)?;
        let replica = entry.copies.iter().find(|copy| copy.leads()).ok_or(WatchFailure::NotHere)?;
        let (at, changed) = {
            let state = replica.lock();
            let now = Position { lineage: state.core.lineage(), seq: state.applied.seq };
            (from.unwrap_or(now), state.events.subscribe())
        };
        let now = Instant::now();
        let replica = Arc::clone(replica);
        let subscription = Subscription { replica, range, at, told: at.seq, told_at: now, taken_at: now, changed };
        subscription.events(0)?;
        Ok(subscription)
    }
}

impl Subscription {
    /// Up to where all was given out.
    #[must_use]
    pub fn position(&self) -> Position {
        self.at
    }

    /// The next events, at most about `max`, and up to where there are no others. Now and then no events, if only other
    /// keys of the shard have changed.
    ///
    /// # Errors
    /// [`WatchFailure`]; go on from the last position elsewhere.
    pub async fn next(&mut self, max: usize) -> Result<(Vec<Event>, Position), WatchFailure> {
        loop {
            self.changed.borrow_and_update();
            let (events, until) = self.events(max)?;
            self.taken_at = Instant::now();
            self.at.seq = until;
            // The last one says how far it has come: the next copy may keep nothing from before.
            let due = self.told_at.elapsed() >= PROGRESS_EVERY || !self.replica.leads();
            let progress = until > self.told && due;
            if !events.is_empty() || progress {
                self.told = until;
                self.told_at = self.taken_at;
                return Ok((events, self.at));
            }
            let wait = if until > self.told { PROGRESS_EVERY } else { LEAD_CHECK };
            if let Ok(Err(_)) = timeout(wait, self.changed.changed()).await {
                return Err(WatchFailure::NotHere);
            }
            sleep_until(self.taken_at + GATHER).await;
        }
    }

    /// Under one lock: whatever is given out was applied while the copy led all of the range. What a parent applies
    /// after a split has seqs that mean nothing for the child's keys. A copy that has handed the shard over still gives out
    /// what it applied as primary: the next one may have begun with a snapshot, and not keep what was before.
    fn events(&self, max: usize) -> Result<(Vec<Event>, Seq), WatchFailure> {
        let state = self.replica.lock();
        let covers = |own: &KeyRange| own.intersection(&self.range) == self.range;
        // A copy that doesn't lead any more may still apply: what it applies is committed, but late.
        let bound = if self.replica.leads() { Seq(u64::MAX) } else { state.led_until };
        if self.at.seq >= bound || !state.core.config().is_some_and(|config| covers(&config.range)) {
            return Err(WatchFailure::NotHere);
        }
        let Position { lineage: asked, seq } = self.at;
        let now = state.core.lineage();
        if asked != now {
            return Err(WatchFailure::Promoted { asked, now });
        }
        let found = state.events.after(seq, &self.range, max);
        let (mut events, until) =
            found.map_err(|compacted| WatchFailure::Compacted { asked: seq, since: compacted.since })?;
        events.retain(|event| event.revision <= bound.0);
        Ok((events, until.min(bound)))
    }
}
