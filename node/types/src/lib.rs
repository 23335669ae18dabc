//! What all parts of a node speak of: ids, keys, commands, shard configuration. No I/O, no clock, no async.
//!
//! The vocabulary is that of the protocol (ARCHITECTURE.md, "Vocabulary"); each term has one type, and one type one file.

mod command;
mod config;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod history;
mod ids;
mod limits;
mod outcome;
mod range;

pub use command::{Change, Command, DecodeError, Delete, Expiry, Operation, Put, RequestId, Split, Write};
pub use config::{Placement, ShardConfig};
pub use history::EpochHistory;
pub use ids::{EntryId, Epoch, Folder, Lineage, NodeName, Seq, SessionId, ShardId, VolumeId};
pub use limits::{InvalidKey, Limits};
pub use outcome::{Outcome, Previous, StoredOutcome, StoredPrevious};
pub use range::KeyRange;

/// One entry of a shard's log: its name and the encoded [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The entry's name.
    pub id: EntryId,
    /// An encoded [`Command`]: written once by the primary, and the same bytes in every log and on every link.
    pub payload: bytes::Bytes,
}
