use std::collections::BTreeSet;

use super::seen::{Seen, Verdict, some_of};
use crate::{
    api::{
        ConditionKind,
        ConditionStatus::{False, True, Unknown},
    },
    reconcile::{
        decision::Finding,
        names::{BKPDATA, Component, DATA},
        validated::ValidatedZooKeeper,
    },
};

/// Of Available: no shard has been served yet.
pub(in crate::reconcile) const CREATING: &str = "Creating";
/// Of Progressing: nothing is left to do.
pub(in crate::reconcile) const AS_WISHED: &str = "AsWished";
/// Of Progressing: a person has told the operator to change nothing.
pub(in crate::reconcile) const PAUSED: &str = "Paused";
/// Of StorageReady: volumes are about to be there.
pub(in crate::reconcile) const VOLUMES_PENDING: &str = "VolumesPending";
/// A volume's growth: not yet as wished for, and nothing is wrong with it.
const RESIZING: &str = "Resizing";

/// All but Degraded, which is made from them.
pub(super) fn conditions(seen: &Seen<'_>) -> Vec<(ConditionKind, Verdict)> {
    vec![
        (ConditionKind::Available, available(seen)),
        (ConditionKind::Progressing, progressing(seen)),
        (ConditionKind::ZooKeeperQuorum, quorum(seen)),
        (ConditionKind::StorageReady, storage(seen)),
    ]
}

/// Whether something is wrong with volumes that does not pass by itself.
pub(super) fn is_storage_fault(verdict: &Verdict) -> bool {
    verdict.status == False && ![VOLUMES_PENDING, RESIZING].contains(&verdict.reason.as_str())
}

/// Whether all shards have been served at some time.
pub(super) fn was_served(seen: &Seen<'_>) -> bool {
    seen.before(ConditionKind::Available).is_some_and(|before| before.status == True || before.reason != CREATING)
}

fn available(seen: &Seen<'_>) -> Verdict {
    let reason = |later| if was_served(seen) { later } else { CREATING };
    let Some(report) = seen.report() else {
        let ready: Vec<_> = seen.ready(Component::Node).collect();
        if ready.is_empty() {
            let message = "no node is ready";
            return Verdict::new(False, reason("NoNodeReady"), message);
        }
        let message = format!("no node has answered the operator lately, though {} ready", are(&ready));
        return Verdict::new(Unknown, reason("NodesSilent"), message);
    };
    let unserved: Vec<_> = report.shards.iter().filter(|(_, shard)| !shard.available).collect();
    if report.shards.is_empty() {
        return Verdict::new(False, reason("NoShards"), "the nodes have not made the first shards yet");
    }
    if unserved.is_empty() {
        return Verdict::new(True, "AllShardsServed", "");
    }
    let named: Vec<_> = unserved
        .iter()
        .map(|(id, shard)| match [&shard.primary, &shard.home].into_iter().find(|node| !node.is_empty()) {
            Some(node) => format!("{id} of {node}"),
            None => id.to_string(),
        })
        .collect();
    let (count, all) = (unserved.len(), report.shards.len());
    let message = format!("{count} of {all} shards are not served: {}", some_of(&named, ", "));
    Verdict::new(False, reason("ShardsNotServed"), message)
}

fn progressing(seen: &Seen<'_>) -> Verdict {
    if let Err(invalid) = seen.cluster {
        return Verdict::new(False, invalid.reason, &invalid.message);
    }
    let hindered = Verdict::of(False, &seen.decisions.hindrances);
    let progress = Verdict::of(True, &seen.decisions.progress);
    if seen.paused {
        let waits = hindered.or(progress).map(|waits| format!(", and this waits: {}", waits.message));
        let message = format!("spec.paused is true: the operator changes nothing{}", waits.unwrap_or_default());
        return Verdict::new(False, PAUSED, message);
    }
    hindered.or(progress).unwrap_or_else(|| Verdict::new(False, AS_WISHED, ""))
}

fn quorum(seen: &Seen<'_>) -> Verdict {
    if let Some(Finding { reason, message }) = &seen.decisions.quorum {
        return Verdict::new(False, reason, message);
    }
    let connected = seen.report().map(|report| report.zookeeper_connected);
    let Some(members) = seen.members else {
        let connect = match seen.cluster.map(|cluster| &cluster.zookeeper) {
            Ok(ValidatedZooKeeper::External { connect, .. }) => connect.as_str(),
            _ => "its address",
        };
        return match connected {
            Some(true) => Verdict::new(True, "NodesConnected", ""),
            Some(false) => {
                Verdict::new(False, "NodesNotConnected", format!("the nodes do not reach ZooKeeper at {connect}"))
            }
            None => {
                Verdict::new(Unknown, "NodesSilent", format!("no node says whether it reaches ZooKeeper at {connect}"))
            }
        };
    };
    if !seen.is_bootstrapped() {
        return Verdict::new(Unknown, "Bootstrapping", "the ensemble has not been made yet");
    }
    let ready = seen.ready(Component::ZooKeeper).count();
    if ready * 2 > members as usize {
        return Verdict::new(True, "MembersServe", "");
    }
    if connected == Some(true) {
        return Verdict::new(True, "NodesConnected", "");
    }
    let lacking: Vec<_> = seen.pods(Component::ZooKeeper).map(|(name, _)| name).collect();
    let ready: BTreeSet<_> = seen.ready(Component::ZooKeeper).collect();
    let lacking: Vec<_> = lacking.into_iter().filter(|name| !ready.contains(name)).collect();
    let message = format!("{} of {members} members serve: {} not", ready.len(), are(&lacking));
    Verdict::new(False, "TooFewMembers", message)
}

fn storage(seen: &Seen<'_>) -> Verdict {
    if let Some(verdict) = Verdict::of(False, &seen.decisions.storage) {
        return verdict;
    }
    let templates = [(Component::Node, DATA), (Component::Node, BKPDATA), (Component::ZooKeeper, DATA)];
    let wished = templates.into_iter().flat_map(|(component, template)| {
        (0..seen.wished(component)).map(move |ordinal| seen.names.claim(template, component, ordinal))
    });
    let mut pending = Vec::new();
    for name in wished {
        let Some(claim) = seen.world.claims.get(&name) else {
            pending.push(name);
            continue;
        };
        if let Some(trouble) = &claim.trouble {
            return Verdict::new(False, &trouble.reason, format!("claim {name}: {}", trouble.message));
        }
        if claim.deleting {
            let message = format!("claim {name} is being deleted: its data goes with it when its pod ends");
            return Verdict::new(False, "VolumeDeleted", message);
        }
        if !claim.bound {
            pending.push(name);
        }
    }
    if pending.is_empty() {
        return Verdict::new(True, "VolumesBound", "");
    }
    Verdict::new(False, VOLUMES_PENDING, format!("not bound yet: {}", some_of(&pending, ", ")))
}

/// `a is`, or `a, b are`.
pub(super) fn are(names: &[String]) -> String {
    format!("{} {}", some_of(names, ", "), if names.len() == 1 { "is" } else { "are" })
}
