use k8s_openapi::api::networking::v1::NetworkPolicy;

use super::super::policies::{self, clients, operator, pods_of, rule};
use crate::reconcile::{
    names::{Component, ZOOKEEPER_CLIENT_PORT, ZOOKEEPER_ELECTION_PORT, ZOOKEEPER_PEER_PORT},
    validated::ValidatedCluster,
};

/// Nodes, the operator and clients (who find the nodes there) reach the members; what members say to each other is theirs alone.
pub(super) fn policy(cluster: &ValidatedCluster) -> Option<NetworkPolicy> {
    let named = cluster.network_policy.as_ref()?;
    let mut peers = vec![pods_of(cluster, Component::Node), operator()];
    peers.extend(clients(named));
    let members = vec![pods_of(cluster, Component::ZooKeeper)];
    let rules =
        vec![rule(&[ZOOKEEPER_CLIENT_PORT], peers), rule(&[ZOOKEEPER_PEER_PORT, ZOOKEEPER_ELECTION_PORT], members)];
    Some(policies::policy(cluster, Component::ZooKeeper, rules))
}
