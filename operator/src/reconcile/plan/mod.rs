//! The next safe step: pure, from what is wished for and what there is.

pub mod disruption;
mod nodes;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod volumes;
pub mod zookeeper;

use super::{
    decision::Decisions,
    validated::{ValidatedCluster, ValidatedZooKeeper},
    world::World,
};

/// Whether nodes may go in this round, so that what they say has to be from this very round: one that held nothing some seconds ago may
/// have been given a copy since.
#[must_use]
pub fn needs_fresh_report(wish: i32, world: &World) -> bool {
    world.node_set.as_ref().is_none_or(|set| i64::from(set.replicas) > i64::from(wish)) && !world.node_pods.is_empty()
}

/// Decides what a round does.
#[must_use]
pub fn plan(cluster: &ValidatedCluster, world: &World) -> Decisions {
    let mut decisions = Decisions::default();
    let announced = match &cluster.zookeeper {
        ValidatedZooKeeper::Managed(_) => world.ensemble_is_made(),
        ValidatedZooKeeper::External { .. } => true,
    };
    let settled = nodes::plan(cluster, world, announced, &mut decisions);
    if let ValidatedZooKeeper::Managed(managed) = &cluster.zookeeper {
        // The nodes' image is also the members' init image: nodes are replaced first, so that a wrong one stops there.
        zookeeper::decide(cluster, managed, world, settled, &mut decisions);
    }
    volumes::plan(cluster, world, &mut decisions);
    decisions
}
