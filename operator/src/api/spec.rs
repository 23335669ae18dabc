use k8s_openapi::api::core::v1::{LocalObjectReference, ResourceRequirements};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{
    KvClusterStatus, Monitoring, NetworkPolicySpec, PodTemplate, Scheduling, Settings, Shards, StorageSpec,
    ZooKeeperSpec,
};

/// KV nodes of a cluster that doesn't say how many.
pub const DEFAULT_NODES: i32 = 3;

/// A highly available, strongly consistent key-value store. `spec: {}` is a working cluster of three nodes.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "kvcluster.io",
    version = "v1alpha1",
    kind = "KvCluster",
    plural = "kvclusters",
    shortname = "kvc",
    category = "all",
    namespaced,
    doc = "A highly available, strongly consistent key-value store, coordinated by ZooKeeper.",
    status = "KvClusterStatus",
    derive = "PartialEq",
    derive = "Default",
    scale(
        spec_replicas_path = ".spec.nodes",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready", description = "Nodes that are ready, of those wished for"),
    printcolumn(name = "Master", type_ = "string", json_path = ".status.master", description = "The node that is the master"),
    printcolumn(name = "Sub-Master", type_ = "string", json_path = ".status.subMaster", description = "The node that takes over from the master"),
    printcolumn(name = "Shards", type_ = "string", json_path = ".status.shards.summary", description = "Shards that are served, of all"),
    printcolumn(name = "ZooKeeper", type_ = "string", json_path = ".status.zookeeper.ready", description = "Members of the ensemble that serve, of those wished for"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "In a word, how it is"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", description = "What is at fault or under way", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 40").message("metadata.name: at most 40 characters, so that the names of its pods and volumes fit: choose a shorter one"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name: lower-case letters, digits and dashes, beginning with a letter: its Services are named after it, so write for example kv-1 and not 1.kv"),
    validation = Rule::new("!self.metadata.name.matches('-(zk|zk-client|nodes)$')").message("metadata.name: it must not end in -zk, -zk-client or -nodes, which are the names of another cluster's objects: choose another one")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.copies) || self.copies <= self.nodes").message("copies: there can't be more copies of a shard than nodes: lower spec.copies or raise spec.nodes"),
    validation = Rule::new("self.minInSyncCopies <= (has(self.copies) ? self.copies : 2)").message("minInSyncCopies: at most the number of copies (2 if spec.copies is not set): lower spec.minInSyncCopies or set spec.copies"),
    validation = Rule::new("self.minInSyncCopies <= self.nodes").message("minInSyncCopies: with fewer nodes than that every write is refused: lower spec.minInSyncCopies or raise spec.nodes"),
    validation = Rule::new("has(self.copies) == has(oldSelf.copies) && (!has(self.copies) || self.copies == oldSelf.copies)").message("copies: it is fixed when the cluster is created: write it as it was, or create another cluster and copy the data"),
    validation = Rule::new("self.minInSyncCopies == oldSelf.minInSyncCopies").message("minInSyncCopies: it is fixed when the cluster is created: write it as it was, or create another cluster and copy the data"),
    validation = Rule::new("has(self.shards) == has(oldSelf.shards) && (!has(self.shards) || self.shards == oldSelf.shards)").message("shards: they are fixed when the cluster is created and split by themselves as they grow: write them as they were"),
    validation = Rule::new("(has(self.settings) && has(self.settings.lease)) == (has(oldSelf.settings) && has(oldSelf.settings.lease)) && (!has(self.settings) || !has(self.settings.lease) || self.settings.lease == oldSelf.settings.lease)").message("settings.lease: it is fixed when the cluster is created: write it as it was, or create another cluster and copy the data"),
    validation = Rule::new("(has(self.zookeeper) && has(self.zookeeper.external)) == (has(oldSelf.zookeeper) && has(oldSelf.zookeeper.external))").message("zookeeper.external: a cluster can't move between a managed and an external ZooKeeper: write it as it was, or create another cluster and copy the data")
)]
pub struct KvClusterSpec {
    /// KV nodes.
    #[serde(default = "default_nodes")]
    #[schemars(range(min = 1, max = 99))]
    pub nodes: i32,
    /// Copies of each shard, the home's included. Default: two. While there are fewer nodes there are fewer copies. Fixed at
    /// creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 7))]
    pub copies: Option<i32>,
    /// Copies in sync below which writes are refused. 1: a shard goes on with one copy while the others are away. Fixed at
    /// creation.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 7))]
    pub min_in_sync_copies: i32,
    /// The shards to begin with. Fixed at creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<Shards>,
    /// Image of the nodes. Default: the one released with the operator that created the cluster, kept until it is set here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    pub image: Option<String>,
    /// When images are pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self in ['Always', 'IfNotPresent', 'Never']").message("imagePullPolicy: write Always, IfNotPresent or Never"))]
    pub image_pull_policy: Option<String>,
    /// Secrets of the namespace that images are pulled with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// The nodes' volumes.
    #[serde(default)]
    pub storage: StorageSpec,
    /// The ZooKeeper that coordinates the nodes. Default: one of three members, of this cluster's own.
    #[serde(default)]
    pub zookeeper: ZooKeeperSpec,
    /// Settings of the nodes.
    #[serde(default)]
    pub settings: Settings,
    /// Processor time and memory of each node. Default: requests of 100m and 256Mi, a memory limit of 1Gi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Where the nodes may run.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// Labels and annotations that the nodes' and ZooKeeper's pods carry besides the operator's own.
    #[serde(default)]
    pub pod_template: PodTemplate,
    /// Who may reach the pods.
    #[serde(default)]
    pub network_policy: NetworkPolicySpec,
    /// Metrics for the Prometheus operator.
    #[serde(default)]
    pub monitoring: Monitoring,
    /// True: the operator changes nothing, and goes on to report.
    #[serde(default)]
    pub paused: bool,
}

fn default_nodes() -> i32 {
    DEFAULT_NODES
}

fn one() -> i32 {
    1
}
