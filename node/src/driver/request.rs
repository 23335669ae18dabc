//! What the server asks of the driver, in the node's own types.

use std::sync::Arc;

use bytes::Bytes;
use kv_replication::apply::Value;
use kv_types::{
    EntryId, KeyRange, NodeName, Operation, Outcome, RequestId, Seq, SessionId, ShardConfig, ShardId, VolumeId,
};
use tokio::sync::oneshot;

/// A client's request, checked against the limits.
#[derive(Clone, Debug)]
pub enum Request {
    /// Reads a key.
    Get {
        /// The key.
        key: Bytes,
        /// Confirmed by every member instead of leased.
        confirmed: bool,
    },
    /// Writes one or more keys of one shard.
    Write(ClientWrite),
    /// Opens a session in the shard of `key`.
    OpenSession {
        /// Any key of the shard.
        key: Bytes,
    },
    /// Reads a page of one shard: that of the range's first key, or with `reverse` of its last.
    Scan(PageRequest),
}

/// A write whose deadlines are still relative: the primary's clock makes them absolute.
#[derive(Clone, Debug)]
pub struct ClientWrite {
    /// Which request of which session.
    pub request: Option<RequestId>,
    /// At least one; the time to live in milliseconds with each (0: none).
    pub operations: Vec<(Operation, u64)>,
    /// Answer with replaced values.
    pub return_previous: bool,
}

/// A page of a scan.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// What is left of the scan.
    pub range: KeyRange,
    /// From the last key down.
    pub reverse: bool,
    /// Keys at most.
    pub max_keys: usize,
    /// Bytes after which the page is closed.
    pub max_bytes: usize,
    /// Leave the values out.
    pub keys_only: bool,
    /// Confirmed instead of leased.
    pub confirmed: bool,
}

impl Request {
    /// The key by which the request finds its shard. For a reverse scan without an end: `None`, the last shard.
    #[must_use]
    pub fn routing_key(&self) -> Option<&[u8]> {
        match self {
            Self::Get { key, .. } | Self::OpenSession { key } => Some(key),
            Self::Write(write) => write.operations.first().map(|(operation, _)| operation.key.as_ref()),
            Self::Scan(page) if page.reverse => page.range.end.as_deref(),
            Self::Scan(page) => Some(&page.range.start),
        }
    }
}

/// A request's result.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To [`Request::Get`].
    Value(Option<Value>),
    /// To [`Request::Write`]: always `Outcome::Applied`.
    Written(Outcome),
    /// To [`Request::OpenSession`].
    Session(SessionId),
    /// To [`Request::Scan`].
    Page(Page),
}

/// A page of a scan: of one shard at one revision.
#[derive(Clone, Debug)]
pub struct Page {
    /// Keys in order (descending with `reverse`).
    pub entries: Vec<(Bytes, Value)>,
    /// The shard.
    pub shard: ShardId,
    /// The state that was read is that after the entry of this seq.
    pub revision: Seq,
    /// What is left of the asked range; `None`: nothing.
    pub rest: Option<KeyRange>,
}

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Definite: this node doesn't serve the key. The routes may know who does.
    #[error("this node does not serve the key")]
    NotHere,
    /// Definite.
    #[error("{0}")]
    Unavailable(String),
    /// It may or may not have happened.
    #[error("the outcome is not known: {0}")]
    Unknown(String),
    /// Definite: a bound is reached.
    #[error("{0}")]
    Exhausted(String),
    /// Definite: the key has another revision (0: does not exist).
    #[error("key {key} has revision {actual}, not the expected one", key = key.escape_ascii())]
    Mismatch {
        /// The key.
        key: Bytes,
        /// Its revision.
        actual: u64,
    },
    /// Definite for this very sending of the request; an earlier one may have been applied.
    #[error("the session is not known to the shard, or has forgotten the request: open another one")]
    SessionExpired,
    /// Definite: keys of a batch are of several shards; the next begins at `boundary`.
    #[error("the batch's keys are not in one shard: the next begins at {boundary}", boundary = boundary.escape_ascii())]
    CrossShard {
        /// First key of the next shard.
        boundary: Bytes,
    },
    /// Definite: breaks a limit or makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Definite: no such shard or node.
    #[error("{0}")]
    NoSuch(String),
    /// Definite: an administrative request that can't be done now.
    #[error("{0}")]
    Refused(String),
    /// The node is at fault; details are in its log.
    #[error("internal error: {0}")]
    Fault(String),
}

/// A request's end.
pub type Answer = Result<Reply, Failure>;

/// Where an answer goes. Called exactly once, possibly from another thread, and never blocks.
pub enum Responder {
    /// To somebody who waits for this one answer.
    Once(oneshot::Sender<Answer>),
    /// To a stream, with the request's id on it.
    Stream {
        /// The id.
        id: u64,
        /// Takes the answer, and with a definite failure the request itself, so that it can be passed on.
        sink: Arc<dyn Sink>,
    },
}

/// Takes the answers to many requests.
pub trait Sink: Send + Sync {
    /// Takes an answer.
    fn answer(&self, id: u64, answer: Answer);
}

impl Responder {
    /// Gives the answer. If nobody waits any more it is dropped.
    pub fn answer(self, answer: Answer) {
        match self {
            Self::Once(sender) => drop(sender.send(answer)),
            Self::Stream { id, sink } => sink.answer(id, answer),
        }
    }
}

/// Who serves a key, as far as this node knows.
#[derive(Clone, Debug)]
pub struct Route {
    /// The shard.
    pub shard: ShardId,
    /// Its newest known configuration.
    pub config: Arc<ShardConfig>,
    /// The primary's node and advertised address, if they are known.
    pub primary: Option<(NodeName, String)>,
    /// The primary's copy is on this node.
    pub local: bool,
}

/// A copy on this node.
#[derive(Clone, Debug)]
pub struct CopyReport {
    /// The shard.
    pub shard: ShardId,
    /// The folder.
    pub folder: kv_types::Folder,
    /// The volume.
    pub volume: VolumeId,
    /// What the core says.
    pub core: kv_replication::core::Report,
    /// The last applied entry.
    pub applied: EntryId,
    /// About, of keys and values in bytes.
    pub size_bytes: u64,
    /// In the ISR once since the start.
    pub was_in_sync: bool,
}
