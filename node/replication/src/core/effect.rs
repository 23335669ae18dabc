use bytes::Bytes;
use kv_types::{Entry, EntryId, Epoch, EpochHistory, Lineage, Seq, ShardConfig, ShardId, VolumeId};

use super::{Message, Ticket, Token};

/// Something for the driver to do, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send a message.
    Send(Message),
    /// Append to the durable log; the entries' order and seqs continue it.
    Append {
        /// What to append.
        entries: Vec<Entry>,
        /// To be reported by [`super::Input::Durable`].
        ticket: Ticket,
    },
    /// Cut all entries above `after` from the durable log.
    Truncate {
        /// The last entry that stays.
        after: Seq,
        /// To be reported durable.
        ticket: Ticket,
    },
    /// Make promise and lineage durable.
    Promise {
        /// The promised epoch.
        epoch: Epoch,
        /// The lineage of the log.
        lineage: Lineage,
        /// Whether the copy has lost what it once acknowledged.
        void: bool,
        /// To be reported durable.
        ticket: Ticket,
    },
    /// Empty the log and, if `base` is zero, the table; the log starts anew after `base`.
    Reset {
        /// The entry that the log starts after.
        base: EntryId,
        /// The history up to `base`.
        history: EpochHistory,
        /// To be reported durable.
        ticket: Ticket,
    },
    /// Change the shard's znode by compare-and-set; answered by [`super::Input::Changed`].
    CompareAndSet {
        /// The epoch that must be in force.
        expected: Epoch,
        /// What is to be in force then.
        new: ShardConfig,
        /// To be created in the same step.
        split: Option<(ShardId, ShardConfig)>,
    },
    /// Read the shard's znode as it is now (`sync`, then read); answered by [`super::Input::Config`].
    ReadConfig,
    /// Apply committed entries to the table and answer their requests.
    Apply(Vec<Committed>),
    /// Read the table now and answer: the replica is primary and its leases hold at this very moment.
    Serve(Token),
    /// Answer a request without result.
    Refuse {
        /// The request.
        token: Token,
        /// Why.
        refusal: Refusal,
    },
    /// A handover or split has taken effect.
    Done {
        /// The request.
        token: Token,
        /// The configuration in force since.
        config: ShardConfig,
    },
    /// Read entries from the durable log for a follower; answered by [`super::Input::Fetched`].
    FetchEntries {
        /// The follower.
        to: VolumeId,
        /// The first seq.
        from: Seq,
        /// At most so many bytes, but at least one entry.
        max_bytes: usize,
    },
    /// Fetch a snapshot from the primary and put it into the table, which is empty; answered by
    /// [`super::Input::SnapshotInstalled`] or [`super::Input::SnapshotFailed`].
    FetchSnapshot {
        /// The primary.
        from: VolumeId,
        /// Its epoch.
        epoch: Epoch,
    },
    /// The replica leads since now, or doesn't any more.
    Leads(bool),
}

/// A committed entry, and the request that waits for it on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The entry.
    pub entry: Entry,
    /// Who asked for it.
    pub token: Option<Token>,
}

/// Why a request got no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Definite: this replica does not lead. `primary` is who does, as far as it knows.
    NotPrimary {
        /// The primary of the newest known configuration.
        primary: Option<VolumeId>,
    },
    /// Definite: the replica leads, but can't serve: no leases, barrier not committed, or the node has ceased.
    Unavailable(&'static str),
    /// Definite: a bound is reached; names it.
    Exhausted(&'static str),
    /// Definite: fewer copies in sync than configured.
    TooFewInSync {
        /// Replicas in sync.
        in_sync: usize,
        /// The configured bound.
        bound: usize,
    },
    /// It may or may not happen: the entry was appended, and the replica does not lead any more.
    Unknown,
    /// A handover or split that can't be done, with the reason.
    Impossible(&'static str),
}

/// Payload of the barrier entry, encoded once.
pub(super) fn barrier() -> Bytes {
    kv_types::Command::Barrier.encode()
}
