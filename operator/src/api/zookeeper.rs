use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{Scheduling, VolumeSpec};

/// Members of a managed ensemble that doesn't say how many.
pub const DEFAULT_ZOOKEEPER_NODES: i32 = 3;

/// The ZooKeeper of a cluster: managed by the operator, or external.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.external) || !(has(self.nodes) || has(self.image) || has(self.storage) || has(self.resources) || has(self.scheduling))").message("zookeeper: either external, or the fields of a managed one: remove zookeeper.external or the others"),
    validation = Rule::new("!isQuantity(has(self.storage) && has(self.storage.size) ? self.storage.size : '2Gi') || !quantity(has(self.storage) && has(self.storage.size) ? self.storage.size : '2Gi').isLessThan(quantity(has(oldSelf.storage) && has(oldSelf.storage.size) ? oldSelf.storage.size : '2Gi'))").message("zookeeper.storage.size: volumes can grow and never shrink: write at least the size they had (2Gi if none was written)")
)]
pub struct ZooKeeperSpec {
    /// Members of the ensemble: an odd number. Default: 3. May be changed later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 7))]
    #[x_kube(validation = Rule::new("self % 2 == 1").message("zookeeper.nodes: an odd number (1, 3, 5 or 7), since an even one survives no more losses than the odd one below it"))]
    pub nodes: Option<i32>,
    /// Image of the members: the official ZooKeeper image, 3.9.4 or newer, or one with the same paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    pub image: Option<String>,
    /// The volume of each member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<VolumeSpec>,
    /// Processor time and memory of each member. Java's heap is half of the memory limit. Default: requests of 100m and
    /// 512Mi, a memory limit of 512Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Where the members may run. Default: as the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
    /// A ZooKeeper that exists already and that the operator leaves alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalZooKeeper>,
}

/// A ZooKeeper that somebody else looks after.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.root) ? self.root : '') == (has(oldSelf.root) ? oldSelf.root : '')").message("zookeeper.external.root: it is where the cluster is kept: write it as it was, or create another cluster and copy the data"))]
pub struct ExternalZooKeeper {
    /// Its servers, with commas between: `zk-a:2181,zk-b:2181`.
    #[schemars(length(min = 3, max = 1000), pattern(r"^[^\s,/:]+:[0-9]{1,5}(,[^\s,/:]+:[0-9]{1,5})*$"))]
    pub connect: String,
    /// The path below which the cluster is kept; its own part is added: `ROOT/NAMESPACE/NAME`. Default: `/kvclusters`. Fixed
    /// at creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), pattern(r"^(/[A-Za-z0-9_.-]+)+$"))]
    pub root: Option<String>,
}
