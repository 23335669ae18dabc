use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{ClusterReport, NodeReport};

/// Entries that a copy lacks from which on it is behind: more than the writes that clients have in flight to a node.
const BEHIND_ENTRIES: u64 = 65_536;
/// A registered node that does not answer the others counts as it did before for so long. They wait 300 ms for its answer,
/// and a busy machine is slower at times; the shards of a node that is really lost are served by others by then.
pub(super) const UNANSWERED_FOR: Duration = Duration::from_secs(2);

/// Since when which nodes have not answered the others.
#[derive(Debug, Default)]
pub(super) struct Unanswered(BTreeMap<String, Instant>);

impl Unanswered {
    /// The report, in which nodes that have not answered for a moment are as they were in the report `before`. True if there
    /// are any.
    pub(super) fn steady(
        &mut self,
        mut report: ClusterReport,
        before: Option<&ClusterReport>,
    ) -> (ClusterReport, bool) {
        let silent = |node: &NodeReport| node.registered && !node.answered;
        self.0.retain(|name, _| report.nodes.get(name).is_some_and(silent));
        let mut kept = false;
        let Some(before) = before.filter(|before| before.cluster == report.cluster) else {
            return (report, kept);
        };
        for (name, node) in report.nodes.iter_mut().filter(|(_, node)| silent(node)) {
            let since = *self.0.entry(name.clone()).or_insert(report.at);
            let known = before.nodes.get(name).filter(|known| known.registered && known.answered);
            let Some(known) = known.filter(|_| report.at.saturating_duration_since(since) < UNANSWERED_FOR) else {
                continue;
            };
            kept = true;
            (node.answered, node.ready, node.lag) = (known.answered, known.ready, known.lag);
            node.detail.clone_from(&known.detail);
            for (id, shard) in report.shards.iter_mut().filter(|(_, shard)| shard.primary == *name) {
                shard.available |= before.shards.get(id).is_some_and(|known| known.available && known.primary == *name);
            }
        }
        report.count_served();
        (report, kept)
    }
}

impl ClusterReport {
    /// Whether the status and plans come out the same with both. What changes all the time under load is left out: how far
    /// copies are behind in entries, who answered, and why in detail a node is not ready.
    #[must_use]
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        // Named one by one, so that a new field has to be judged.
        let Self { at: _, answered_by: _, cluster, zookeeper_connected, master, sub_master, nodes, shards } = self;
        let same_nodes = || {
            let mut pairs = nodes.iter().zip(&other.nodes);
            nodes.len() == other.nodes.len() && pairs.all(|(a, b)| a.0 == b.0 && a.1.says_the_same(b.1))
        };
        *cluster == other.cluster
            && *zookeeper_connected == other.zookeeper_connected
            && *master == other.master
            && *sub_master == other.sub_master
            && same_nodes()
            && *shards == other.shards
    }
}

impl NodeReport {
    /// Whether a copy on it lacks more than what is in flight.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.copies_in_sync < self.copies_placed || self.lag > BEHIND_ENTRIES
    }

    fn says_the_same(&self, other: &Self) -> bool {
        let Self {
            registered,
            answered,
            ready,
            detail: _,
            draining,
            shards_served,
            copies_in_sync,
            copies_placed,
            lag: _,
            version,
        } = self;
        *registered == other.registered
            && *answered == other.answered
            && *ready == other.ready
            && *draining == other.draining
            && *shards_served == other.shards_served
            && *copies_in_sync == other.copies_in_sync
            && *copies_placed == other.copies_placed
            && *version == other.version
            && self.is_behind() == other.is_behind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::ShardReport;

    fn report(at: Instant, answered: bool) -> ClusterReport {
        let node = NodeReport { registered: true, answered, ready: answered, ..NodeReport::default() };
        let shard = ShardReport { available: answered, primary: "a".into(), ..ShardReport::default() };
        let mut report = ClusterReport {
            at,
            cluster: "uuid".into(),
            answered_by: "b".into(),
            zookeeper_connected: true,
            master: Some("a".into()),
            sub_master: None,
            nodes: [("a".to_owned(), node)].into(),
            shards: [(0, shard)].into(),
        };
        report.count_served();
        report
    }

    #[test]
    fn a_node_that_is_slow_once_does_not_look_lost_and_one_that_stays_silent_does() {
        let start = Instant::now();
        let mut unanswered = Unanswered::default();
        let (before, kept) = unanswered.steady(report(start, true), None);
        assert!(!kept);
        let (slow, kept) = unanswered.steady(report(start, false), Some(&before));
        assert!(kept && slow.says_the_same(&before), "{slow:?}");
        let late = start + UNANSWERED_FOR;
        let (lost, kept) = unanswered.steady(report(late, false), Some(&slow));
        assert!(!kept && !lost.shards[&0].available && !lost.nodes["a"].ready, "{lost:?}");
        let (back, _) = unanswered.steady(report(late, true), Some(&lost));
        let (slow, kept) = unanswered.steady(report(late, false), Some(&back));
        assert!(kept && slow.says_the_same(&back), "it is patient anew: {slow:?}");
    }

    #[test]
    fn a_node_that_zookeeper_has_given_up_is_lost_at_once() {
        let start = Instant::now();
        let mut unanswered = Unanswered::default();
        let mut gone = report(start, false);
        if let Some(node) = gone.nodes.get_mut("a") {
            node.registered = false;
        }
        let (gone, kept) = unanswered.steady(gone, Some(&report(start, true)));
        assert!(!kept && !gone.shards[&0].available);
    }

    #[test]
    fn what_changes_under_load_says_nothing_new_and_a_change_of_role_does() {
        let known = report(Instant::now(), true);
        let with = |change: fn(&mut ClusterReport)| {
            let mut changed = known.clone();
            change(&mut changed);
            !changed.says_the_same(&known)
        };
        fn node(report: &mut ClusterReport) -> &mut NodeReport {
            report.nodes.get_mut("a").expect("it is there")
        }
        assert!(!with(|report| report.answered_by = "c".into()));
        assert!(!with(|report| node(report).lag = BEHIND_ENTRIES));
        assert!(with(|report| node(report).lag = BEHIND_ENTRIES + 1));
        assert!(with(|report| report.master = None));
        assert!(with(|report| node(report).draining = true));
        assert!(with(|report| report.shards.clear()));
    }
}
