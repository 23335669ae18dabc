use std::time::Duration;

use bytes::Bytes;
use kv_proto::v1::{
    BatchOperation, BatchRequest, CheckOperation, DeleteOperation, DeleteRequest, GetRequest, Precondition,
    PutOperation, PutRequest, batch_operation::Operation,
};

/// A linearizable read of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Get(pub(crate) GetRequest);

/// Sets a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Put(pub(crate) PutRequest);

/// Deletes a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Delete(pub(crate) DeleteRequest);

/// Several operations that are applied as one or not at all. Their keys must be of one shard, each used once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch(pub(crate) BatchRequest);

impl Get {
    /// Reads `key` under the primary's lease.
    pub fn new(key: impl Into<Bytes>) -> Self {
        Self(GetRequest { key: key.into(), ..GetRequest::default() })
    }

    /// Asks every copy instead of relying on the lease: correct without any assumption about clocks.
    #[must_use]
    pub fn confirmed(mut self) -> Self {
        self.0.confirmed = true;
        self
    }
}

impl Put {
    /// Sets `key` to `value`, whatever it was.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self(PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() })
    }

    /// Only if the key has this revision (0: does not exist).
    #[must_use]
    pub fn expected_revision(mut self, revision: u64) -> Self {
        self.0.precondition = Some(Precondition { expected_revision: revision });
        self
    }

    /// Only if the key does not exist.
    #[must_use]
    pub fn must_not_exist(self) -> Self {
        self.expected_revision(0)
    }

    /// The key is deleted this long after the write: 1 ms to 10 years, rounded up to milliseconds.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.0.ttl_millis = millis(ttl);
        self
    }

    /// Answers with the value that is replaced.
    #[must_use]
    pub fn return_previous(mut self) -> Self {
        self.0.return_previous = true;
        self
    }
}

impl Delete {
    /// Deletes `key`, whatever it is.
    pub fn new(key: impl Into<Bytes>) -> Self {
        Self(DeleteRequest { key: key.into(), ..DeleteRequest::default() })
    }

    /// Only if the key has this revision.
    #[must_use]
    pub fn expected_revision(mut self, revision: u64) -> Self {
        self.0.precondition = Some(Precondition { expected_revision: revision });
        self
    }

    /// Answers with the value that is deleted.
    #[must_use]
    pub fn return_previous(mut self) -> Self {
        self.0.return_previous = true;
        self
    }
}

impl Batch {
    /// Without operations; at least one has to be added.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a put. `return_previous` has no meaning within a batch and is left out.
    #[must_use]
    pub fn put(self, put: impl Into<Put>) -> Self {
        let PutRequest { key, value, precondition, ttl_millis, context: _, return_previous: _ } = put.into().0;
        self.with(Operation::Put(PutOperation { key, value, precondition, ttl_millis }))
    }

    /// Adds a delete. `return_previous` has no meaning within a batch and is left out.
    #[must_use]
    pub fn delete(self, delete: impl Into<Delete>) -> Self {
        let DeleteRequest { key, precondition, context: _, return_previous: _ } = delete.into().0;
        self.with(Operation::Delete(DeleteOperation { key, precondition }))
    }

    /// Changes nothing, but the batch is applied only if `key` has this revision (0: does not exist).
    #[must_use]
    pub fn check(self, key: impl Into<Bytes>, expected_revision: u64) -> Self {
        self.with(Operation::Check(CheckOperation { key: key.into(), expected_revision }))
    }

    fn with(mut self, operation: Operation) -> Self {
        self.0.operations.push(BatchOperation { operation: Some(operation) });
        self
    }

    /// The key that routes the batch; none if it is empty.
    pub(crate) fn first_key(&self) -> Option<Bytes> {
        Some(match self.0.operations.first()?.operation.as_ref()? {
            Operation::Put(put) => put.key.clone(),
            Operation::Delete(delete) => delete.key.clone(),
            Operation::Check(check) => check.key.clone(),
        })
    }
}

/// Rounded up, so that a short duration does not become 0, which means "none".
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

impl<K: Into<Bytes>> From<K> for Get {
    fn from(key: K) -> Self {
        Self::new(key)
    }
}

impl<K: Into<Bytes>, V: Into<Bytes>> From<(K, V)> for Put {
    fn from((key, value): (K, V)) -> Self {
        Self::new(key, value)
    }
}

impl<K: Into<Bytes>> From<K> for Delete {
    fn from(key: K) -> Self {
        Self::new(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_rounded_up() {
        assert_eq!(Put::new("k", "v").ttl(Duration::from_micros(1)).0.ttl_millis, 1);
        assert_eq!(Put::new("k", "v").ttl(Duration::from_micros(2001)).0.ttl_millis, 3);
        assert_eq!(Put::new("k", "v").ttl(Duration::MAX).0.ttl_millis, u64::MAX);
    }

    #[test]
    fn a_batch_is_routed_by_its_first_key() {
        let batch = Batch::new().check("a", 3).put(("b", "v")).delete("c");
        assert_eq!(batch.first_key().as_deref(), Some(&b"a"[..]));
        assert_eq!(batch.0.operations.len(), 3);
        assert_eq!(Batch::new().first_key(), None);
    }
}
