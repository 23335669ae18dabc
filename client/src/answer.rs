use bytes::Bytes;
use kv_proto::v1::KeyValue;

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// The value; empty if only keys were asked for.
    pub value: Bytes,
    /// Grows with every change of the key, across failover and split.
    pub revision: u64,
    /// When the key is deleted, in milliseconds since 1970 by the primary's clock; `None`: never.
    pub expires_at_millis: Option<u64>,
}

/// A put was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutAnswer {
    /// The key's revision from now on.
    pub revision: u64,
    /// What was replaced, if it was asked for and the key existed.
    pub previous: Option<Entry>,
}

/// A delete was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteAnswer {
    /// Whether there was such a key.
    pub existed: bool,
    /// The revision at which the key is known not to exist.
    pub revision: u64,
    /// What was deleted, if it was asked for and the key existed.
    pub previous: Option<Entry>,
}

/// A batch was applied as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchAnswer {
    /// The revision of all keys that it wrote.
    pub revision: u64,
}

impl From<KeyValue> for Entry {
    fn from(KeyValue { key, value, revision, expires_at_millis }: KeyValue) -> Self {
        let expires_at_millis = (expires_at_millis != 0).then_some(expires_at_millis);
        Self { key, value, revision, expires_at_millis }
    }
}
