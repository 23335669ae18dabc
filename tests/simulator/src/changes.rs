//! ZooKeeper as a node meets it: late, forgetful, stale, away.

use kv_replication::core::{ChangeOutcome, Input};
use kv_types::{Epoch, ShardConfig, ShardId};

use crate::{
    coverage::Situation,
    event::{ChangeRequest, Event, NodeEvent, node_of},
    world::{World, note},
};

impl World {
    pub(crate) fn is_connected(&self, node: usize) -> bool {
        self.now >= self.zookeeper.down_until && !self.network.is_zookeeper_cut(node, self.now)
    }

    pub(crate) fn send_change(
        &mut self,
        node: usize,
        shard: ShardId,
        expected: Epoch,
        new: ShardConfig,
        split: Option<(ShardId, ShardConfig)>,
    ) {
        let life = self.nodes[node].life;
        let given_up_at = self.now + self.rng.between(40_000, 200_000);
        let connected = self.is_connected(node);
        let late = !connected || self.rng.chance(self.plan.late_change_permille);
        let arrives_at = self.now + if late { self.rng.skewed(1_000, 900_000) } else { self.rng.between(200, 4_000) };
        let never = !connected && self.rng.chance(500);
        let answered =
            connected && arrives_at + 2_000 < given_up_at && !self.rng.chance(self.plan.lost_answer_permille);
        if !answered {
            self.answer_change(node, life, shard, expected, given_up_at, ChangeOutcome::Unknown);
        }
        self.count_in_flight(node, shard, expected, &new);
        if !never {
            let id = self.in_flight.begin(node, shard, expected, new.clone());
            let request =
                ChangeRequest { id, node, life, shard, expected, new: new.clone(), split, given_up_at, answered };
            self.queue.push(arrives_at, Event::Change(Box::new(request)));
        }
        self.change_is_sent(node, shard, &new);
    }

    fn answer_change(
        &mut self,
        node: usize,
        life: u64,
        shard: ShardId,
        expected: Epoch,
        at: u64,
        outcome: ChangeOutcome,
    ) {
        let what = NodeEvent::Input(shard, Box::new(Input::Changed { expected, outcome }));
        self.queue.push(at.max(self.now), Event::Node { node, life: Some(life), what });
    }

    /// A request to change a shard reaches ZooKeeper's leader.
    pub(crate) fn change(&mut self, request: ChangeRequest) {
        let ChangeRequest { id, node, life, shard, expected, new, split, given_up_at, answered } = request;
        let reachable = self.is_connected(node);
        if self.now < self.zookeeper.down_until {
            // Whatever the client's library still holds may be sent when ZooKeeper is back.
            if answered {
                self.answer_change(node, life, shard, expected, given_up_at, ChangeOutcome::Unknown);
            }
            if self.rng.chance(500) {
                let at = self.zookeeper.down_until + self.rng.skewed(100, 300_000);
                let request =
                    ChangeRequest { id, node, life, shard, expected, new, split, given_up_at, answered: false };
                self.queue.push(at, Event::Change(Box::new(request)));
            } else {
                self.in_flight.end(id);
            }
            return;
        }
        let overtaken = self.in_flight.end(id);
        let old = self.zookeeper.config(shard).cloned();
        let child = split.as_ref().map(|(child, _)| *child);
        let won = self.zookeeper.compare_and_set(shard, expected, new.clone(), split);
        if let (true, Some(old)) = (won, old) {
            note!(self, "ZooKeeper: shard {shard} is {new:?}, as node {node} asked");
            self.count_change(node, &old, &new);
            if child.is_some() {
                self.coverage.count(Situation::Split);
            }
            if overtaken {
                self.coverage.count(Situation::EarlierOfTwoApplied);
            }
            if self.now >= given_up_at {
                self.coverage.count(Situation::UnknownAppliedLate);
            } else if !answered {
                self.coverage.count(Situation::AnswerLost);
            }
            self.announce(shard);
            if let Some(child) = child {
                self.announce(child);
            }
        }
        if answered {
            let (at, outcome) = match self.zookeeper.config(shard).cloned() {
                Some(_) if !reachable => (given_up_at, ChangeOutcome::Unknown),
                Some(config) if won => (self.now + self.rng.between(100, 1_900), ChangeOutcome::Won(config)),
                Some(config) => (self.now + self.rng.between(100, 1_900), ChangeOutcome::Lost(config)),
                None => (given_up_at, ChangeOutcome::Unknown),
            };
            self.answer_change(node, life, shard, expected, at, outcome);
        }
    }

    fn count_change(&mut self, node: usize, old: &ShardConfig, new: &ShardConfig) {
        let situation = if old.primary != new.primary {
            if self.zookeeper.placement.values().any(|placement| placement.home_volume() == Some(new.primary)) {
                self.coverage.count(Situation::WentHome);
            }
            if node_of(old.primary) == node { Situation::HandoverDone } else { Situation::Takeover }
        } else if new.isr.len() > old.isr.len() {
            Situation::Join
        } else if new.isr.len() < old.isr.len() {
            Situation::Shrink
        } else if self.nodes[node].replicas.values().any(crate::node::Replica::leads) {
            Situation::Refresh
        } else {
            Situation::OwnEpochBumped
        };
        self.coverage.count(situation);
    }

    /// Watches fire, each in its own time; one that a node can't get is lost.
    pub(crate) fn announce(&mut self, shard: ShardId) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].up {
                let delay =
                    if self.rng.chance(100) { self.rng.skewed(1_000, 300_000) } else { self.rng.between(200, 5_000) };
                self.to_node(delay, node, NodeEvent::Watch(shard));
            }
        }
    }

    pub(crate) fn ask_config(&mut self, node: usize, shard: ShardId) {
        if !self.is_connected(node) {
            return;
        }
        let delay = if self.rng.chance(50) { self.rng.skewed(500, 300_000) } else { self.rng.between(200, 3_000) };
        let life = self.nodes[node].life;
        self.queue.push(self.now + delay, Event::Lookup { node, life, shard });
    }

    /// The moment at which a read sees a configuration; the answer takes its time again.
    pub(crate) fn look_up(&mut self, node: usize, life: u64, shard: ShardId) {
        if !self.is_connected(node) {
            return;
        }
        let Some(config) = self.zookeeper.config(shard).cloned() else { return };
        let delay = if self.rng.chance(50) { self.rng.skewed(500, 300_000) } else { self.rng.between(200, 3_000) };
        let what = NodeEvent::Input(shard, Box::new(Input::Config { config, quorum: true }));
        self.queue.push(self.now + delay, Event::Node { node, life: Some(life), what });
    }

    /// The master keeps the placement to volumes that exist.
    pub(crate) fn master(&mut self) {
        let volumes: Vec<_> = self.nodes.iter().map(|node| node.volume).collect();
        for placement in self.zookeeper.placement.values_mut() {
            for volume in &mut placement.replicas {
                *volume = volumes[node_of(*volume)];
            }
        }
        let delay = self.rng.between(30_000, 120_000);
        self.queue.push(self.now + delay, Event::Master);
    }
}
