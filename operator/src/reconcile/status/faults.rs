use k8s_openapi::jiff::SignedDuration;

use super::{
    conditions::{are, is_storage_fault, was_served},
    seen::{Seen, Verdict, is_ready, some_of},
};
use crate::{
    api::{
        ConditionKind,
        ConditionStatus::{False, True},
    },
    reconcile::names::Component,
};

/// While a change is carried out, pods go and come and copies with them, and that is no fault. One that takes longer has got
/// stuck, or is so large that people should see what is missing.
const CHANGE_WITHIN: SignedDuration = SignedDuration::from_mins(15);

/// Something that is missing or wrong.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub reason: String,
    pub message: String,
}

/// All faults, the most important first.
pub(super) fn faults(seen: &Seen<'_>, conditions: &[(ConditionKind, Verdict)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |reason: &str, message: &str| {
        faults.push(Fault { reason: reason.to_owned(), message: message.to_owned() });
    };
    for (kind, Verdict { status, reason, message }) in conditions {
        let is_fault = match kind {
            ConditionKind::Available => *status != True && was_served(seen),
            ConditionKind::ZooKeeperQuorum => *status == False,
            _ => false,
        };
        if is_fault {
            add(reason, message);
        }
    }
    for component in [Component::Node, Component::ZooKeeper] {
        for (name, trouble) in seen.pods(component).filter_map(|(name, pod)| Some((name, pod?.trouble.as_ref()?))) {
            add(&trouble.reason, &format!("pod {name}: {}: {}", trouble.reason, trouble.message));
        }
    }
    for hindrance in &seen.decisions.hindrances {
        add(hindrance.reason, &hindrance.message);
    }
    for (_, verdict) in conditions.iter().filter(|(kind, _)| *kind == ConditionKind::StorageReady) {
        if is_storage_fault(verdict) {
            add(&verdict.reason, &verdict.message);
        }
    }
    // What is missing while the cluster is made, or while a change goes on as it should.
    let excused = !was_served(seen) || (faults.is_empty() && seen.is_changing() && is_recent(seen));
    if !excused {
        faults.extend(lacks(seen));
    }
    faults
}

/// The condition that sums them up.
pub(super) fn degraded(faults: &[Fault]) -> Verdict {
    match faults.first() {
        Some(first) => {
            let messages: Vec<_> = faults.iter().map(|fault| fault.message.as_str()).collect();
            Verdict::new(True, &first.reason, some_of(&messages, "; "))
        }
        None => Verdict::new(False, "NothingMissing", ""),
    }
}

fn is_recent(seen: &Seen<'_>) -> bool {
    let since = seen.before(ConditionKind::Progressing).filter(|before| before.status == True);
    since.is_none_or(|since| seen.now.duration_since(since.last_transition_time.0) < CHANGE_WITHIN)
}

fn lacks(seen: &Seen<'_>) -> Vec<Fault> {
    let mut lacks = Vec::new();
    let mut add = |reason: &str, message: String| lacks.push(Fault { reason: reason.to_owned(), message });
    let lacking = |component| -> Vec<String> {
        let unready =
            seen.pods(component).filter(|(_, pod)| !pod.is_some_and(|pod| is_ready(pod) || pod.trouble.is_some()));
        unready.map(|(name, pod)| if pod.is_some() { name } else { format!("{name} (missing)") }).collect()
    };
    let nodes = lacking(Component::Node);
    if !nodes.is_empty() {
        add("NodeNotReady", format!("{} not ready", are(&nodes)));
    }
    if let Some(report) = seen.report() {
        let cut_off: Vec<_> = seen
            .ready(Component::Node)
            .filter(|name| report.nodes.get(name).is_none_or(|node| !node.registered))
            .collect();
        if !cut_off.is_empty() {
            add("NodeNotRegistered", format!("{} not registered at ZooKeeper", are(&cut_off)));
        }
        if report.master.is_none() && report.zookeeper_connected {
            add("NoMaster", "no node is the master: placement waits".into());
        }
        let lacking =
            |in_sync: usize, replicated: bool| if seen.copies == 0 { !replicated } else { in_sync < seen.copies };
        let few = report.shards.values().filter(|shard| lacking(shard.in_sync.len(), shard.fully_replicated)).count();
        if few > 0 {
            let all = report.shards.len();
            add("CopiesNotInSync", format!("{few} of {all} shards have fewer copies in sync than they are to have"));
        }
    }
    let members = lacking(Component::ZooKeeper);
    if !members.is_empty() {
        add("MemberNotReady", format!("{} not ready", are(&members)));
    }
    lacks
}
