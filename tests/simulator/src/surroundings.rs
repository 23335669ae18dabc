//! What a node's process sees of the world around it: late, and sometimes wrong.

use std::{sync::Arc, time::Duration};

use kv_replication::core::{Input, Surroundings};

use crate::{coverage::Situation, event::NodeEvent, plan::SESSION_TIMEOUT, world::World};

impl World {
    /// Renews the session, notices what has changed, and tells the replicas.
    pub(crate) fn look_around(&mut self, node: usize) {
        let now = self.now;
        let connected = self.is_connected(node);
        let time = self.nodes[node].time(now);
        let volume = self.nodes[node].volume;
        if connected {
            self.zookeeper.renew(volume, now + SESSION_TIMEOUT);
            self.nodes[node].session.seen_at = time;
            if !std::mem::replace(&mut self.nodes[node].session.connected, true) {
                // Watches that fired meanwhile were lost, so everything is read anew.
                for shard in self.shards_of(node) {
                    self.to_node(1_000, node, NodeEvent::Watch(shard));
                }
            }
            if self.rng.chance(400) {
                self.nodes[node].session.registered = self.zookeeper.registered(now).collect();
            }
            if self.rng.chance(400) {
                self.nodes[node].session.placement = self.zookeeper.placement.clone();
                self.make_replicas(node, false);
            }
            if self.rng.chance(self.plan.wrong_hint_permille / 4) {
                let wrong = self.nodes.iter().map(|node| node.volume).filter(|_| self.rng.chance(500)).collect();
                self.nodes[node].session.registered = wrong;
            }
        } else {
            self.nodes[node].session.connected = false;
        }
        let all_without = now < self.zookeeper.down_until;
        let silent = time.since(self.nodes[node].session.seen_at) > Duration::from_micros(SESSION_TIMEOUT * 9 / 10);
        let ceased = silent && !all_without;
        if ceased && !std::mem::replace(&mut self.nodes[node].session.ceased, ceased) {
            self.coverage.count(Situation::Ceased);
        }
        self.nodes[node].session.ceased = ceased;
        let peers = (0..self.nodes.len()).filter(|peer| *peer != node && self.nodes[*peer].up);
        let mut reached = peers.map(|peer| !self.network.is_cut(peer, node, now)).peekable();
        let reachable = reached.peek().is_none() || reached.any(|reached| reached);
        if self.rng.chance(self.plan.wrong_hint_permille / 8) {
            self.nodes[node].session.leaving = self.rng.chance(500);
            self.nodes[node].session.waits = self.rng.chance(500);
        }
        if self.ending.healed_at.is_some() {
            (self.nodes[node].session.leaving, self.nodes[node].session.waits) = (false, false);
        }
        let wrong = self.rng.chance(self.plan.wrong_hint_permille / 8);
        for shard in self.shards_of(node) {
            let session = &self.nodes[node].session;
            let new = Surroundings {
                zookeeper: connected,
                ceased,
                reachable: reachable != wrong,
                leaving: session.leaving,
                waits: session.waits,
                registered: session.registered.clone(),
                placement: session.placement.get(&shard).cloned(),
            };
            let Some(replica) = self.nodes[node].replicas.get_mut(&shard) else { continue };
            if *replica.surroundings != new {
                replica.surroundings = Arc::new(new);
                let input = Input::Surroundings(replica.surroundings.clone());
                self.feed(node, shard, input);
            }
        }
    }
}
