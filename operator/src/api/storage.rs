use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The nodes' volumes: `data` for shards whose home a node is, `bkpdata` for copies of other nodes' shards.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageSpec {
    /// The volume `data` of each node.
    #[serde(default)]
    pub data: VolumeSpec,
    /// The volume `bkpdata` of each node.
    #[serde(default)]
    pub bkpdata: VolumeSpec,
    /// What becomes of volumes when the cluster is deleted, or of those of nodes that are taken away.
    #[serde(default)]
    pub on_delete: OnDelete,
}

/// One volume.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.size) || !isQuantity(self.size) || quantity(self.size).isGreaterThan(quantity('0'))").message("size: more than nothing: write for example 10Gi"),
    validation = Rule::new("!has(oldSelf.size) || (has(self.size) && (!isQuantity(self.size) || !quantity(self.size).isLessThan(quantity(oldSelf.size))))").message("size: volumes can grow and never shrink: write at least the size it had")
)]
pub struct VolumeSpec {
    /// As a quantity of Kubernetes, such as `10Gi`. May be raised later, never lowered. Default: 10Gi for nodes, 2Gi for
    /// ZooKeeper.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 30))]
    #[x_kube(validation = Rule::new("isQuantity(self)").message("size: it is not a quantity: write for example 10Gi"))]
    pub size: Option<String>,
    /// The storage class. Default: the Kubernetes cluster's default class. Can be changed
    /// only while the volumes have not been made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
}

/// What becomes of volumes that are no longer used.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub enum OnDelete {
    /// They stay, and a cluster of the same name finds its data again.
    #[default]
    Retain,
    /// They are deleted, and the data with them.
    Delete,
}
