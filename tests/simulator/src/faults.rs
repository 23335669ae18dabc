//! What goes wrong, and what people do to the cluster meanwhile.

use bytes::Bytes;
use kv_replication::core::{Input, Rule};
use kv_types::{Command, ShardId, Split, VolumeId};

use crate::{
    coverage::Situation,
    event::{Event, node_of},
    plan::{LEASE, Micros, SESSION_TIMEOUT},
    requests::{Open, Waits},
    world::{FIRST_SHARD, World, note},
};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Crash,
    CrashPrimary,
    Flap,
    Pause,
    PausePrimary,
    CutPair,
    CutOneWay,
    Isolate,
    CutZooKeeper,
    ZooKeeperAway,
    PowerLoss,
    LinkLost,
    Handover,
    Move,
    Wipe,
    Corrupt,
    Force,
    Split,
    VolumeBack,
}

pub(crate) const KINDS: [Fault; 19] = [
    Fault::Crash,
    Fault::CrashPrimary,
    Fault::Flap,
    Fault::Pause,
    Fault::PausePrimary,
    Fault::CutPair,
    Fault::CutOneWay,
    Fault::Isolate,
    Fault::CutZooKeeper,
    Fault::ZooKeeperAway,
    Fault::PowerLoss,
    Fault::LinkLost,
    Fault::Handover,
    Fault::Move,
    Fault::Wipe,
    Fault::Corrupt,
    Fault::Force,
    Fault::Split,
    Fault::VolumeBack,
];

impl World {
    pub(crate) fn next_fault(&mut self) {
        if self.ending.healed_at.is_some() {
            return;
        }
        if self.steered_fault() {
            let delay = self.rng.skewed(1_000, 2 * self.plan.fault_every);
            self.queue.push(self.now + delay, Event::Fault);
            return;
        }
        let total: u64 = self.plan.faults.iter().sum();
        let mut dice = self.rng.below(total);
        let kind = self.plan.faults.iter().zip(KINDS).find_map(|(weight, kind)| {
            let hit = dice < *weight;
            dice = dice.wrapping_sub(*weight);
            hit.then_some(kind)
        });
        if let Some(kind) = kind {
            self.strike(kind);
        }
        let delay = self.rng.skewed(1_000, 2 * self.plan.fault_every);
        self.queue.push(self.now + delay, Event::Fault);
    }

    fn strike(&mut self, fault: Fault) {
        let node = self.rng.index(self.nodes.len());
        let other = self.rng.index(self.nodes.len());
        let shard = self.any_shard();
        let primary = self.zookeeper.config(shard).map_or(node, |config| node_of(config.primary));
        let long = self.rng.skewed(1_000, 5 * LEASE);
        let until = self.now + long;
        note!(self, "fault {fault:?}: node {node}, other {other}, primary {primary}, for {long} us");
        match fault {
            Fault::Crash => self.crash(node, long),
            Fault::CrashPrimary => self.crash(primary, long),
            Fault::Flap => {
                let short = self.rng.between(100, 5_000);
                self.crash(primary, short);
            }
            Fault::Pause => self.pause(node),
            Fault::PausePrimary => self.pause(primary),
            Fault::CutPair => {
                self.network.cut(node, other, until);
                self.network.cut(other, node, until);
                self.lose_links(node);
            }
            Fault::CutOneWay => self.network.cut(node, other, until),
            Fault::Isolate => {
                let both = self.rng.chance(500);
                for other in 0..self.nodes.len() {
                    self.network.cut(other, node, until);
                    if both {
                        self.network.cut(node, other, until);
                    }
                }
                if self.rng.chance(300) {
                    self.network.cut_zookeeper(node, until);
                }
            }
            Fault::CutZooKeeper => self.network.cut_zookeeper(node, until),
            Fault::ZooKeeperAway => {
                self.coverage.count(Situation::ZooKeeperAway);
                self.zookeeper.down_until = until;
            }
            Fault::PowerLoss => {
                for node in 0..self.nodes.len() {
                    let away = self.rng.skewed(1_000, 3 * LEASE);
                    self.crash(node, away);
                }
            }
            Fault::LinkLost => self.lose_links(node),
            Fault::Handover => self.ask_handover(shard, primary),
            Fault::Move => self.move_copies(shard),
            Fault::Wipe => self.wipe(node, long),
            Fault::Corrupt => self.corrupt(node, shard, long),
            Fault::Force => self.force(node, shard),
            Fault::Split => self.ask_split(primary),
            Fault::VolumeBack => self.bring_back(node, long),
        }
    }

    pub(crate) fn any_shard(&mut self) -> ShardId {
        let shards: Vec<_> = self.zookeeper.shards().map(|(id, _)| id).collect();
        shards[self.rng.index(shards.len())]
    }

    pub(crate) fn crash(&mut self, node: usize, away: Micros) {
        if !self.nodes[node].up {
            return;
        }
        note!(self, "node {node} crashes for {away} us");
        self.count_crash(node);
        let crashed = &mut self.nodes[node];
        crashed.up = false;
        crashed.backlog.clear();
        for replica in crashed.replicas.values_mut() {
            if replica.disk.is_promising() {
                self.coverage.count(Situation::CrashWhilePromising);
            }
            replica.core = None;
            replica.disk.crash(&mut self.rng);
        }
        self.requests.lose(node);
        self.lose_links(node);
        self.count_down(node);
        self.queue.push(self.now + away, Event::Start(node));
    }

    fn pause(&mut self, node: usize) {
        let long = self.rng.skewed(1_000, 3 * LEASE);
        if self.nodes[node].up && !self.nodes[node].is_paused(self.now) {
            note!(self, "node {node} is paused for {long} us");
            if long > LEASE {
                self.coverage.count(Situation::LongPause);
            }
            self.nodes[node].paused_until = self.now + long;
            self.queue.push(self.now + long, Event::Resume(node));
        }
    }

    /// The others notice that their connections to `node` are gone.
    pub(crate) fn lose_links(&mut self, node: usize) {
        let volume = self.nodes[node].volume;
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            for shard in self.shards_of(other) {
                if self.nodes[other].up && self.rng.chance(600) {
                    let delay = self.rng.skewed(100, 50_000);
                    let input = Box::new(Input::LinkLost(volume));
                    self.to_node(delay, other, crate::event::NodeEvent::Input(shard, input));
                }
            }
        }
    }

    pub(crate) fn ask_handover(&mut self, shard: ShardId, primary: usize) {
        let Some(config) = self.zookeeper.config(shard) else { return };
        let target = config.isr[self.rng.index(config.isr.len())];
        self.ask(primary, shard, Waits::Handover, |token| Input::Handover { token, target });
    }

    fn ask_split(&mut self, primary: usize) {
        if !self.plan.splits || self.plan.keys < 2 {
            return;
        }
        let child = ShardId(self.next_shard);
        self.next_shard += 1;
        let at = Bytes::from_static(b"b");
        let payload = Command::Split(Split { child, at: at.clone() }).encode();
        self.ask(primary, FIRST_SHARD, Waits::Split, |token| Input::Split { token, child, at, payload });
    }

    fn ask(
        &mut self,
        node: usize,
        shard: ShardId,
        what: Waits,
        input: impl FnOnce(kv_replication::core::Token) -> Input,
    ) {
        let asked = &self.nodes[node];
        let there = asked.replicas.get(&shard).is_some_and(|replica| replica.core.is_some());
        if !there || asked.is_paused(self.now) {
            return;
        }
        let open = Open { node, since: self.now, what, committed: 0 };
        let token = self.requests.open(open);
        self.feed(node, shard, input(token));
    }

    /// The master finds another placement.
    fn move_copies(&mut self, shard: ShardId) {
        let mut volumes: Vec<_> = self.nodes.iter().map(|node| node.volume).collect();
        for at in (1..volumes.len()).rev() {
            volumes.swap(at, self.rng.index(at + 1));
        }
        volumes.truncate(self.plan.copies);
        if let Some(placement) = self.zookeeper.placement.get_mut(&shard) {
            placement.replicas = volumes;
            self.coverage.count(Situation::Moved);
        }
    }

    /// The volume is replaced by an empty one; not if no other intact copy would be left.
    fn wipe(&mut self, node: usize, away: Micros) {
        let volume = self.nodes[node].volume;
        if self.is_last_copy(node) && self.rng.chance(900) {
            return;
        }
        self.crash(node, away);
        note!(self, "node {node} loses its volume {volume:?}");
        self.coverage.count(Situation::Wiped);
        self.nodes[node].wipe(node);
    }

    /// The volume that was replaced is there again, as it was, and the one in its place is gone.
    fn bring_back(&mut self, node: usize, away: Micros) {
        if !self.nodes[node].has_replaced() || self.is_last_copy(node) {
            return;
        }
        self.crash(node, away);
        self.nodes[node].bring_back();
        note!(self, "node {node} has its volume {:?} again", self.nodes[node].volume);
        self.coverage.count(Situation::VolumeBack);
    }

    /// The log of a copy is damaged while the node is down.
    fn corrupt(&mut self, node: usize, shard: ShardId, away: Micros) {
        if self.is_last_copy(node) {
            return;
        }
        self.crash(node, away);
        if let Some(replica) = self.nodes[node].replicas.get_mut(&shard) {
            replica.disk.corrupt();
            note!(self, "node {node} will find its copy of shard {shard} damaged");
        }
    }

    fn is_last_copy(&self, node: usize) -> bool {
        let volume = self.nodes[node].volume;
        self.zookeeper.shards().any(|(shard, config)| {
            let intact = |other: &&kv_types::VolumeId| **other != volume && self.is_intact(shard, **other);
            config.is_in_sync(volume) && !config.isr.iter().any(|other| intact(&other))
        })
    }

    /// `kvctl force-promote`: only when all members of the old ISR are gone for long enough to have ceased.
    pub(crate) fn force(&mut self, node: usize, shard: ShardId) {
        // What a forced shard has lost is worked out from its entries, and a child's begin in its parent.
        if !self.plan.forces || self.forced || shard != FIRST_SHARD {
            return;
        }
        let Some(config) = self.zookeeper.config(shard).cloned() else { return };
        let volume = self.nodes[node].volume;
        // Their sessions have ended, and one more timeout has passed: nothing that they have sent is under way.
        let fenced = |member: &VolumeId| self.zookeeper.is_gone(*member, self.now.saturating_sub(SESSION_TIMEOUT));
        let gone = config.isr.iter().all(fenced);
        let waits = !self.is_broken_here(Rule::ForcePromoteWaits);
        let there = self.nodes[node].replicas.get(&shard).is_some_and(|replica| {
            let disk = &replica.disk;
            replica.core.as_ref().is_some_and(|core| !core.awaits_snapshot())
                && disk.lineage() == config.lineage
                && !disk.is_void()
                && disk.is_synced()
        });
        // It is this node that is asked for it.
        let able = there && self.is_connected(node) && !self.nodes[node].is_paused(self.now);
        if !able || config.is_in_sync(volume) || (waits && !gone) {
            return;
        }
        note!(self, "shard {shard} is promoted by force on {volume:?}");
        self.forced = true;
        self.coverage.count(Situation::Forced);
        self.zookeeper.force(shard, volume);
        let lineage = kv_types::Lineage(config.lineage.0 + 1);
        if let (Some(ledger), Some(replica)) = (self.ledgers.get_mut(&shard), self.nodes[node].replicas.get(&shard)) {
            let kept = ledger.last_held(|id| replica.disk.holds_written(id));
            ledger.forget_above(kept, lineage, shard);
        }
        self.announce(shard);
    }
}
