//! The resource `KvCluster`, as people write it and as they read it back.
//!
//! What can be judged by looking at the resource alone is judged by the API server (schema and CEL rules, whose messages
//! say what to write instead). The rest is a condition in the status.

mod network;
mod pods;
mod settings;
mod spec;
mod status;
mod storage;
mod zookeeper;

pub use self::{
    network::{Monitoring, NetworkPolicySpec},
    pods::{AntiAffinity, PodTemplate, Scheduling},
    settings::{LogFormat, Settings, Shards},
    spec::{DEFAULT_NODES, KvCluster, KvClusterSpec},
    status::{
        ClusterPhase, Condition, ConditionKind, ConditionStatus, KvClusterStatus, NodeRole, NodeStatus, ShardsStatus,
        ZooKeeperStatus,
    },
    storage::{OnDelete, StorageSpec, VolumeSpec},
    zookeeper::{DEFAULT_ZOOKEEPER_NODES, ExternalZooKeeper, ZooKeeperSpec},
};

/// The group of the resource, and the prefix of our labels and annotations.
pub const GROUP: &str = "kvcluster.io";
/// Set on a `KvCluster` by a person: how a ZooKeeper that lost its quorum for good is to be recovered. The condition
/// `ZooKeeperQuorum` says which values are possible.
pub const RECOVER_ZOOKEEPER: &str = "kvcluster.io/recover-zookeeper";
