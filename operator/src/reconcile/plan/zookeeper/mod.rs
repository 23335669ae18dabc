//! The next safe step of an ensemble, from what is wished for and what there is: pure.
//!
//! - **Who the members are** is what `/zookeeper/config` says. The record (a ConfigMap) follows it, and so do marks on the
//!   members' claims: from them a lost record is made again, and as long as there is one no ensemble is ever begun.
//! - **Growing**: pods first, outside the configuration; marks; then one change that adds all.
//! - **Shrinking**: one change that removes the highest; the configuration is read again; marks are removed; then pods.
//!   What becomes of their claims is the StatefulSet's retention policy.
//! - **Replacing**: one pod at a time, while all members serve and are synced.
//! - **A quorum that is lost** is a condition. What a person then asks for happens in steps that the record keeps
//!   ([`recovery`]).
//!
//! Every round starts from what is there, so it does not matter where an earlier one was interrupted.

mod input;
mod known;
mod lost;
mod recovery;
mod rolling;
mod scaling;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use kv_zookeeper_member::Record;

pub use self::input::Observed;
use super::super::{
    decision::{Action, Decisions, Finding},
    validated::{ManagedZooKeeper, ValidatedCluster},
    world::World,
};

/// What is to be done about an ensemble.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ZooKeeperPlan {
    /// Pods that there are to be.
    pub replicas: u32,
    /// Who the ensemble is, for the init containers; to be written before anything else.
    pub record: Record,
    /// What is done next, in this order.
    pub actions: Vec<Action>,
    /// What is under way.
    pub progress: Vec<Finding>,
    /// What hinders.
    pub hindrances: Vec<Finding>,
    /// Why there is no quorum, if there is none for more than a moment.
    pub quorum: Option<Finding>,
    /// The value of the annotation that is proposed to a person, if a recovery is possible.
    pub proposal: Option<String>,
}

/// Decides on the ensemble of a cluster. `nodes_settled`: pods that are well may be replaced.
pub(super) fn decide(
    cluster: &ValidatedCluster,
    managed: &ManagedZooKeeper,
    world: &World,
    nodes_settled: bool,
    decisions: &mut Decisions,
) {
    let ZooKeeperPlan { replicas, record, actions, progress, hindrances, quorum, proposal: _ } =
        plan(&Observed::from_world(&cluster.names, managed, world, nodes_settled));
    decisions.zookeeper_replicas = Some(replicas);
    decisions.ensemble_record = known::record_files(&record);
    decisions.actions.extend(actions);
    decisions.progress.extend(progress);
    decisions.hindrances.extend(hindrances);
    decisions.quorum = quorum;
}

/// Decides on an ensemble.
#[must_use]
pub fn plan(observed: &Observed) -> ZooKeeperPlan {
    let mut plan = ZooKeeperPlan { replicas: observed.replicas(), ..ZooKeeperPlan::default() };
    known::record(observed, &mut plan);
    if !plan.record.bootstrapped {
        bootstrap(observed, &mut plan);
        return plan;
    }
    plan.replicas = plan.replicas.max(observed.wish).max(known::highest(observed, &plan.record));
    if recovery::recover(observed, &mut plan) {
        return plan;
    }
    let Some(configuration) = &observed.view.configuration else {
        lost::describe(observed, &mut plan);
        rolling::replace_stuck(observed, &mut plan);
        return plan;
    };
    known::mark_members(observed, configuration, &mut plan);
    if scaling::scale(observed, configuration, &mut plan) {
        rolling::roll(observed, configuration, &mut plan);
    } else {
        rolling::replace_stuck(observed, &mut plan);
    }
    plan
}

/// Member 0 begins the ensemble by itself. When it serves, its claim is marked; the mark makes the next round write the record,
/// and only then is the ensemble announced: nothing has been written to it that anybody counts on.
fn bootstrap(observed: &Observed, plan: &mut ZooKeeperPlan) {
    plan.replicas = plan.replicas.max(1);
    let message = "the first member begins the ensemble".to_owned();
    plan.progress.push(Finding { reason: "ZooKeeperBootstraps", message });
    match &observed.view.configuration {
        Some(configuration) => known::mark_members(observed, configuration, plan),
        None => {
            rolling::replace_stuck(observed, plan);
        }
    }
}
