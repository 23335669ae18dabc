use bytes::Bytes;
use prost::Message as _;

use crate::{EntryId, SessionId, ShardId};

/// What a log entry does when it is applied. Every copy applies it to the same state and so finds the same outcome.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Starts a primary's term; changes nothing.
    Barrier,
    /// Opens a session that is named after this entry.
    OpenSession,
    /// A client's write: all of its operations or none.
    Write(Write),
    /// Deletes keys whose deadline has passed by the primary's clock.
    Expire(Vec<Expiry>),
    /// The last entry before a split takes effect.
    Split(Split),
}

/// A client's write.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Write {
    /// Which request of which session it is; without, a retry applies it once more.
    pub request: Option<RequestId>,
    /// At least one; at most one of each key.
    pub operations: Vec<Operation>,
    /// Answer with the values that were replaced.
    pub return_previous: bool,
}

/// Names a request so that it is applied at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId {
    /// The session.
    pub session: SessionId,
    /// Its number in the session, from 1.
    pub number: u64,
    /// The lowest number that the client still waits for; results below are forgotten.
    pub lowest_unanswered: u64,
}

/// One operation of a write.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Operation {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The revision that the key must have (0: must not exist), if any.
    #[prost(uint64, optional, tag = "2")]
    pub expected_revision: Option<u64>,
    /// What becomes of the key.
    #[prost(oneof = "Change", tags = "3, 4")]
    pub change: Option<Change>,
}

/// What an operation does to its key; none: only checks.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Change {
    /// Sets the value.
    #[prost(message, tag = "3")]
    Put(Put),
    /// Deletes the key.
    #[prost(message, tag = "4")]
    Delete(Delete),
}

/// A value to be set.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Put {
    /// The value.
    #[prost(bytes = "bytes", tag = "1")]
    pub value: Bytes,
    /// Deadline in milliseconds since 1970 by the primary's clock; 0: none.
    #[prost(uint64, tag = "2")]
    pub expires_at_millis: u64,
}

/// A deletion.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Delete {}

/// A key whose deadline has passed; deleted only if it still has this deadline.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Expiry {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The deadline that has passed, in milliseconds since 1970.
    #[prost(uint64, tag = "2")]
    pub expires_at_millis: u64,
}

/// A split: the child takes the keys from `at` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The new shard.
    pub child: ShardId,
    /// Its first key.
    pub at: Bytes,
}

/// Bytes that are no command of a known format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log entry can't be read: {0}")]
pub struct DecodeError(pub String);

impl Operation {
    /// Sets `key` to `value`, unconditionally and without a deadline.
    #[must_use]
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        let change = Change::Put(Put { value: value.into(), expires_at_millis: 0 });
        Self { key: key.into(), expected_revision: None, change: Some(change) }
    }

    /// Deletes `key`, unconditionally.
    #[must_use]
    pub fn delete(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), expected_revision: None, change: Some(Change::Delete(Delete {})) }
    }

    /// The same, applied only if the key has this revision (0: does not exist).
    #[must_use]
    pub fn expecting(self, revision: u64) -> Self {
        Self { expected_revision: Some(revision), ..self }
    }
}

impl Command {
    /// Whether these are the bytes of a [`Command::Write`], so far as the first two tell.
    #[must_use]
    pub fn is_write(bytes: &[u8]) -> bool {
        bytes.starts_with(&wire::WRITE)
    }

    /// The one encoding that log and link carry. Its first byte is the format's version.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let wire = wire::Command::from(self);
        let mut bytes = Vec::with_capacity(1 + wire.encoded_len());
        bytes.push(wire::VERSION);
        // A Vec grows, so encoding into it can't fail.
        let _ = wire.encode(&mut bytes);
        bytes.into()
    }

    /// The inverse of [`Self::encode`]; values share the memory of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] if `bytes` were not made by `encode` or come from a newer version.
    pub fn decode(mut bytes: Bytes) -> Result<Self, DecodeError> {
        match bytes.first() {
            Some(&wire::VERSION) => {}
            Some(version) => {
                let known = wire::VERSION;
                return Err(DecodeError(format!("format {version} is not known, only {known}")));
            }
            None => return Err(DecodeError("it is empty".into())),
        }
        let wire = wire::Command::decode(bytes.split_off(1)).map_err(|error| DecodeError(error.to_string()))?;
        Self::try_from(wire)
    }
}

/// The encoded form.
mod wire {
    use super::*;

    pub(super) const VERSION: u8 = 1;
    /// What a write begins with: the version, and the key of a field of bytes with the tag of [`Kind::Write`].
    pub(super) const WRITE: [u8; 2] = [VERSION, 3 << 3 | 2];

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Command {
        #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5")]
        pub(super) kind: Option<Kind>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum Kind {
        #[prost(message, tag = "1")]
        Barrier(Unit),
        #[prost(message, tag = "2")]
        OpenSession(Unit),
        #[prost(message, tag = "3")]
        Write(Write),
        #[prost(message, tag = "4")]
        Expire(Expire),
        #[prost(message, tag = "5")]
        Split(Split),
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Unit {}

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Write {
        #[prost(bytes = "bytes", tag = "1")]
        session: Bytes,
        #[prost(uint64, tag = "2")]
        number: u64,
        #[prost(uint64, tag = "3")]
        lowest_unanswered: u64,
        #[prost(message, repeated, tag = "4")]
        operations: Vec<Operation>,
        #[prost(bool, tag = "5")]
        return_previous: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Expire {
        #[prost(message, repeated, tag = "1")]
        keys: Vec<Expiry>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Split {
        #[prost(uint64, tag = "1")]
        child: u64,
        #[prost(bytes = "bytes", tag = "2")]
        at: Bytes,
    }

    impl From<&super::Command> for Command {
        fn from(command: &super::Command) -> Self {
            let kind = match command {
                super::Command::Barrier => Kind::Barrier(Unit {}),
                super::Command::OpenSession => Kind::OpenSession(Unit {}),
                super::Command::Write(write) => {
                    let session = write.request.map(|request| request.session.to_bytes());
                    Kind::Write(Write {
                        session: session.map(|bytes| Bytes::copy_from_slice(&bytes)).unwrap_or_default(),
                        number: write.request.map_or(0, |request| request.number),
                        lowest_unanswered: write.request.map_or(0, |request| request.lowest_unanswered),
                        operations: write.operations.clone(),
                        return_previous: write.return_previous,
                    })
                }
                super::Command::Expire(keys) => Kind::Expire(Expire { keys: keys.clone() }),
                super::Command::Split(split) => Kind::Split(Split { child: split.child.0, at: split.at.clone() }),
            };
            Self { kind: Some(kind) }
        }
    }

    impl TryFrom<Command> for super::Command {
        type Error = DecodeError;

        fn try_from(wire: Command) -> Result<Self, DecodeError> {
            Ok(match wire.kind.ok_or_else(|| DecodeError("its kind is missing".into()))? {
                Kind::Barrier(Unit {}) => Self::Barrier,
                Kind::OpenSession(Unit {}) => Self::OpenSession,
                Kind::Write(Write { session, number, lowest_unanswered, operations, return_previous }) => {
                    let request = if session.is_empty() {
                        None
                    } else {
                        let session = SessionId::from_bytes(&session)
                            .ok_or_else(|| DecodeError("its session is malformed".into()))?;
                        Some(RequestId { session, number, lowest_unanswered })
                    };
                    Self::Write(super::Write { request, operations, return_previous })
                }
                Kind::Expire(Expire { keys }) => Self::Expire(keys),
                Kind::Split(Split { child, at }) => Self::Split(super::Split { child: ShardId(child), at }),
            })
        }
    }
}

/// The session that an `OpenSession` entry opens.
impl SessionId {
    /// Names the session opened by the entry `entry` of `shard`.
    #[must_use]
    pub const fn opened_by(shard: ShardId, entry: EntryId) -> Self {
        Self { shard, entry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_survives_its_encoding() {
        let session = SessionId::opened_by(ShardId(3), EntryId::new(4, 5));
        let commands = [
            Command::Barrier,
            Command::OpenSession,
            Command::Write(Write {
                request: Some(RequestId { session, number: 7, lowest_unanswered: 6 }),
                operations: vec![Operation::put("a", "b").expecting(0), Operation::delete("c")],
                return_previous: true,
            }),
            Command::Write(Write { operations: vec![Operation::put("a", "")], ..Write::default() }),
            Command::Expire(vec![Expiry { key: "k".into(), expires_at_millis: 9 }]),
            Command::Split(Split { child: ShardId(8), at: "m".into() }),
        ];
        for command in commands {
            assert_eq!(Command::is_write(&command.encode()), matches!(command, Command::Write(_)), "{command:?}");
            assert_eq!(Command::decode(command.encode()), Ok(command));
        }
    }

    #[test]
    fn bytes_of_another_format_are_refused() {
        for bytes in [&b""[..], b"\x02", b"\x01", b"\x01\xff\xff"] {
            assert!(Command::decode(Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
    }
}
