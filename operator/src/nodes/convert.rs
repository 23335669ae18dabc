use std::time::Instant;

use kv_client::description::{ClusterDescription, NodeDescription, ShardDescription};

use super::{ClusterReport, NodeReport, ShardReport};

/// The role of a node on which shards are placed and which is not registered.
const GONE: &str = "gone";

impl ClusterReport {
    /// From a description that arrived at `at`.
    #[must_use]
    pub(super) fn new(description: ClusterDescription, at: Instant) -> Self {
        let ClusterDescription {
            cluster,
            name: _,
            zookeeper_connected,
            master,
            sub_master,
            nodes,
            shards,
            answered_by,
        } = description;
        let mut report = Self {
            at,
            cluster,
            answered_by,
            zookeeper_connected,
            master: some(master),
            sub_master: some(sub_master),
            nodes: nodes.into_iter().map(node).collect(),
            shards: shards.iter().map(|description| (description.shard, shard(description))).collect(),
        };
        for replica in shards.iter().flat_map(|shard| &shard.replicas) {
            if let Some(node) = report.nodes.get_mut(&replica.node)
                && replica.placed
                && replica.in_sync
            {
                node.copies_in_sync += 1;
            }
        }
        report.count_served();
        report
    }

    /// Fills in how many shards each node serves.
    pub(super) fn count_served(&mut self) {
        for (name, node) in &mut self.nodes {
            let served = self.shards.values().filter(|shard| shard.available && shard.primary == *name);
            node.shards_served = u32::try_from(served.count()).unwrap_or(u32::MAX);
        }
    }
}

/// Without what is counted from the shards: a node that did not answer does not count itself.
fn node(description: NodeDescription) -> (String, NodeReport) {
    let NodeDescription { node, role, version, draining, ready, detail, copies_placed, lag, answered, .. } =
        description;
    let report = NodeReport {
        registered: role != GONE,
        answered,
        ready,
        detail,
        draining,
        shards_served: 0,
        copies_in_sync: 0,
        copies_placed,
        lag,
        version,
    };
    (node, report)
}

fn shard(description: &ShardDescription) -> ShardReport {
    // A volume of no known node has no name.
    let replicas = || description.replicas.iter().filter(|replica| !replica.node.is_empty());
    ShardReport {
        available: description.available,
        fully_replicated: description.fully_replicated,
        home: description.home.clone(),
        primary: description.primary.clone(),
        holders: replicas()
            .filter(|replica| replica.placed || replica.in_sync)
            .map(|replica| replica.node.clone())
            .collect(),
        in_sync: replicas().filter(|replica| replica.in_sync).map(|replica| replica.node.clone()).collect(),
    }
}

fn some(name: String) -> Option<String> {
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use kv_client::description::ReplicaDescription;

    use super::*;

    fn replica(node: &str, placed: bool, in_sync: bool) -> ReplicaDescription {
        ReplicaDescription { node: node.into(), placed, in_sync, ..ReplicaDescription::default() }
    }

    #[test]
    fn copies_are_counted_by_what_zookeeper_holds_even_for_a_node_that_did_not_answer() {
        let node = |name: &str, role: &str, answered| NodeDescription {
            node: name.into(),
            role: role.into(),
            answered,
            copies_placed: 1,
            // Of copies that are about to leave too, as the node counts.
            copies_in_sync: 7,
            ..NodeDescription::default()
        };
        let shard = ShardDescription {
            shard: 3,
            available: true,
            home: "a".into(),
            primary: "a".into(),
            replicas: vec![replica("a", true, true), replica("b", true, false), replica("", true, true)],
            ..ShardDescription::default()
        };
        let leaving =
            ShardDescription { shard: 4, replicas: vec![replica("a", false, true)], ..ShardDescription::default() };
        let description = ClusterDescription {
            nodes: vec![node("a", "slave", false), node("b", "gone", false)],
            shards: vec![shard, leaving],
            ..ClusterDescription::default()
        };
        let report = ClusterReport::new(description, Instant::now());
        let (a, b) = (&report.nodes["a"], &report.nodes["b"]);
        assert!(a.registered && !b.registered);
        assert_eq!((a.shards_served, a.copies_in_sync, b.copies_in_sync), (1, 1, 0));
        assert!(report.shards[&3].holders.iter().eq(["a", "b"]) && report.shards[&3].in_sync.iter().eq(["a"]));
        assert_eq!((report.held_by("a"), report.master), (2, None));
    }
}
