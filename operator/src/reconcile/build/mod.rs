//! A validated cluster and what was decided → the objects as they are to be. Pure; one file for each kind of object.

mod budgets;
mod containers;
mod metadata;
mod node;
mod pods;
mod policies;
mod services;
mod stateful_sets;
mod zookeeper;

#[cfg(test)]
mod flows;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::core::DynamicObject;

pub use self::{node::service_monitor_kind, zookeeper::ZooKeeperResources};
use super::{decision::Decisions, validated::ValidatedCluster};

/// Objects as they are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared;

/// Objects as the API server has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied;

/// All objects of a cluster, in the order in which they are applied: what pods need comes before them. What is none is not to
/// be there.
#[derive(Clone, Debug, PartialEq)]
pub struct Resources<State> {
    /// The account of all pods.
    pub service_account: ServiceAccount,
    /// The ensemble; none: somebody else looks after it.
    pub zookeeper: Option<ZooKeeperResources>,
    /// Gives each node its name, and remembers the [`Origin`](super::origin::Origin): it has to be there before the StatefulSets.
    pub node_headless: Service,
    /// Leads clients to nodes that are ready.
    pub node_client: Service,
    /// The nodes; none: they are not made yet.
    pub node_set: Option<StatefulSet>,
    /// How many nodes may be evicted at a time; none: there is only one.
    pub node_budget: Option<PodDisruptionBudget>,
    /// Who may reach the nodes; none: everybody.
    pub node_policy: Option<NetworkPolicy>,
    /// Has Prometheus read the nodes.
    pub service_monitor: Option<DynamicObject>,
    /// How far they are.
    pub state: PhantomData<State>,
}

/// Builds the objects. `password` is that of ZooKeeper's `super`: without it there is no ensemble that the operator could
/// look after, so it has to be given for one.
#[must_use]
pub fn build(cluster: &ValidatedCluster, decisions: &Decisions, password: Option<&str>) -> Resources<Prepared> {
    let ensemble = cluster.managed_zookeeper().zip(password);
    Resources {
        service_account: node::service_account(cluster),
        zookeeper: ensemble.map(|(managed, password)| zookeeper::build(cluster, managed, decisions, password)),
        node_headless: node::headless(cluster),
        node_client: node::client(cluster),
        node_set: node::stateful_set(cluster, decisions),
        node_budget: node::budget(cluster),
        node_policy: node::policy(cluster),
        service_monitor: node::service_monitor(cluster),
        state: PhantomData,
    }
}
