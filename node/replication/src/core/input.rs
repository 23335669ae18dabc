use std::sync::Arc;

use bytes::Bytes;
use kv_types::{Entry, EntryId, Epoch, EpochHistory, Seq, ShardConfig, ShardId, VolumeId};

use super::{Message, Surroundings};

/// Numbers what a replica makes durable, in the order in which it was handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Chosen by the driver for a request; comes back with its answer exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Something that has happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed. Due at least every tenth of a lease.
    Tick,
    /// A message from another replica of the shard.
    Message(Message),
    /// All that was handed over up to this ticket is durable.
    Durable(Ticket),
    /// A configuration was read.
    Config {
        /// What was read.
        config: ShardConfig,
        /// Whether by `sync` and then read, so that it was current at some moment after the read was asked for.
        quorum: bool,
    },
    /// How a compare-and-set ended.
    Changed {
        /// The epoch at which it was sent.
        expected: Epoch,
        /// How it ended.
        outcome: ChangeOutcome,
    },
    /// The world around has changed.
    Surroundings(Arc<Surroundings>),
    /// A client's entry. Takes effect with the next other input, at the latest [`Input::Flush`].
    Propose {
        /// The request.
        token: Token,
        /// An encoded command.
        payload: Bytes,
    },
    /// No more proposals for the moment: hand over and send what was proposed.
    Flush,
    /// A client's read.
    Read {
        /// The request.
        token: Token,
        /// Confirmed by a round trip to every member instead of leases.
        confirmed: bool,
    },
    /// Make another member the primary, and tell `token` when it is.
    Handover {
        /// The request.
        token: Token,
        /// A member.
        target: VolumeId,
    },
    /// Split the shard; `payload` is the encoded split command.
    Split {
        /// The request.
        token: Token,
        /// The new shard.
        child: ShardId,
        /// Its first key.
        at: Bytes,
        /// An encoded command.
        payload: Bytes,
    },
    /// Entries for a follower that lags, as asked for by [`super::Effect::FetchEntries`].
    Fetched {
        /// The follower.
        to: VolumeId,
        /// The first seq that was asked for.
        from: Seq,
        /// In order from `from`; `None`: the log does not reach back so far.
        entries: Option<Vec<Entry>>,
    },
    /// The snapshot asked for by [`super::Effect::FetchSnapshot`] is in the table.
    SnapshotInstalled {
        /// The primary's epoch in which it was asked for.
        epoch: Epoch,
        /// The last entry in it.
        base: EntryId,
        /// The primary's log up to `base`.
        history: EpochHistory,
    },
    /// The snapshot could not be had; the core asks again when the primary says so again.
    SnapshotFailed {
        /// The primary's epoch in which it was asked for.
        epoch: Epoch,
    },
    /// The connection from or to the replica's node was lost, and messages with it.
    LinkLost(VolumeId),
}

/// How a compare-and-set ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// The new configuration is in force.
    Won(ShardConfig),
    /// The epoch was not the expected one any more; this one is newer.
    Lost(ShardConfig),
    /// Nobody knows: it may be applied later still.
    Unknown,
}
