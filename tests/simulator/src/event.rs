use bytes::Bytes;
use kv_replication::{
    apply::Value,
    core::{Input, Message, Refusal},
};
use kv_types::{Epoch, EpochHistory, Outcome, ShardConfig, ShardId, VolumeId};

use crate::{plan::Micros, table::Table};

/// Something that happens in the world.
#[derive(Debug)]
pub(crate) enum Event {
    /// Something reaches a node; what belongs to one life of its process is lost with it.
    Node { node: usize, life: Option<u64>, what: NodeEvent },
    /// A pause ends.
    Resume(usize),
    /// A node that is down starts.
    Start(usize),
    /// A crash that a steered run has planned.
    Trap { node: usize, away: Micros },
    /// A request to change a shard reaches ZooKeeper's leader.
    Change(Box<ChangeRequest>),
    /// ZooKeeper looks up a configuration for a node.
    Lookup { node: usize, life: u64, shard: ShardId },
    /// A person promotes a copy by force, if it is time for that.
    Force { node: usize, shard: ShardId },
    /// The master looks at the placement.
    Master,
    /// The next fault is due.
    Fault,
    /// All faults end.
    Heal,
    /// Whether all is well again.
    Inspect,
    /// A client begins an operation.
    Begin(usize),
    /// An answer reaches a client.
    Answer { client: usize, operation: u64, answer: Answer },
    /// A client has waited long enough for an answer.
    Patience { client: usize, operation: u64, attempt: u32 },
    /// A client tries again.
    Again { client: usize, operation: u64 },
}

/// Something that reaches a node.
#[derive(Debug)]
pub(crate) enum NodeEvent {
    Tick,
    Persist,
    Input(ShardId, Box<Input>),
    Message(ShardId, Box<Message>),
    Request(Request),
    SnapshotAsked {
        shard: ShardId,
        by: usize,
        life: u64,
        epoch: Epoch,
        ask: u64,
    },
    SnapshotArrived {
        shard: ShardId,
        epoch: Epoch,
        ask: u64,
        snapshot: Box<Snapshot>,
    },
    /// No snapshot has come in time.
    SnapshotMissed {
        shard: ShardId,
        epoch: Epoch,
        ask: u64,
    },
    Watch(ShardId),
}

/// A client's request as a node gets it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) client: usize,
    pub(crate) operation: u64,
    pub(crate) shard: ShardId,
    pub(crate) key: Bytes,
    pub(crate) what: Asked,
}

#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Read { confirmed: bool },
    Write { payload: Bytes },
}

/// A node's answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Value(Option<Value>),
    Outcome(Outcome),
    Refused(Refusal),
}

/// A table at some moment, with the history of the log up to there.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) table: Table,
    pub(crate) history: EpochHistory,
}

/// A compare-and-set under way.
#[derive(Debug)]
pub(crate) struct ChangeRequest {
    /// Its place among the changes under way.
    pub(crate) id: u64,
    pub(crate) node: usize,
    pub(crate) life: u64,
    pub(crate) shard: ShardId,
    pub(crate) expected: Epoch,
    pub(crate) new: ShardConfig,
    pub(crate) split: Option<(ShardId, ShardConfig)>,
    /// The node has been told "unknown" by then.
    pub(crate) given_up_at: Micros,
    pub(crate) answered: bool,
}

/// Which node a volume is of: encoded in its id.
pub(crate) fn node_of(volume: VolumeId) -> usize {
    (volume.0.as_u128() >> 124) as usize - 1
}

/// The `generation`th volume of a node.
pub(crate) fn volume_of(node: usize, generation: u64) -> VolumeId {
    VolumeId(uuid::Uuid::from_u128(((node as u128 + 1) << 124) | (u128::from(generation) << 96)))
}
