//! Whether a node may be stopped, by what the nodes say.

use std::collections::BTreeMap;

use crate::{nodes::ClusterReport, reconcile::world::PodState};

/// Whether one node, whichever, may be stopped: all that there are serve and answer, and every shard is fully replicated.
#[must_use]
pub fn may_stop_one(report: &ClusterReport, pods: &BTreeMap<u32, PodState>) -> bool {
    let well = |pod: &PodState| {
        let node = report.nodes.get(&pod.name);
        pod.ready && !pod.deleting && node.is_some_and(|node| node.registered && node.ready)
    };
    report.fully_replicated() && pods.values().all(well)
}

/// Whether every shard keeps an up-to-date copy if this node stops. If nobody answers, nothing is served that could be lost by it:
/// the volumes stay.
#[must_use]
pub fn leaves_copies(report: Option<&ClusterReport>, node: &str) -> bool {
    report.is_none_or(|report| {
        let kept = |in_sync: &std::collections::BTreeSet<String>| {
            !in_sync.contains(node) || in_sync.iter().any(|other| other != node)
        };
        report.shards.values().all(|shard| kept(&shard.in_sync))
    })
}
