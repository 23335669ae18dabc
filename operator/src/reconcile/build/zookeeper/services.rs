use k8s_openapi::api::core::v1::Service;

use super::super::services::{self, NamedPort};
use crate::reconcile::{
    names::{Component, ZOOKEEPER_CLIENT_PORT, ZOOKEEPER_ELECTION_PORT, ZOOKEEPER_PEER_PORT},
    validated::ValidatedCluster,
};

/// The port's name, on Services and pods.
pub(super) const CLIENT_PORT: NamedPort = ("client", ZOOKEEPER_CLIENT_PORT);
/// See [`CLIENT_PORT`].
pub(super) const PEER_PORT: NamedPort = ("peer", ZOOKEEPER_PEER_PORT);
/// See [`CLIENT_PORT`].
pub(super) const ELECTION_PORT: NamedPort = ("election", ZOOKEEPER_ELECTION_PORT);

/// Gives each member its name.
pub(super) fn headless(cluster: &ValidatedCluster) -> Service {
    let ports = [CLIENT_PORT, PEER_PORT, ELECTION_PORT];
    services::headless(cluster, Component::ZooKeeper, cluster.names.zookeeper(), &ports)
}

/// Leads the nodes to members that serve.
pub(super) fn client(cluster: &ValidatedCluster) -> Service {
    services::client(cluster, Component::ZooKeeper, cluster.names.zookeeper_client(), &[CLIENT_PORT])
}
