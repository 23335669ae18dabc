//! Changes of configurations that may still be applied, and what happens to nodes meanwhile.

use kv_types::{Epoch, ShardConfig, ShardId};

use crate::{coverage::Situation, event::node_of, world::World};

/// Requests to change a shard that ZooKeeper has not judged yet.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    last: u64,
    changes: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    id: u64,
    node: usize,
    shard: ShardId,
    expected: Epoch,
    new: ShardConfig,
    /// Another one was sent after it.
    overtaken: bool,
}

impl InFlight {
    pub(crate) fn begin(&mut self, node: usize, shard: ShardId, expected: Epoch, new: ShardConfig) -> u64 {
        self.last += 1;
        self.changes.push(Change { id: self.last, node, shard, expected, new, overtaken: false });
        self.last
    }

    /// The change is judged, or lost. Whether its node has sent another one since.
    pub(crate) fn end(&mut self, id: u64) -> bool {
        let at = self.changes.iter().position(|change| change.id == id);
        at.is_some_and(|at| self.changes.swap_remove(at).overtaken)
    }
}

impl World {
    /// `node` sends a change: another one of the same epoch may still be applied.
    pub(crate) fn count_in_flight(&mut self, node: usize, shard: ShardId, expected: Epoch, new: &ShardConfig) {
        if self.zookeeper.config(shard).is_none_or(|config| config.epoch != expected) {
            return;
        }
        let earlier = self.in_flight.changes.iter_mut().filter(|change| {
            change.node == node && change.shard == shard && change.expected == expected && change.new != *new
        });
        let mut two = false;
        for change in earlier {
            two = true;
            change.overtaken = true;
        }
        if two {
            self.coverage.count(Situation::TwoInFlight);
        }
    }

    /// What a crash of `node` comes into the middle of.
    pub(crate) fn count_crash(&mut self, node: usize) {
        let volume = self.nodes[node].volume;
        let mut found = Vec::new();
        for change in &self.in_flight.changes {
            let Some(old) = self.zookeeper.config(change.shard).filter(|config| config.epoch == change.expected) else {
                continue;
            };
            let new = &change.new;
            let sent = change.node == node;
            if new.isr.iter().any(|member| !old.is_in_sync(*member)) {
                found.extend(sent.then_some(Situation::RestartDuringJoin));
                let joins = new.is_in_sync(volume) && !old.is_in_sync(volume);
                found.extend(joins.then_some(Situation::JoinerCrashed));
            }
            if new.primary != old.primary {
                let handover = change.node == node_of(old.primary);
                found.extend((sent && handover).then_some(Situation::HandoverSourceCrashed));
                found.extend((sent && !handover).then_some(Situation::SuccessorCrashed));
                found.extend((new.primary == volume && handover).then_some(Situation::HandoverTargetCrashed));
            }
        }
        for (shard, replica) in &self.nodes[node].replicas {
            found.extend(replica.barrier_due.map(|_| Situation::SuccessorCrashed));
            found.extend(replica.awaits_snapshot.then_some(Situation::SnapshotTakerCrashed));
            let others = self.nodes.iter().filter_map(|other| other.replicas.get(shard));
            let gives =
                replica.leads() && others.into_iter().any(|other| other.awaits_snapshot && other.snapshot_of == node);
            found.extend(gives.then_some(Situation::SnapshotGiverCrashed));
        }
        for situation in found {
            self.coverage.count(situation);
        }
    }

    /// What the cluster lacks now that `node` is down.
    pub(crate) fn count_down(&mut self, node: usize) {
        if self.nodes.iter().all(|node| !node.up) {
            self.coverage.count(Situation::AllDown);
        }
        let volume = self.nodes[node].volume;
        let of_isr = |config: &&ShardConfig| config.is_in_sync(volume);
        let configs: Vec<_> = self.zookeeper.shards().map(|(_, config)| config).filter(of_isr).cloned().collect();
        for config in configs {
            if config.isr.iter().all(|member| !self.nodes[node_of(*member)].up) {
                self.coverage.count(Situation::AllInSyncDown);
            }
            if self.now < self.zookeeper.down_until && config.isr.len() > 1 {
                self.coverage.count(Situation::LossWithoutZooKeeper);
            }
        }
    }
}
