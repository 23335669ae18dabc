use bytes::Bytes;

use crate::{Seq, SessionId};

/// What applying an entry came to. The same on every copy.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The write was applied.
    Applied {
        /// The entry's seq, now the revision of each key that it wrote.
        revision: Seq,
        /// The replaced values, one for each operation, if they were asked for; `None`: the key did not exist.
        previous: Vec<Option<Previous>>,
        /// How many of the deletes found their key.
        existed: u32,
    },
    /// Nothing was changed: a key has another revision than the write expected.
    RevisionMismatch {
        /// The key.
        key: Bytes,
        /// Its revision; 0: it does not exist.
        actual: u64,
    },
    /// Nothing was changed: the session is not known, or its result for this request is not kept any more.
    SessionExpired,
    /// A session was opened.
    SessionOpened(SessionId),
    /// The entry has no outcome that anybody waits for.
    Nothing,
}

/// A value that a write has replaced.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Previous {
    /// The value.
    #[prost(bytes = "bytes", tag = "1")]
    pub value: Bytes,
    /// Its revision.
    #[prost(uint64, tag = "2")]
    pub revision: u64,
    /// Its deadline in milliseconds since 1970; 0: none.
    #[prost(uint64, tag = "3")]
    pub expires_at_millis: u64,
}

/// An [`Outcome`] as the session table keeps it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StoredOutcome {
    /// The revision; 0 with a mismatch.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// How many deletes found their key.
    #[prost(uint32, tag = "2")]
    pub existed: u32,
    /// Replaced values.
    #[prost(message, repeated, tag = "3")]
    pub previous: Vec<StoredPrevious>,
    /// The key of a mismatch.
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub mismatch: Option<Bytes>,
    /// The actual revision of a mismatch.
    #[prost(uint64, tag = "5")]
    pub actual: u64,
}

/// One element of [`StoredOutcome::previous`]; a list can't hold "none" by itself.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StoredPrevious {
    /// The value, if the key existed.
    #[prost(message, optional, tag = "1")]
    pub previous: Option<Previous>,
}

impl StoredOutcome {
    /// `None` for outcomes that are not kept: those of entries without a request.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Applied { revision, previous, existed } => Some(Self {
                revision: revision.0,
                existed: *existed,
                previous: previous.iter().map(|previous| StoredPrevious { previous: previous.clone() }).collect(),
                ..Self::default()
            }),
            Outcome::RevisionMismatch { key, actual } => {
                Some(Self { mismatch: Some(key.clone()), actual: *actual, ..Self::default() })
            }
            Outcome::SessionExpired | Outcome::SessionOpened(_) | Outcome::Nothing => None,
        }
    }
}

impl From<StoredOutcome> for Outcome {
    fn from(stored: StoredOutcome) -> Self {
        let StoredOutcome { revision, existed, previous, mismatch, actual } = stored;
        match mismatch {
            Some(key) => Self::RevisionMismatch { key, actual },
            None => Self::Applied {
                revision: Seq(revision),
                previous: previous.into_iter().map(|stored| stored.previous).collect(),
                existed,
            },
        }
    }
}
