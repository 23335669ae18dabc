use super::super::{
    decision::Decisions,
    validated::{ManagedZooKeeper, ValidatedCluster},
    world::World,
};

/// Decides on the ensemble.
pub(super) fn decide(
    _cluster: &ValidatedCluster,
    _managed: &ManagedZooKeeper,
    _world: &World,
    _nodes_settled: bool,
    decisions: &mut Decisions,
) {
    decisions.zookeeper_replicas = Some(1);
}
