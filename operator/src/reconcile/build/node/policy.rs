use k8s_openapi::api::networking::v1::NetworkPolicy;

use super::super::policies::{self, clients, operator, pods_of, rule, to_everybody};
use crate::reconcile::{
    names::{Component, HTTP_PORT, KV_PORT},
    validated::ValidatedCluster,
};

/// Clients, other nodes and the operator reach gRPC. Probes and metrics are for everybody: who reads them can't be named, and
/// they say nothing of keys and values.
pub(in super::super) fn policy(cluster: &ValidatedCluster) -> Option<NetworkPolicy> {
    let named = cluster.network_policy.as_ref()?;
    let mut peers = vec![pods_of(cluster, Component::Node), operator()];
    peers.extend(clients(named));
    let rules = vec![rule(&[KV_PORT], peers), to_everybody(&[HTTP_PORT])];
    Some(policies::policy(cluster, Component::Node, rules))
}
