//! More members, and fewer.

use kv_zookeeper_member::Membership;

use super::{
    super::super::decision::{Action, Finding},
    Observed, ZooKeeperPlan, known,
};

/// Takes the next step from the members that there are to those that are wished for. Returns whether there is none to take.
pub(super) fn scale(observed: &Observed, configuration: &Membership, plan: &mut ZooKeeperPlan) -> bool {
    let joining: Vec<_> = (0..observed.wish).filter(|ordinal| !configuration.votes(ordinal + 1)).collect();
    if !joining.is_empty() {
        grow(observed, configuration, &joining, plan);
        return false;
    }
    let leaving: Vec<_> = configuration.voters().filter(|id| *id > observed.wish).collect();
    if !leaving.is_empty() {
        shrink(observed, configuration, &leaving, plan);
        return false;
    }
    // A pod goes only when its claim is no longer taken for a member's.
    let marked = observed.claims.keys().rfind(|ordinal| known::has_mark(observed, **ordinal));
    plan.replicas = observed.wish.max(marked.map_or(0, |ordinal| ordinal + 1));
    plan.replicas == observed.wish
}

/// All join at once, so that there never is an even number of members. They run before, outside the configuration: one that did not
/// run would be accepted, and count for the quorum.
fn grow(observed: &Observed, configuration: &Membership, joining: &[u32], plan: &mut ZooKeeperPlan) {
    let away: Vec<_> =
        joining.iter().filter(|ordinal| !(observed.serves(**ordinal) && observed.is_ready(**ordinal))).collect();
    let (members, wish) = (configuration.voters().count(), observed.wish);
    let mut message = format!("ZooKeeper grows from {members} to {wish} members");
    if let Some(away) = away.first() {
        message += &format!(": {} is not ready ({})", observed.pod(**away), observed.trouble(**away));
    }
    plan.progress.push(Finding { reason: "ZooKeeperGrows", message });
    // The leader counts all who don't vote: those that were removed and still run are not those that are to join.
    let others = observed.view.serving.keys().filter(|ordinal| !configuration.votes(**ordinal + 1)).count();
    let synced = observed.view.synced().is_some_and(|(_, joiners)| joiners as usize >= others);
    if !away.is_empty() || !synced {
        return;
    }
    // From now on their claims may hold what is acknowledged.
    if joining.iter().any(|ordinal| !known::has_mark(observed, *ordinal)) {
        let marks = joining.iter().filter_map(|ordinal| known::mark_claim(observed, *ordinal, configuration));
        plan.actions.extend(marks);
        return;
    }
    let joining = joining.iter().map(|ordinal| observed.member(*ordinal).to_string()).collect();
    plan.actions.push(Action::Reconfigure { version: configuration.version, joining, leaving: Vec::new() });
}

fn shrink(observed: &Observed, configuration: &Membership, leaving: &[u32], plan: &mut ZooKeeperPlan) {
    let members = configuration.voters().count();
    let away = (0..observed.wish).find(|ordinal| !(observed.serves(*ordinal) && observed.is_ready(*ordinal)));
    let mut message = format!("ZooKeeper shrinks from {members} to {} members", observed.wish);
    match away {
        Some(away) => message += &format!(": {} has to serve first ({})", observed.pod(away), observed.trouble(away)),
        None => {
            let leaving = leaving.to_vec();
            plan.actions.push(Action::Reconfigure { version: configuration.version, joining: Vec::new(), leaving });
        }
    }
    plan.progress.push(Finding { reason: "ZooKeeperShrinks", message });
}
