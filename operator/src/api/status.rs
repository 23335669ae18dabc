use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator saw last.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KvClusterStatus {
    /// In a word, how the cluster is.
    #[serde(default)]
    pub phase: ClusterPhase,
    /// What is at fault or under way, for a person; empty if nothing is.
    #[serde(default)]
    pub message: String,
    /// The generation of the resource that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds and what doesn't, each with a reason that names the pod or volume at fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Nodes that are ready, of those wished for: `3/3`.
    #[serde(default)]
    pub ready: String,
    /// The node that is the master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// The node that takes over from the master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_master: Option<String>,
    /// The nodes, as they report themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeStatus>,
    /// The shards.
    #[serde(default)]
    pub shards: ShardsStatus,
    /// ZooKeeper.
    #[serde(default)]
    pub zookeeper: ZooKeeperStatus,
    /// The cluster's UUID, as it is written on each volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Pods of nodes, for the scale subresource.
    #[serde(default)]
    pub replicas: i32,
    /// Selects the nodes' pods, for the scale subresource.
    #[serde(default)]
    pub selector: String,
}

/// In a word, how a cluster is.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum ClusterPhase {
    /// It is being made: its shards have not been served yet.
    #[default]
    Creating,
    /// Everything is as the resource says.
    Running,
    /// A change is being carried out.
    Updating,
    /// All shards are served, and something is missing: a node, a copy, a member of ZooKeeper.
    Degraded,
    /// Some shards are not served.
    Unavailable,
    /// The resource can't be carried out as it is.
    Invalid,
    /// The operator changes nothing.
    Paused,
}

/// Something that holds or doesn't.
#[derive(JsonSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What.
    #[serde(rename = "type")]
    pub kind: ConditionKind,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in one word.
    pub reason: String,
    /// Why, for a person: which pod or volume, and what to do.
    pub message: String,
    /// Since when it is so.
    pub last_transition_time: Time,
    /// The generation of the resource that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// What a condition is about.
#[derive(JsonSchema, Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ConditionKind {
    /// All shards are served.
    Available,
    /// A change is being carried out.
    Progressing,
    /// Something is missing.
    Degraded,
    /// ZooKeeper has a quorum, so roles can change and failovers happen.
    ZooKeeperQuorum,
    /// The volumes are as the resource says.
    StorageReady,
}

/// Whether a condition holds.
#[derive(JsonSchema, Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum ConditionStatus {
    /// It does.
    True,
    /// It doesn't.
    False,
    /// It can't be seen.
    Unknown,
}

/// A node, as it reports itself.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// The node, which is its pod.
    pub name: String,
    /// Its role.
    pub role: NodeRole,
    /// Whether its pod is ready.
    pub ready: bool,
    /// Shards that it serves.
    #[serde(default)]
    pub shards_served: u32,
    /// `3/4`: of the copies placed on it, its backups included, those that are in sync.
    #[serde(default)]
    pub copies_in_sync: String,
    /// Whether a copy on it is behind its primary by more than what is in flight: `InSync`, `Behind`, `Unknown`.
    #[serde(default)]
    pub lag: String,
    /// The revision of its pod.
    #[serde(default)]
    pub revision: String,
    /// The version of its program.
    #[serde(default)]
    pub version: String,
    /// True while its shards are being moved off.
    #[serde(default)]
    pub draining: bool,
}

/// A node's role.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub enum NodeRole {
    /// It places shards.
    Master,
    /// It takes over from the master.
    SubMaster,
    /// Every other node.
    Slave,
    /// Shards are placed on it and it is not registered at ZooKeeper.
    Gone,
    /// Nobody reports it.
    #[default]
    Unknown,
}

/// The shards, counted.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardsStatus {
    /// `12/12`: served, of all.
    #[serde(default)]
    pub summary: String,
    /// All.
    #[serde(default)]
    pub total: u32,
    /// Served.
    #[serde(default)]
    pub available: u32,
    /// Served, and every copy that is placed is in sync.
    #[serde(default)]
    pub fully_replicated: u32,
}

/// ZooKeeper, as it is.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ZooKeeperStatus {
    /// `3/3`: members that serve, of those wished for; `external` if somebody else looks after it.
    #[serde(default)]
    pub ready: String,
    /// The member that leads the ensemble.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// True once the ensemble has been made; it is never made again.
    #[serde(default)]
    pub bootstrapped: bool,
}
