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
