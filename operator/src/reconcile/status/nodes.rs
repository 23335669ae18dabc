use std::collections::BTreeMap;

use super::seen::{Seen, is_ready};
use crate::{
    api::{NodeRole, NodeStatus, ShardsStatus},
    nodes::{ClusterReport, NodeReport},
    reconcile::{names::Component, world::PodState},
};

/// Nodes that a status lists, at most: those with pods, and some that have gone.
const MAX_LISTED: usize = 128;

pub(super) fn masters(seen: &Seen<'_>) -> (Option<String>, Option<String>) {
    match seen.report() {
        Some(report) => (report.master.clone(), report.sub_master.clone()),
        None if seen.is_silent() => (seen.previous.master.clone(), seen.previous.sub_master.clone()),
        None => (None, None),
    }
}

/// Those that are wished for, those that have pods, and those that still hold something, by ordinal.
pub(super) fn nodes(seen: &Seen<'_>) -> Vec<NodeStatus> {
    let pods = &seen.world.node_pods;
    let name = |ordinal: u32| seen.names.pod(Component::Node, ordinal);
    let mut listed: BTreeMap<(u32, String), Option<&PodState>> = BTreeMap::new();
    for ordinal in (0..seen.nodes).chain(pods.keys().copied()) {
        listed.insert((ordinal, name(ordinal)), pods.get(&ordinal));
    }
    for (name, node) in seen.report().iter().flat_map(|report| &report.nodes) {
        let ordinal = seen.names.ordinal(Component::Node, name).unwrap_or(u32::MAX);
        // A node that was taken away is known to ZooKeeper for ever.
        if node.registered || node.copies_placed > 0 {
            listed.entry((ordinal, name.clone())).or_insert(None);
        }
    }
    listed.into_iter().take(MAX_LISTED).map(|((_, name), pod)| node(seen, name, pod)).collect()
}

pub(super) fn shards(seen: &Seen<'_>) -> ShardsStatus {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let of = |total: u32, available: u32, fully_replicated: u32| ShardsStatus {
        summary: format!("{available}/{total}"),
        total,
        available,
        fully_replicated,
    };
    match seen.report() {
        Some(ClusterReport { shards, .. }) => {
            let available = shards.values().filter(|shard| shard.available).count();
            let replicated = shards.values().filter(|shard| shard.available && shard.fully_replicated).count();
            of(count(shards.len()), count(available), count(replicated))
        }
        None if seen.is_silent() => seen.previous.shards.clone(),
        None => of(seen.previous.shards.total, 0, 0),
    }
}

fn node(seen: &Seen<'_>, name: String, pod: Option<&PodState>) -> NodeStatus {
    let ready = pod.is_some_and(is_ready);
    let revision = pod.map(|pod| pod.revision.clone()).unwrap_or_default();
    let unknown = || NodeStatus {
        name: name.clone(),
        ready,
        revision: revision.clone(),
        lag: "Unknown".into(),
        ..NodeStatus::default()
    };
    let Some(report) = seen.report() else {
        let known = seen.previous.nodes.iter().find(|known| known.name == name).filter(|_| seen.is_silent());
        return known.map_or_else(unknown, |known| NodeStatus { ready, revision: revision.clone(), ..known.clone() });
    };
    let Some(node) = report.nodes.get(&name) else { return unknown() };
    NodeStatus {
        role: role(report, &name, node),
        ready,
        shards_served: node.shards_served,
        copies_in_sync: format!("{}/{}", node.copies_in_sync, node.copies_placed),
        lag: lag(node).into(),
        revision,
        version: node.version.clone(),
        draining: node.draining,
        name,
    }
}

fn role(report: &ClusterReport, name: &str, node: &NodeReport) -> NodeRole {
    if !node.registered {
        NodeRole::Gone
    } else if report.master.as_deref() == Some(name) {
        NodeRole::Master
    } else if report.sub_master.as_deref() == Some(name) {
        NodeRole::SubMaster
    } else {
        NodeRole::Slave
    }
}

fn lag(node: &NodeReport) -> &'static str {
    match (node.registered && node.answered, node.is_behind()) {
        (false, _) => "Unknown",
        (true, true) => "Behind",
        (true, false) => "InSync",
    }
}
