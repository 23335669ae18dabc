use crate::{
    api::{
        Condition, ConditionKind,
        ConditionStatus::{False, True},
        KvClusterStatus, NodeRole, NodeStatus,
    },
    reconcile::status::{AS_WISHED, CREATING, PAUSED, VOLUMES_PENDING},
};

/// Something that people are told once, when it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whether somebody should look.
    pub importance: Importance,
    /// One word.
    pub reason: String,
    /// What part of the operator's work it belongs to, in one word.
    pub action: &'static str,
    /// For a person.
    pub note: String,
}

/// Whether somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// It goes as it should.
    Normal,
    /// Somebody should look.
    Warning,
}

use Importance::{Normal, Warning};

/// What has changed between two statuses of a resource, so far as people are told.
#[must_use]
pub fn changes(before: &KvClusterStatus, after: &KvClusterStatus) -> Vec<Change> {
    let mut changes = Vec::new();
    roles(before, after, &mut changes);
    nodes(before, after, &mut changes);
    for condition in &after.conditions {
        let known = before.conditions.iter().find(|known| known.kind == condition.kind);
        let (now, then) = ((condition.status, &condition.reason), known.map(|known| (known.status, &known.reason)));
        if then != Some(now) {
            changes.extend(of_condition(condition, known, after));
        }
    }
    // Faults are told once, though several conditions show them.
    let mut told = Vec::new();
    changes.retain(|change| {
        let new = change.importance == Normal || !told.contains(&change.note);
        told.push(change.note.clone());
        new
    });
    changes
}

fn roles(before: &KvClusterStatus, after: &KvClusterStatus, changes: &mut Vec<Change>) {
    let roles = [
        ("NewMaster", "master", &before.master, &after.master),
        ("NewSubMaster", "sub-master", &before.sub_master, &after.sub_master),
    ];
    for (reason, role, before, after) in roles {
        let Some(node) = after else { continue };
        let note = match before {
            Some(same) if same == node => continue,
            Some(old) => format!("{node} is the {role}; before, {old} was"),
            None => format!("{node} is the {role}"),
        };
        changes.push(Change { importance: Normal, reason: reason.into(), action: "Elected", note });
    }
}

fn nodes(before: &KvClusterStatus, after: &KvClusterStatus, changes: &mut Vec<Change>) {
    let is_up = |node: &NodeStatus| node.ready && node.role != NodeRole::Gone;
    for node in &after.nodes {
        let was_up = before.nodes.iter().find(|known| known.name == node.name).is_some_and(is_up);
        let name = &node.name;
        let (importance, reason, note) = match (was_up, is_up(node)) {
            (true, false) if node.role == NodeRole::Gone => {
                (Warning, "NodeDown", format!("{name} is no longer registered at ZooKeeper"))
            }
            (true, false) => (Warning, "NodeDown", format!("{name} is no longer ready")),
            (false, true) => (Normal, "NodeUp", format!("{name} is ready")),
            _ => continue,
        };
        changes.push(Change { importance, reason: reason.into(), action: "Observed", note });
    }
}

/// What the change of a condition's status or reason is told as, if it is.
fn of_condition(now: &Condition, before: Option<&Condition>, after: &KvClusterStatus) -> Option<Change> {
    let was = |status| before.is_some_and(|before| before.status == status);
    let change = |importance, reason: &str, action, note: &str| {
        Some(Change { importance, reason: reason.to_owned(), action, note: note.to_owned() })
    };
    let Condition { kind, status, reason, message, .. } = now;
    match (kind, status) {
        (ConditionKind::Available, True) => {
            change(Normal, "Available", "Observed", &format!("all {} shards are served", after.shards.total))
        }
        (ConditionKind::Available, False) if reason != CREATING => change(Warning, reason, "Observed", message),
        // Its steps are in the status.
        (ConditionKind::Progressing, True) if !was(True) => change(Normal, reason, "Reconciling", message),
        (ConditionKind::Progressing, False) if reason == AS_WISHED => {
            let note = format!("everything is as the resource says: {} nodes are ready", after.ready);
            if was(True) { change(Normal, "ChangeFinished", "Reconciling", &note) } else { None }
        }
        (ConditionKind::Progressing, False) if reason == PAUSED => change(Normal, reason, "Reconciling", message),
        (ConditionKind::Progressing, False) => change(Warning, reason, "Reconciling", message),
        (ConditionKind::Degraded, True) => change(Warning, reason, "Observed", message),
        (ConditionKind::Degraded, False) if was(True) => {
            change(Normal, "Recovered", "Observed", "nothing is missing any more")
        }
        (ConditionKind::ZooKeeperQuorum, False) => change(Warning, reason, "Observed", message),
        (ConditionKind::ZooKeeperQuorum, True) if was(False) => {
            change(Normal, "ZooKeeperQuorumBack", "Observed", "ZooKeeper has a quorum again")
        }
        (ConditionKind::StorageReady, False) if reason != VOLUMES_PENDING => {
            change(Warning, reason, "Observed", message)
        }
        (ConditionKind::StorageReady, True) if was(False) => {
            change(Normal, "VolumesBound", "Observed", "all volumes are as the resource says")
        }
        _ => None,
    }
}
