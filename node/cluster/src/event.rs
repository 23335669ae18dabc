use std::sync::Arc;

use kv_types::{Placement, ShardConfig, ShardId};

use crate::{Role, SharedConfig, View};

/// Something in ZooKeeper has changed. Each event carries the state after it; states in between may be left out.
#[derive(Clone, Debug)]
pub enum ClusterEvent {
    /// A shard has a configuration of a higher epoch than the last one that was told.
    ShardConfig {
        /// The shard.
        shard: ShardId,
        /// Who serves it.
        config: ShardConfig,
        /// Of its znode.
        version: i32,
    },
    /// A shard's copies should be elsewhere.
    Placement {
        /// The shard.
        shard: ShardId,
        /// Where.
        placement: Placement,
    },
    /// Registered or known nodes, drains or the master have changed.
    Members(Arc<View>),
    /// What this node is.
    Role(Role),
    /// The shared settings.
    Config(SharedConfig),
    /// Whether this node's copy of ZooKeeper's content is being kept up to date. A hint: see `Cluster::age`.
    Connection {
        /// It is.
        connected: bool,
    },
}
