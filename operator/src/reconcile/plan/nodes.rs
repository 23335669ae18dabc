//! The next safe step of the KV nodes: how many there are, and which pod is made anew.

use super::{
    super::{
        decision::{Action, Decisions, Finding},
        names::Component,
        validated::ValidatedCluster,
        world::{PodState, World},
    },
    disruption,
};
use crate::nodes::ClusterReport;

/// Decides on the nodes. `announced`: ZooKeeper has been made, so that nodes may be. Returns whether they are settled: all there,
/// ready, of the newest revision.
pub(super) fn plan(cluster: &ValidatedCluster, world: &World, announced: bool, decisions: &mut Decisions) -> bool {
    if !announced && world.node_set.is_none() && world.node_pods.is_empty() {
        let message = "the nodes are made once ZooKeeper serves".into();
        decisions.progress.push(Finding { reason: "WaitingForZooKeeper", message });
        return false;
    }
    let replicas = scale(cluster, world, decisions);
    decisions.node_replicas = Some(replicas);
    undo_drains(cluster, world, decisions);
    let scaling = replicas != cluster.nodes.count;
    let rolled = roll_out(cluster, world, replicas, scaling, decisions);
    !scaling && rolled
}

/// How many pods there are to be now, on the way to what is wished for.
fn scale(cluster: &ValidatedCluster, world: &World, decisions: &mut Decisions) -> u32 {
    let wish = cluster.nodes.count;
    let highest = world.node_pods.keys().next_back().map(|ordinal| ordinal + 1);
    // Without its StatefulSet (it is being recreated) the pods say how many there were.
    let Some(current) = world.node_set.as_ref().map(|set| set.replicas).or(highest) else { return wish };
    if wish >= current {
        return wish;
    }
    // Copies that exist are never fewer for want of nodes.
    let floor = cluster.nodes.copies.min(current);
    if wish < floor {
        let message = format!(
            "spec.nodes is {wish}, but each shard has {} copies, which need as many nodes: write at least {floor}",
            cluster.nodes.copies
        );
        decisions.hindrances.push(Finding { reason: "TooFewNodesForCopies", message });
    }
    let target = wish.max(floor);
    if target == current {
        return current;
    }
    drain(cluster, world, target, current, decisions)
}

/// Has the nodes moved off that are to go, and counts those that still hold something.
fn drain(cluster: &ValidatedCluster, world: &World, target: u32, current: u32, decisions: &mut Decisions) -> u32 {
    let Some(report) = world.report.as_ref().filter(|report| report.zookeeper_connected) else {
        let message = format!("{} nodes are to go, and no node says what they hold", current - target);
        decisions.hindrances.push(Finding { reason: "NodesSilent", message });
        return current;
    };
    let name = |ordinal| cluster.names.pod(Component::Node, ordinal);
    for node in (target..current).map(name) {
        let asked = report.nodes.get(&node).is_some_and(|node| node.draining);
        let holds = report.held_by(&node);
        if !asked && (holds > 0 || report.nodes.get(&node).is_some_and(|node| node.registered)) {
            decisions.actions.push(Action::Drain { node: node.clone(), undo: false });
        }
        if holds > 0 {
            let message = format!("{node} is being taken away: it still holds copies of {holds} shards");
            decisions.progress.push(Finding { reason: "ScalingIn", message });
        }
    }
    // A node may go once it has been told to take nothing new and holds nothing. Only the highest can: a StatefulSet shrinks from
    // its end.
    let free = |ordinal: &u32| {
        let node = name(*ordinal);
        let closed = report.nodes.get(&node).is_none_or(|node| node.draining || !node.registered);
        closed && report.held_by(&node) == 0
    };
    let gone = (target..current).rev().take_while(free).count();
    current - u32::try_from(gone).unwrap_or(0)
}

/// Nodes that are to stay hold shards: a drain that was asked for when they were to go, or by hand, is taken back.
fn undo_drains(cluster: &ValidatedCluster, world: &World, decisions: &mut Decisions) {
    let Some(report) = &world.report else { return };
    for ordinal in 0..cluster.nodes.count {
        let node = cluster.names.pod(Component::Node, ordinal);
        let draining = report.nodes.get(&node).is_some_and(|node| node.draining && node.registered);
        if draining {
            decisions.actions.push(Action::Drain { node, undo: true });
        }
    }
}

/// Picks the next pod that is made anew, if one may be. Returns whether all pods are there, ready and of the newest revision.
fn roll_out(
    cluster: &ValidatedCluster,
    world: &World,
    replicas: u32,
    scaling: bool,
    decisions: &mut Decisions,
) -> bool {
    let Some(set) = world.node_set.as_ref().filter(|set| set.observed) else { return false };
    let mut settled = true;
    let mut wait = |reason, message: String| {
        settled = false;
        decisions.progress.push(Finding { reason, message });
    };
    let mut outdated = Vec::new();
    for ordinal in 0..replicas {
        let name = cluster.names.pod(Component::Node, ordinal);
        match world.node_pods.get(&ordinal) {
            None => wait("PodMissing", format!("{name} is being made")),
            Some(pod) if pod.deleting => wait("PodEnding", format!("{name} is ending")),
            Some(pod) => {
                let is_outdated = pod.revision != set.update_revision || must_restart(world, cluster, ordinal);
                if is_outdated {
                    outdated.push(pod);
                } else if !pod.ready {
                    wait("PodUnready", unready(pod));
                }
            }
        }
    }
    for pod in world.node_pods.range(replicas..).map(|(_, pod)| pod) {
        wait("PodEnding", format!("{} is taken away", pod.name));
    }
    let quiet = settled;
    if let Some(pod) = outdated.iter().find(|pod| !pod.ready) {
        // It is of an older revision and not ready: the newer one may be what mends it, so it is not waited for.
        replace_unready(world, pod, decisions);
        return false;
    }
    if outdated.is_empty() {
        return quiet;
    }
    let message = format!("{} of {replicas} nodes are to be made anew with the current revision", outdated.len());
    decisions.progress.push(Finding { reason: "RollingOut", message });
    if quiet && !scaling {
        replace_ready(world, &outdated, decisions);
    }
    false
}

fn replace_unready(world: &World, pod: &PodState, decisions: &mut Decisions) {
    if disruption::leaves_copies(world.report.as_ref(), &pod.name) {
        let why = format!("it is not ready, and of an older revision: {}", unready(pod));
        decisions.actions.push(delete(pod, why, false));
    } else {
        let message =
            format!("{}; it is the only one with an up-to-date copy of a shard, so it is waited for", unready(pod));
        decisions.progress.push(Finding { reason: "PodUnready", message });
    }
}

fn replace_ready(world: &World, outdated: &[&PodState], decisions: &mut Decisions) {
    let Some(report) = world.report.as_ref() else {
        let message = "no node answers, so none is restarted".into();
        decisions.hindrances.push(Finding { reason: "NodesSilent", message });
        return;
    };
    if !disruption::may_stop_one(report, &world.node_pods) {
        let message = "the next node is restarted once every shard is fully replicated".into();
        decisions.progress.push(Finding { reason: "WaitingForReplication", message });
        return;
    }
    let last = outdated.iter().rev().min_by_key(|pod| rank(report, &pod.name));
    if let Some(pod) = last {
        let why = "it is of an older revision".into();
        decisions.actions.push(delete(pod, why, true));
    }
}

/// Slaves first, the master last: its role moves once.
fn rank(report: &ClusterReport, node: &str) -> u8 {
    if report.master.as_deref() == Some(node) { 2 } else { u8::from(report.sub_master.as_deref() == Some(node)) }
}

fn delete(pod: &PodState, why: String, only_if_replicated: bool) -> Action {
    let (pod, uid) = (pod.name.clone(), pod.uid.clone());
    Action::DeletePod { component: Component::Node, pod, uid, why, only_if_replicated }
}

/// Whether a volume of the pod has grown and its file system grows only at the next start.
fn must_restart(world: &World, cluster: &ValidatedCluster, ordinal: u32) -> bool {
    let templates = [super::super::names::DATA, super::super::names::BKPDATA];
    templates
        .into_iter()
        .filter_map(|template| world.claims.get(&cluster.names.claim(template, Component::Node, ordinal)))
        .any(|claim| claim.resize_needs_restart)
}

fn unready(pod: &PodState) -> String {
    match &pod.trouble {
        Some(trouble) => format!("{} does not run: {}: {}", pod.name, trouble.reason, trouble.message),
        None => format!("{} is not ready yet", pod.name),
    }
}
