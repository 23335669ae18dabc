use kv_types::{Entry, EntryId, Epoch, EpochHistory, Lineage, Seq, VolumeId};

use super::Time;

/// From one replica of a shard to another. May be lost, repeated, delayed and reordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender.
    pub from: VolumeId,
    /// The sender's incarnation: it grows with every start and every loss of the copy. What an earlier one has said says
    /// nothing of what the copy has now. **\[P\]**
    pub incarnation: u64,
    /// The receiver.
    pub to: VolumeId,
    /// From a primary: its epoch. From a follower: the epoch of the primary it speaks to, or that it knows.
    pub epoch: Epoch,
    /// A replica of another lineage doesn't listen.
    pub lineage: Lineage,
    /// What is said.
    pub body: Body,
}

/// What a [`Message`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A follower asks for the primary's entries.
    Follow {
        /// The follower's log.
        history: EpochHistory,
        /// The follower has lost what it once acknowledged and must leave the ISR before it counts again. **\[P\]**
        void: bool,
    },
    /// Entries that follow `previous` in the log of the primary of the message's epoch.
    Append {
        /// The entry before the first of `entries`.
        previous: EntryId,
        /// In order, without gaps; may be empty.
        entries: Vec<Entry>,
        /// The primary's commit index.
        commit: Seq,
    },
    /// All up to `matched` is durable here and matched with the log of the primary of the message's epoch. **\[M\]**
    AppendAck {
        /// Cumulative.
        matched: Seq,
    },
    /// The primary asks for a lease.
    Heartbeat {
        /// The primary's clock when it sent this.
        stamp: Time,
        /// The primary's commit index.
        commit: Seq,
        /// The primary's last entry that it has sent to this follower.
        sent: Seq,
        /// The latest round of confirmed reads.
        round: u64,
    },
    /// The grant of a lease of length L.
    HeartbeatAck(Grant),
    /// The message's epoch is below the promise.
    Reject {
        /// What the sender has promised.
        promised: Epoch,
        /// The sender's log.
        history: EpochHistory,
    },
    /// The log below the follower's place is gone: it has to fetch a snapshot.
    SnapshotNeeded {
        /// The follower's, since its start. After another start this means nothing any more.
        incarnation: u64,
        /// The first entry that it lacks, which is applied at the primary. A follower that has it is not meant: what it
        /// has acknowledged in this epoch it never gives up.
        needed: Seq,
    },
    /// The configuration has changed in the receiver's favour: it should read it now. Only a hint. **\[M\]**
    Wake,
}

/// A member's answer to a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// As in the heartbeat.
    pub stamp: Time,
    /// As in the heartbeat.
    pub round: u64,
    /// Matched, durable or not: shows the primary which messages were lost.
    pub received: Seq,
    /// As in [`Body::AppendAck`].
    pub matched: Seq,
    /// As in [`Body::Follow`], which may have been lost.
    pub void: bool,
    /// The follower's node is about to stop.
    pub leaving: bool,
}
