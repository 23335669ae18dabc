use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The nodes' volumes: `data` for shards whose home a node is, `bkpdata` for copies of other nodes' shards.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!isQuantity(has(self.data) && has(self.data.size) ? self.data.size : '10Gi') || !quantity(has(self.data) && has(self.data.size) ? self.data.size : '10Gi').isLessThan(quantity(has(oldSelf.data) && has(oldSelf.data.size) ? oldSelf.data.size : '10Gi'))").message("storage.data.size: volumes can grow and never shrink: write at least the size they had (10Gi if none was written)"),
    validation = Rule::new("!isQuantity(has(self.bkpdata) && has(self.bkpdata.size) ? self.bkpdata.size : '10Gi') || !quantity(has(self.bkpdata) && has(self.bkpdata.size) ? self.bkpdata.size : '10Gi').isLessThan(quantity(has(oldSelf.bkpdata) && has(oldSelf.bkpdata.size) ? oldSelf.bkpdata.size : '10Gi'))").message("storage.bkpdata.size: volumes can grow and never shrink: write at least the size they had (10Gi if none was written)")
)]
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
#[x_kube(validation = Rule::new("!has(self.size) || !isQuantity(self.size) || quantity(self.size).isGreaterThan(quantity('0'))").message("size: more than nothing: write for example 10Gi"))]
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
