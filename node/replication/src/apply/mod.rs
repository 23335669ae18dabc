//! What committed entries do to keys and sessions.
//!
//! [`Machine::apply`] is a function of the entries and the state before them, so every copy comes to the same result.
//! It reads through [`State`] and answers with the changes to make; the caller writes them, together with the applied
//! position, in one batch: the duplicate table is never apart from the data.

mod machine;
mod overlay;
mod sessions;

pub use machine::{Applied, ApplyError, Machine};
pub use sessions::{SessionResult, Sessions};

use bytes::Bytes;
use kv_types::SessionId;

/// A key's value as the table keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Value {
    /// The bytes.
    pub value: Bytes,
    /// The seq of the entry that wrote it.
    pub revision: u64,
    /// Deadline in milliseconds since 1970; 0: none.
    pub expires_at_millis: u64,
}

/// The table as it was before the entries.
pub trait State {
    /// Why it can't be read.
    type Error;

    /// The value of a key.
    ///
    /// # Errors
    /// If the table can't be read.
    fn value(&self, key: &[u8]) -> Result<Option<Value>, Self::Error>;
}

/// A change to make to the table.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// Sets a key.
    Put {
        /// The key.
        key: Bytes,
        /// Its value.
        value: Value,
    },
    /// Deletes a key that exists.
    Delete {
        /// The key.
        key: Bytes,
        /// The revision of the deletion.
        revision: u64,
        /// Its deadline had passed.
        expired: bool,
    },
    /// Notes that a key has a deadline, in the order of deadlines.
    NoteDeadline {
        /// The key.
        key: Bytes,
        /// In milliseconds since 1970.
        expires_at_millis: u64,
    },
    /// Takes such a note back.
    ForgetDeadline {
        /// The key.
        key: Bytes,
        /// In milliseconds since 1970.
        expires_at_millis: u64,
    },
    /// Notes a session.
    OpenSession(SessionId),
    /// Forgets a session with all its results.
    CloseSession(SessionId),
    /// Keeps the result of a request.
    PutResult {
        /// The session.
        session: SessionId,
        /// The request's number.
        number: u64,
        /// What it came to.
        result: SessionResult,
    },
    /// Forgets the result of a request.
    DropResult {
        /// The session.
        session: SessionId,
        /// The request's number.
        number: u64,
    },
}
