use std::time::Duration;

use kv_proto::v1;
use kv_types::ShardId;

/// What a node tells its peers of itself.
pub(in crate::driver) struct NodeState {
    /// How old the last request is that ZooKeeper has acknowledged.
    pub(in crate::driver) zookeeper_age: Duration,
    pub(in crate::driver) registered: bool,
    /// How long ago any peer was last heard on a connection that it dialled.
    pub(in crate::driver) inbound_age: Option<Duration>,
    /// Now and then: the sizes of the shards that it serves, in bytes.
    pub(in crate::driver) sizes: Vec<(ShardId, u64)>,
}

impl NodeState {
    pub(super) fn encode(&self) -> v1::NodeHeartbeat {
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let size = |(shard, bytes): &(ShardId, u64)| v1::ShardSize { shard: shard.0, bytes: *bytes };
        v1::NodeHeartbeat {
            zookeeper_age_millis: millis(self.zookeeper_age),
            registered: self.registered,
            inbound_age_millis: self.inbound_age.map_or(u64::MAX, millis),
            sizes: self.sizes.iter().map(size).collect(),
        }
    }
}

/// The sizes in a heartbeat.
pub(super) fn sizes(heartbeat: Option<&v1::NodeHeartbeat>) -> impl Iterator<Item = (ShardId, u64)> {
    let sizes = heartbeat.into_iter().flat_map(|heartbeat| &heartbeat.sizes);
    sizes.map(|v1::ShardSize { shard, bytes }| (ShardId(*shard), *bytes))
}
