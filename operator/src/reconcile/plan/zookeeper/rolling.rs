//! Which pod is made anew next.

use kv_zookeeper_member::Membership;

use super::{
    super::super::{decision::Finding, world::PodState},
    Observed, ZooKeeperPlan,
};

const OLD_REVISION: &str = "it is of an older revision";

/// Replaces the next pod of an older revision, if all members serve and are synced: stuck ones first, then followers from the
/// highest ordinal down, then the leader.
pub(super) fn roll(observed: &Observed, configuration: &Membership, plan: &mut ZooKeeperPlan) {
    if replace_stuck(observed, plan) {
        return;
    }
    let leader = observed.view.leader();
    let mut outdated: Vec<_> = outdated(observed).collect();
    outdated.sort_by_key(|ordinal| (Some(*ordinal) == leader, std::cmp::Reverse(*ordinal)));
    let lacking = lacking(observed, configuration, plan.replicas);
    if !lacking.is_empty() {
        plan.progress.push(Finding { reason: "MembersStart", message: lacking.join("; ") });
        return;
    }
    let Some(next) = outdated.first() else { return };
    let (pod, left) = (observed.pod(*next), outdated.len());
    if !observed.may_replace {
        let message = format!("{left} ZooKeeper pods are replaced once the nodes are settled");
        plan.progress.push(Finding { reason: "ZooKeeperWaits", message });
        return;
    }
    let message = format!("{pod} is replaced: {OLD_REVISION} ({left} are left)");
    plan.progress.push(Finding { reason: "ZooKeeperRolls", message });
    plan.actions.extend(observed.delete_pod(*next, OLD_REVISION));
}

/// Replaces a pod of an older revision that neither is ready nor serves: the newer one may be what repairs it. One at a time; true
/// if there is one.
pub(super) fn replace_stuck(observed: &Observed, plan: &mut ZooKeeperPlan) -> bool {
    if observed.pods.values().any(|pod| pod.deleting) {
        return false;
    }
    let stuck = |ordinal: &u32| !observed.is_ready(*ordinal) && !observed.serves(*ordinal);
    let Some(stuck) = outdated(observed).filter(stuck).last() else { return false };
    let message = format!("{} is replaced: {OLD_REVISION} and not ready", observed.pod(stuck));
    plan.progress.push(Finding { reason: "ZooKeeperRolls", message });
    plan.actions.extend(observed.delete_pod(stuck, "it is of an older revision and not ready"));
    true
}

fn outdated(observed: &Observed) -> impl Iterator<Item = u32> + '_ {
    let set = observed.set.as_ref().filter(|set| set.observed && !set.deleting);
    let is_old = move |pod: &PodState| set.is_some_and(|set| pod.revision != set.update_revision);
    observed.pods.iter().filter(move |(_, pod)| is_old(pod)).map(|(ordinal, _)| *ordinal)
}

/// What has to come before another pod may be replaced, for a person.
fn lacking(observed: &Observed, configuration: &Membership, replicas: u32) -> Vec<String> {
    let ready = |ordinal: &u32| observed.is_ready(*ordinal) && observed.serves(*ordinal);
    let members = configuration.voters().map(|id| id - 1).chain(0..replicas);
    let mut lacking: Vec<_> = members.filter(|ordinal| !ready(ordinal)).collect();
    lacking.sort_unstable();
    lacking.dedup();
    let mut lacking: Vec<_> = lacking
        .into_iter()
        .map(|ordinal| format!("{} does not serve ({})", observed.pod(ordinal), observed.trouble(ordinal)))
        .collect();
    let voters = configuration.voters().count();
    let synced = observed.view.synced().map_or(0, |(voters, _)| voters as usize + 1);
    if lacking.is_empty() && synced < voters {
        lacking.push(format!("{synced} of {voters} members are synced"));
    }
    lacking
}
