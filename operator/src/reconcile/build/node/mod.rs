//! Objects of the KV nodes.

mod pod;
mod policy;
mod service_account;
mod service_monitor;
mod services;

pub use self::service_monitor::service_monitor_kind;
pub(super) use self::{
    policy::policy,
    service_account::service_account,
    service_monitor::service_monitor,
    services::{client, headless},
};

use k8s_openapi::api::{apps::v1::StatefulSet, policy::v1::PodDisruptionBudget};

use super::{budgets, stateful_sets};
use crate::reconcile::{decision::Decisions, names::Component, validated::ValidatedCluster};

/// The StatefulSet, once there are to be nodes.
pub(super) fn stateful_set(cluster: &ValidatedCluster, decisions: &Decisions) -> Option<StatefulSet> {
    let replicas = decisions.node_replicas?;
    let service = cluster.names.nodes_headless();
    let template = pod::template(cluster);
    Some(stateful_sets::stateful_set(cluster, decisions, Component::Node, service, replicas, template))
}

/// How many nodes may be evicted at a time.
pub(super) fn budget(cluster: &ValidatedCluster) -> Option<PodDisruptionBudget> {
    budgets::budget(cluster, Component::Node, cluster.nodes.count)
}
