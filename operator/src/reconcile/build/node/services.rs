use k8s_openapi::api::core::v1::Service;

use super::super::{
    metadata::unless_empty,
    services::{self, NamedPort},
};
use crate::reconcile::{
    names::{Component, HTTP_PORT, KV_PORT},
    validated::ValidatedCluster,
};

const PORTS: [NamedPort; 2] = [("grpc", KV_PORT), ("http", HTTP_PORT)];

/// Gives each node its name, and remembers what was so when the cluster was created.
pub(in super::super) fn headless(cluster: &ValidatedCluster) -> Service {
    let mut service = services::headless(cluster, Component::Node, cluster.names.nodes_headless(), &PORTS);
    service.metadata.annotations = unless_empty(cluster.origin.annotations());
    service
}

/// Leads clients to nodes that are ready.
pub(in super::super) fn client(cluster: &ValidatedCluster) -> Service {
    services::client(cluster, Component::Node, cluster.names.nodes(), &PORTS)
}
