use std::collections::BTreeMap;

use bytes::Bytes;
use kv_checker::Action;
use kv_types::{RequestId, SessionId, ShardId};

use crate::plan::Micros;

/// A client: one operation at a time, retried under the same number until its outcome is known or patience ends.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) id: u64,
    /// Where it believes the primary to be.
    pub(crate) guess: usize,
    /// A shard made by a split goes on with the sessions of its parent.
    pub(crate) sessions: BTreeMap<ShardId, Session>,
    pub(crate) current: Option<Current>,
    pub(crate) operations: u64,
    /// The last revision seen of each key.
    pub(crate) revisions: BTreeMap<Bytes, u64>,
    /// What is left of the last reads.
    pub(crate) script: Vec<(Bytes, Step)>,
}

/// One of the last operations of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Read,
    ConfirmedRead,
    Write,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// The number of the last request.
    pub(crate) number: u64,
}

/// An operation under way.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) operation: u64,
    pub(crate) shard: ShardId,
    pub(crate) key: Bytes,
    pub(crate) kind: Kind,
    pub(crate) call: Micros,
    pub(crate) attempts: u32,
    /// An attempt may take effect that has not been answered.
    pub(crate) maybe: bool,
    /// The next attempt is planned.
    pub(crate) resting: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Open,
    Read { confirmed: bool },
    Write { action: Action, expected: Option<u64>, request: Option<RequestId> },
}

impl Client {
    pub(crate) fn new(id: u64) -> Self {
        Self { id, ..Self::default() }
    }
}
