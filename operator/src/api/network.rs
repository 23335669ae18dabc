use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may reach the pods. What the cluster itself needs is always allowed.
#[derive(JsonSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySpec {
    /// Whether policies are written.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Who may reach the nodes' and ZooKeeper's ports for clients. Default: the pods of the namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub clients: Vec<NetworkPolicyPeer>,
}

/// Metrics for the Prometheus operator.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// Whether a ServiceMonitor is written. The Prometheus operator's resources have to be there.
    #[serde(default)]
    pub service_monitor: bool,
    /// Labels of the ServiceMonitor, by which a Prometheus selects it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Default for NetworkPolicySpec {
    fn default() -> Self {
        Self { enabled: true, clients: Vec::new() }
    }
}

fn yes() -> bool {
    true
}
