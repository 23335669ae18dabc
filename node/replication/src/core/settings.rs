use std::{collections::BTreeSet, ops::Add, time::Duration};

use kv_types::{Placement, VolumeId};

/// A reading of the node's own clock, in microseconds from an arbitrary start.
///
/// The clock must count while the machine is suspended (`CLOCK_BOOTTIME`); only a bound on its *rate* is assumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 4))
    }
}

/// What all replicas of a cluster must agree on, and bounds of this node's memory.
#[derive(Clone, Debug)]
pub struct Settings {
    /// L: how long a member's grant lasts, by the member's clock.
    pub lease: Duration,
    /// Writes are refused while the ISR is smaller.
    pub min_in_sync: usize,
    /// Bytes of entries that are appended and not yet committed, per shard.
    pub max_uncommitted_bytes: usize,
    /// Bytes of entries in one message.
    pub max_message_bytes: usize,
    /// Bytes sent to one follower and not yet acknowledged.
    pub max_unacknowledged_bytes: usize,
    /// Committed entries kept in memory for followers that lag a little, in bytes per shard.
    pub kept_tail_bytes: usize,
    /// Requests that wait for a lease, a barrier or the end of a handover, per shard.
    pub max_waiting: usize,
}

impl Settings {
    /// The bounds of a node with default configuration, and a lease of length `lease`.
    #[must_use]
    pub const fn new(lease: Duration) -> Self {
        Self {
            lease,
            min_in_sync: 1,
            max_uncommitted_bytes: 32 << 20,
            max_message_bytes: 1 << 20,
            max_unacknowledged_bytes: 8 << 20,
            kept_tail_bytes: 1 << 20,
            max_waiting: 16_384,
        }
    }

    pub(super) fn heartbeat_every(&self) -> Duration {
        self.lease / 10
    }

    /// The primary counts 0.85 L from the send stamp: the member counts all of L from receipt, so the primary stops
    /// first as long as the two clocks' rates differ by less than 15 %. **\[M\]**
    pub(super) fn lease_at_primary(&self) -> Duration {
        self.lease * 85 / 100
    }

    /// Below 0.85 L, so that the primary removes a silent member before it loses that member's lease.
    pub(super) fn shrink_after(&self) -> Duration {
        self.lease * 60 / 100
    }

    /// How long a change of unknown outcome rests before the next attempt.
    pub(super) fn retry_after(&self) -> Duration {
        self.lease / 4
    }

    /// How long a request may wait at a primary that can't serve it yet.
    pub(super) fn wait_at_most(&self) -> Duration {
        self.lease * 2
    }

    /// How long a transfer may take to bring its target up to date, with all requests held.
    pub(super) fn drain_at_most(&self) -> Duration {
        self.lease / 2
    }

    /// How long a primary serves before it hands a shard back to its home, so that a home which comes and goes does
    /// not drag the shard along.
    pub(super) fn settle(&self) -> Duration {
        self.lease * 2
    }
}

/// What the driver knows of the world around the replica. All of it is hints: wrong ones cost availability only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Whether ZooKeeper answers, so that a change can be expected to get through.
    pub zookeeper: bool,
    /// The node is cut off and has ceased to serve (protocol, section 7).
    pub ceased: bool,
    /// Whether peers reach this node from outside. A primary that they don't reach removes nobody: it is itself the
    /// one to be replaced (protocol, section 3).
    pub reachable: bool,
    /// The node is about to stop: its primaries remove it before it goes, so that nothing waits for it, and it takes
    /// over nothing any more.
    pub leaving: bool,
    /// A copy that is not in sync waits: others on this node come first. A returning node brings its `bkpdata` up to
    /// date before its `data` (protocol, section 6).
    pub waits: bool,
    /// Volumes of registered nodes.
    pub registered: BTreeSet<VolumeId>,
    /// Where copies of this shard should be.
    pub placement: Option<Placement>,
}
