use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

/// What the nodes of a cluster said of themselves and each other.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterReport {
    /// When it was said.
    pub at: Instant,
    /// The cluster's UUID.
    pub cluster: String,
    /// The node that answered.
    pub answered_by: String,
    /// Whether that node reaches ZooKeeper: if not, the rest may be out of date.
    pub zookeeper_connected: bool,
    /// The master.
    pub master: Option<String>,
    /// The sub-master.
    pub sub_master: Option<String>,
    /// The nodes by name.
    pub nodes: BTreeMap<String, NodeReport>,
    /// The shards by id.
    pub shards: BTreeMap<u64, ShardReport>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeReport {
    /// False: shards are placed on it, and it is not registered at ZooKeeper.
    pub registered: bool,
    /// Whether it answered just now.
    pub answered: bool,
    /// Whether it says that it is ready.
    pub ready: bool,
    /// Why not, for a person.
    pub detail: String,
    /// Whether its shards are being moved off.
    pub draining: bool,
    /// Shards that it serves.
    pub shards_served: u32,
    /// Of the copies that are placed on it, those that are in sync.
    pub copies_in_sync: u32,
    /// Copies that are placed on it.
    pub copies_placed: u32,
    /// Entries that the copy which is furthest behind lacks.
    pub lag: u64,
    /// The version of its program.
    pub version: String,
}

/// A shard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardReport {
    /// Whether somebody serves it.
    pub available: bool,
    /// Whether all copies that are placed are in sync, and as many as there are to be.
    pub fully_replicated: bool,
    /// The node where it is to be served.
    pub home: String,
    /// The node that serves it.
    pub primary: String,
    /// All nodes on which a copy is placed or still in sync.
    pub holders: BTreeSet<String>,
    /// Those whose copy is in sync.
    pub in_sync: BTreeSet<String>,
}

impl ClusterReport {
    /// Whether a node may be stopped without a shard being left with fewer copies than it could have: every shard is served
    /// and fully replicated, as a node says that reaches ZooKeeper.
    #[must_use]
    pub fn fully_replicated(&self) -> bool {
        self.zookeeper_connected
            && !self.shards.is_empty()
            && self.shards.values().all(|shard| shard.available && shard.fully_replicated)
    }

    /// Shards of which a node holds a copy, or whose home it is.
    #[must_use]
    pub fn held_by(&self, node: &str) -> usize {
        self.shards.values().filter(|shard| shard.home == node || shard.holders.contains(node)).count()
    }
}
