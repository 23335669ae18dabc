//! Tables and logs beyond the core's own entries: persisting, snapshots, the copies of a split.

use kv_replication::core::{Input, Rule};
use kv_types::{Epoch, ShardId};

use crate::{
    coverage::Situation,
    event::{Event, NodeEvent, Snapshot},
    node::Replica,
    steer::Steer,
    table::Table,
    world::{World, note},
};

impl World {
    /// Tables reach the disk, and the log in front of them goes.
    pub(crate) fn persist(&mut self, node: usize) {
        let apart = self.is_broken_here(Rule::SessionsInBatch);
        for replica in self.nodes[node].replicas.values_mut() {
            // Where the duplicate table is not in the batch, the disk has that of the last time.
            let table =
                if apart { replica.table.with_sessions_of(replica.disk.table()) } else { replica.table.clone() };
            replica.disk.persist(table);
            if self.plan.trims && self.rng.chance(500) {
                let needed = replica.core.as_ref().and_then(|core| core.needed_from());
                let keeps = self.rng.chance(700);
                self.coverage.count(Situation::Trimmed);
                replica.disk.trim(match needed {
                    Some(needed) if keeps => needed,
                    _ => kv_types::Seq(u64::MAX),
                });
            }
        }
    }

    pub(crate) fn ask_snapshot(&mut self, node: usize, shard: ShardId, of: usize, epoch: Epoch) {
        let life = self.nodes[node].life;
        let Some(replica) = self.nodes[node].replicas.get_mut(&shard) else { return };
        replica.snapshot_ask += 1;
        replica.awaits_snapshot = true;
        replica.started_over = false;
        replica.snapshot_of = of;
        let ask = replica.snapshot_ask;
        let lost = self.network.is_cut(node, of, self.now) || self.rng.chance(self.plan.lost_permille);
        let longest = self.plan.snapshot_patience;
        let patience = if lost { self.rng.between(1_000, longest) } else { longest };
        self.to_node(patience, node, NodeEvent::SnapshotMissed { shard, epoch, ask });
        if !lost && self.nodes[of].up {
            let delay = self.rng.between(100, 3_000);
            self.to_node(delay, of, NodeEvent::SnapshotAsked { shard, by: node, life, epoch, ask });
            self.snapshot_is_asked(node, of);
        }
    }

    pub(crate) fn give_snapshot(&mut self, node: usize, shard: ShardId, by: usize, life: u64, epoch: Epoch, ask: u64) {
        let Some(replica) = self.nodes[node].replicas.get(&shard).filter(|replica| replica.leads()) else { return };
        let Some(core) = &replica.core else { return };
        if self.network.is_cut(node, by, self.now) {
            return;
        }
        let snapshot = Box::new(Snapshot { table: replica.table.clone(), history: core.applied_history() });
        let what = NodeEvent::SnapshotArrived { shard, epoch, ask, snapshot };
        let patience = self.plan.snapshot_patience;
        let late = self.plan.steer == Some(Steer::Force) && self.rng.chance(500);
        let delay = if late { self.rng.between(patience / 2, patience) } else { self.rng.skewed(200, patience) };
        self.queue.push(self.now + delay, Event::Node { node: by, life: Some(life), what });
    }

    pub(crate) fn take_snapshot(&mut self, node: usize, shard: ShardId, epoch: Epoch, ask: u64, snapshot: Snapshot) {
        if !self.awaits_snapshot(node, shard, ask) {
            return;
        }
        let Snapshot { table, history } = snapshot;
        let base = table.applied_id();
        let Some(replica) = self.nodes[node].replicas.get_mut(&shard) else { return };
        if replica.started_over {
            // Its rows are gone with the table that they were put into. Whether the driver sees that in time is chance.
            let input = if self.rng.chance(500) {
                Input::SnapshotFailed { epoch }
            } else {
                Input::SnapshotInstalled { epoch, base, history }
            };
            self.coverage.count(Situation::SnapshotOutdated);
            self.feed(node, shard, input);
            return;
        }
        replica.table = table;
        self.coverage.count(Situation::SnapshotInstalled);
        self.feed(node, shard, Input::SnapshotInstalled { epoch, base, history });
    }

    /// Whether the replica still waits for this very snapshot; it does not any more then.
    pub(crate) fn awaits_snapshot(&mut self, node: usize, shard: ShardId, ask: u64) -> bool {
        let Some(replica) = self.nodes[node].replicas.get_mut(&shard) else { return false };
        replica.snapshot_ask == ask && std::mem::take(&mut replica.awaits_snapshot)
    }

    /// A copy of the child begins where the parent's log has the split; it is led by whom ZooKeeper says, later.
    pub(crate) fn make_child(&mut self, node: usize, parent: ShardId, child: ShardId, table: Table) {
        note!(self, "node {node} makes shard {child} from {parent}");
        let Some(replica) = self.nodes[node].replicas.get(&parent) else { return };
        let Some(core) = &replica.core else { return };
        let mut history = core.applied_history();
        history.truncate(table.applied());
        let disk = replica.disk.of_child(child, table, history);
        if self.nodes[node].replicas.contains_key(&child) {
            return;
        }
        self.nodes[node].replicas.insert(child, Replica::new(disk));
        self.open(node, child);
    }
}
