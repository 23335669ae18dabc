//! Runs that are steered: chance alone comes to some states so seldom that a rule which only matters there is hardly ever
//! put to the test.

use kv_replication::core::{Body, Effect};
use kv_types::{ShardConfig, ShardId};

use crate::{
    coverage::Situation,
    event::{Event, node_of},
    faults::{Fault, KINDS},
    plan::{LEASE, Micros, Plan, SESSION_TIMEOUT},
    rng::Rng,
    world::{World, note},
};

/// A state that a run is driven to, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Steer {
    /// A crash when something is durable, and before anybody is told.
    CrashBeforeSend,
    /// A change that adds a member is under way, and its primary or its joiner crashes or is cut off.
    Joins,
    /// Changes of unknown outcome, and others sent after them.
    TwoInFlight,
    /// The same nodes are cut off from each other for a short time, again and again.
    ShortCuts,
    /// All that are in sync are down at once.
    AllInSyncDown,
    /// A copy is lost while ZooKeeper is away.
    LossWithoutZooKeeper,
    /// Who takes over crashes before its term has begun.
    Successor,
    /// One side of a handover crashes.
    Handover,
    /// A copy, or the one that it gets its snapshot from, crashes.
    Snapshot,
    /// What the cluster consists of is lost while a person makes it go on.
    Force,
}

const STEERS: [Steer; 10] = [
    Steer::CrashBeforeSend,
    Steer::Joins,
    Steer::TwoInFlight,
    Steer::ShortCuts,
    Steer::AllInSyncDown,
    Steer::LossWithoutZooKeeper,
    Steer::Successor,
    Steer::Handover,
    Steer::Snapshot,
    Steer::Force,
];

impl Steer {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        STEERS[rng.index(STEERS.len())]
    }
}

impl Plan {
    /// Makes the steps that lead to the state likely.
    pub(crate) fn steer_to(&mut self, steer: Steer, rng: &mut Rng) {
        self.steer = Some(steer);
        let often: &[Fault] = match steer {
            Steer::CrashBeforeSend => &[Fault::Crash, Fault::CrashPrimary],
            Steer::TwoInFlight => &[Fault::CutPair, Fault::CutOneWay, Fault::Pause],
            Steer::Joins | Steer::ShortCuts | Steer::AllInSyncDown | Steer::LossWithoutZooKeeper => &[],
            Steer::Successor => &[Fault::CrashPrimary, Fault::PausePrimary],
            Steer::Handover => &[Fault::Handover],
            Steer::Snapshot => &[Fault::Crash, Fault::Corrupt, Fault::Wipe],
            Steer::Force => &[Fault::Force, Fault::Crash, Fault::CutZooKeeper],
        };
        for (weight, kind) in self.faults.iter_mut().zip(KINDS) {
            if often.contains(&kind) {
                *weight = (*weight).max(6);
            }
        }
        match steer {
            Steer::Joins => {
                // A copy joins when there is peace. With two copies the primary is alone whenever one does.
                self.copies = 2;
                self.faults = [0; KINDS.len()];
                self.fault_every = rng.between(100_000, 300_000);
                self.lost_permille = self.lost_permille.min(20);
                self.wrong_hint_permille = 0;
                self.min_in_sync = 1;
                self.chaos = 2_200_000;
            }
            Steer::TwoInFlight => {
                self.late_change_permille = rng.between(200, 600);
                self.lost_answer_permille = rng.between(200, 600);
            }
            Steer::ShortCuts | Steer::Handover => self.fault_every = rng.between(20_000, 80_000),
            Steer::Snapshot => {
                self.trims = true;
                self.kept_tail_bytes = 0;
            }
            Steer::Force => {
                self.forces = true;
                self.splits = false;
                self.chaos = 4_000_000;
                // One copy is promoted while another one still waits for the snapshot of a primary that is gone.
                self.copies = 2 + usize::from(rng.chance(700));
                self.nodes = self.copies + 1;
                self.snapshot_patience = 5 * SESSION_TIMEOUT;
                self.trims = true;
                self.kept_tail_bytes = 0;
            }
            _ => {}
        }
    }
}

impl World {
    fn steers_to(&self, steer: Steer) -> bool {
        self.plan.steer == Some(steer) && self.ending.healed_at.is_none()
    }

    fn lay_trap(&mut self, node: usize, within: Micros) {
        let at = self.now + self.rng.skewed(1, within);
        let away = self.rng.skewed(100, 2 * LEASE);
        self.queue.push(at, Event::Trap { node, away });
    }

    /// Whether the process crashes instead of doing this.
    pub(crate) fn is_trap(&mut self, node: usize, shard: ShardId, effect: &Effect) -> bool {
        let (steer, permille) = match effect {
            Effect::CompareAndSet { .. } => (Steer::CrashBeforeSend, 150),
            Effect::Send(message) if matches!(message.body, Body::AppendAck { .. } | Body::HeartbeatAck(_)) => {
                (Steer::CrashBeforeSend, 10)
            }
            Effect::Leads(true) => (Steer::Successor, 250),
            _ => return false,
        };
        if !self.steers_to(steer) || !self.rng.chance(permille) {
            return false;
        }
        note!(self, "node {node} shard {shard} crashes before {effect:?}");
        self.coverage.count(if steer == Steer::Successor {
            Situation::SuccessorCrashed
        } else {
            Situation::CrashBeforeSend
        });
        let away = self.rng.skewed(100, 2 * LEASE);
        self.crash(node, away);
        true
    }

    /// A change has been sent: what may happen before its outcome is known.
    pub(crate) fn change_is_sent(&mut self, node: usize, shard: ShardId, new: &ShardConfig) {
        let Some(old) = self.zookeeper.config(shard).cloned() else { return };
        let joiner = new.isr.iter().find(|member| !old.is_in_sync(**member)).map(|member| node_of(*member));
        if let Some(joiner) = joiner
            && self.steers_to(Steer::Joins)
        {
            match self.rng.below(5) {
                0 => self.lay_trap(node, 30_000),
                1 => self.lay_trap(joiner, 30_000),
                2 | 3 => self.cut_off(node),
                _ => {}
            }
        }
        if new.primary == old.primary || !self.rng.chance(500) {
            return;
        }
        let handover = node == node_of(old.primary);
        if handover && self.steers_to(Steer::Handover) {
            let crashes = if self.rng.chance(500) { node } else { node_of(new.primary) };
            self.lay_trap(crashes, 20_000);
        } else if !handover && self.steers_to(Steer::Successor) {
            self.lay_trap(node, 20_000);
        }
    }

    pub(crate) fn snapshot_is_asked(&mut self, node: usize, of: usize) {
        if self.steers_to(Steer::Snapshot) && self.rng.chance(400) {
            let crashes = if self.rng.chance(500) { node } else { of };
            self.lay_trap(crashes, LEASE / 2);
        }
    }

    /// The primary goes on alone, and what it has just sent is still applied.
    fn cut_off(&mut self, node: usize) {
        self.coverage.count(Situation::CutOffDuringJoin);
        let from = self.now + 1;
        let until = from + self.rng.between(LEASE, 4 * LEASE);
        for other in 0..self.nodes.len() {
            self.network.cut(node, other, until);
            self.network.cut(other, node, until);
        }
        self.network.cut_zookeeper(node, until);
        note!(self, "node {node} is cut off until {until}");
    }

    /// A copy is left behind by those in sync, all of them go, and it is promoted.
    fn lead_to_force(&mut self, config: &ShardConfig, shard: ShardId, member: usize) {
        let behind = self.nodes.iter().position(|node| {
            node.up
                && !config.is_in_sync(node.volume)
                && node.replicas.get(&shard).is_some_and(|copy| copy.disk.is_synced())
        });
        match behind {
            Some(behind) => {
                let copies = self.nodes.iter().filter_map(|node| node.replicas.get(&shard));
                let waits = copies.into_iter().any(|copy| copy.awaits_snapshot);
                if waits || self.rng.chance(200) {
                    for member in &config.isr {
                        let away = 2 * SESSION_TIMEOUT + self.rng.between(LEASE, 3 * LEASE);
                        self.crash(node_of(*member), away);
                    }
                    let at = self.now + 2 * SESSION_TIMEOUT + self.rng.between(1_000, LEASE);
                    self.queue.push(at, Event::Force { node: behind, shard });
                }
                self.force(behind, shard);
            }
            None if config.isr.len() > 1 => {
                let away = self.rng.between(LEASE / 2, 2 * LEASE);
                self.crash(member, away);
            }
            None => {}
        }
    }

    /// The next fault, if this run is steered by what it does.
    pub(crate) fn steered_fault(&mut self) -> bool {
        let Some(steer) = self.plan.steer.filter(|_| self.rng.chance(500)) else { return false };
        let shard = self.any_shard();
        let Some(config) = self.zookeeper.config(shard).cloned() else { return false };
        let primary = node_of(config.primary);
        let member = node_of(config.isr[self.rng.index(config.isr.len())]);
        match steer {
            Steer::ShortCuts => {
                let other = self.rng.index(self.nodes.len());
                // Without ZooKeeper a primary can't remove who is cut off, and may still hear the others.
                let alone = self.rng.chance(250);
                let longest = if alone { 2 * LEASE } else { LEASE };
                let until = self.now + self.rng.between(longest / 5, longest);
                if alone {
                    self.network.cut_zookeeper(primary, until);
                }
                note!(self, "nodes {primary} and {other} are cut off from each other until {until}");
                self.network.cut(primary, other, until);
                if self.rng.chance(700) {
                    self.network.cut(other, primary, until);
                }
                self.coverage.count(Situation::ShortCut);
            }
            Steer::AllInSyncDown => {
                for member in config.isr {
                    self.lay_trap(node_of(member), LEASE / 4);
                }
            }
            Steer::LossWithoutZooKeeper => {
                self.coverage.count(Situation::ZooKeeperAway);
                self.zookeeper.down_until = self.now + self.rng.between(LEASE, 4 * LEASE);
                self.lay_trap(member, LEASE);
            }
            Steer::Handover => self.ask_handover(shard, primary),
            Steer::Force => self.lead_to_force(&config, shard, member),
            Steer::Joins if config.isr.len() > 1 => {
                // Away for longer than a silent member stays in sync, so that it has to be added again.
                let away = self.rng.between(LEASE, 2 * LEASE);
                self.crash(member, away);
            }
            _ => return false,
        }
        true
    }
}
