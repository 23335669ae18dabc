//! Objects of an ensemble that the operator looks after.

mod pod;
mod policy;
mod record;
mod secret;
mod services;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Secret, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};

use super::{budgets, stateful_sets};
use crate::reconcile::{
    decision::Decisions,
    names::Component,
    validated::{ManagedZooKeeper, ValidatedCluster},
};

/// What an ensemble is made of. The record and the secret have to be there before pods are.
#[derive(Clone, Debug, PartialEq)]
pub struct ZooKeeperResources {
    /// Who the ensemble is, for the init containers.
    pub record: ConfigMap,
    /// The password of who may reconfigure, and its digest.
    pub secret: Secret,
    /// Gives each member its name.
    pub headless: Service,
    /// Leads the nodes to members that serve.
    pub client: Service,
    /// The members; none: they are not made yet.
    pub set: Option<StatefulSet>,
    /// How many may be evicted at a time; none: there is only one.
    pub budget: Option<PodDisruptionBudget>,
    /// Who may reach the members; none: everybody.
    pub policy: Option<NetworkPolicy>,
}

pub(super) fn build(
    cluster: &ValidatedCluster,
    managed: &ManagedZooKeeper,
    decisions: &Decisions,
    password: &str,
) -> ZooKeeperResources {
    let set = decisions.zookeeper_replicas.map(|replicas| {
        let service = cluster.names.zookeeper();
        let template = pod::template(cluster, managed);
        stateful_sets::stateful_set(cluster, decisions, Component::ZooKeeper, service, replicas, template)
    });
    ZooKeeperResources {
        record: record::record(cluster, decisions),
        secret: secret::secret(cluster, password),
        headless: services::headless(cluster),
        client: services::client(cluster),
        set,
        budget: budgets::budget(cluster, Component::ZooKeeper, managed.count),
        policy: policy::policy(cluster),
    }
}
