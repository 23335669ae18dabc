//! What the node knows of its surroundings, told to every copy; and what it does about being cut off (protocol,
//! section 7). Safety never depends on it: leases and compare-and-set see to that.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use kv_cluster::View;
use kv_replication::core::{Input, Surroundings, Time};
use kv_types::{Folder, ShardId, VolumeId};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::{
    cut_off::{CutOff, Seen},
    order::Order,
    peers::{PeerSight, Sight},
    shared::Shared,
};

pub(super) struct World {
    shared: Arc<Shared>,
    told: BTreeMap<(ShardId, VolumeId), Arc<Surroundings>>,
    heartbeat_at: Option<Time>,
    unreachable_since: Option<Time>,
    gave_up_membership: bool,
    cut_off: CutOff,
    order: Order,
}

impl World {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let [data, bkpdata] = [&shared.volumes[0], &shared.volumes[1]].map(|volume| volume.id);
        let order = Order::new(data, bkpdata, shared.now());
        let told = BTreeMap::new();
        Self {
            shared,
            told,
            heartbeat_at: None,
            unreachable_since: None,
            gave_up_membership: false,
            cut_off: CutOff::default(),
            order,
        }
    }

    pub(super) async fn run(mut self) {
        // Twice as often as heartbeats are due, so that none is late by a whole interval.
        let mut tick = interval(self.shared.lease() / 20);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let now = self.shared.now();
            let view = self.shared.cluster().view();
            let sight = self.shared.peers.sight(now);
            self.heartbeat(now, &sight);
            self.judge_zookeeper(now, &view, &sight);
            self.judge_reach(now, &sight);
            self.tell(now, &view);
        }
    }

    fn heartbeat(&mut self, now: Time, sight: &Sight) {
        if self.heartbeat_at.is_some_and(|at| now.since(at) < self.shared.lease() / 10) {
            return;
        }
        self.heartbeat_at = Some(now);
        self.shared.peers.send_heartbeats(&self.shared.state(sight, Vec::new()));
    }

    /// At two thirds of the session timeout the node looks at its peers. If one of them still has ZooKeeper, or a majority
    /// of the last known members can't be heard, it is this node that is cut off: by 0.9 of the timeout it has ceased.
    /// Otherwise ZooKeeper is down, and the node goes on.
    fn judge_zookeeper(&mut self, now: Time, view: &View, sight: &Sight) {
        let timeout = self.shared.cluster().session_timeout();
        let age = self.shared.cluster().age();
        let has = |peer: &PeerSight| peer.zookeeper_age.is_some_and(|age| age < timeout / 3);
        let heard = |peer: &PeerSight| {
            let age = peer.up_age.into_iter().chain(peer.down_age).min();
            age.is_some_and(|age| age < self.shared.lease())
        };
        let members: BTreeSet<_> = view.members.iter().map(|member| &member.info.node).collect();
        let others = sight.peers.iter().filter(|(name, peer)| members.contains(name) && heard(peer)).count();
        let peer_has = sight.peers.iter().any(|(_, peer)| heard(peer) && has(peer));
        let majority = 2 * (others + 1) > members.len();
        let cut_off = self.cut_off.judge(now, timeout, Seen { age, peer_has, majority });
        let ceased = self.shared.is_ceased();
        if cut_off && !ceased {
            warn!(?age, peer_has, majority, "this node is cut off: it ceases to serve");
            self.shared.ceased.store(true, Ordering::Release);
        }
        if ceased && age < timeout / 3 && self.shared.cluster().is_registered() {
            info!("ZooKeeper is reached again: the node serves again");
            self.shared.ceased.store(false, Ordering::Release);
        }
    }

    /// A node that answers nobody though others answer it can't be reached from outside. As a primary it removes no member
    /// then; after 2 L it gives up the master's role and its membership, until it is reached again.
    fn judge_reach(&mut self, now: Time, sight: &Sight) {
        let lease = self.shared.lease();
        // Heartbeats come every 0.1 L, and a primary removes silent members after 0.6 L: one that nobody reaches has to know
        // before that, or it would be left as the only member, of keys that nobody can get.
        let recent = lease * 3 / 10;
        let reached = sight.peers.iter().any(|(_, peer)| peer.down_age.is_some_and(|age| age < recent));
        let reaches = sight.peers.iter().any(|(_, peer)| peer.up_age.is_some_and(|age| age < recent));
        let reachable = reached || !reaches;
        self.shared.reachable.store(reachable, Ordering::Release);
        if reachable {
            self.unreachable_since = None;
            // Only being reached ends it: when nobody answers, nothing has been learnt.
            if self.gave_up_membership && reached {
                self.gave_up_membership = false;
                info!("peers reach this node again: it registers");
                let cluster = self.shared.cluster().clone();
                tokio::spawn(async move { cluster.register().await });
            }
            return;
        }
        let since = *self.unreachable_since.get_or_insert(now);
        let third = self.shared.cluster().session_timeout() / 3;
        let peer_has = sight.peers.iter().any(|(_, peer)| peer.zookeeper_age.is_some_and(|age| age < third));
        if now.since(since) >= lease * 2 && peer_has && !self.gave_up_membership {
            self.gave_up_membership = true;
            warn!("no peer reaches this node: it gives up its membership until one does");
            let cluster = self.shared.cluster().clone();
            tokio::spawn(async move { cluster.unregister().await });
        }
    }

    fn tell(&mut self, now: Time, view: &View) {
        let registered: BTreeSet<VolumeId> =
            view.members.iter().flat_map(|member| [member.info.data, member.info.bkpdata]).collect();
        let zookeeper = self.shared.cluster().age() < self.shared.cluster().session_timeout() / 3;
        let replicas = self.shared.replicas();
        let data_waits = self.order.data_waits(now, view, &replicas);
        let leaving = self.shared.leaving.load(Ordering::Acquire);
        let (ceased, reachable) = (self.shared.is_ceased(), self.shared.reachable.load(Ordering::Acquire));
        for ((shard, volume), replica) in replicas.iter() {
            let waits = data_waits && replica.volume.folder == Folder::Data;
            let placement = view.placements.get(shard).map(|placement| &placement.value);
            let told = self.told.get(&(*shard, *volume)).is_some_and(|told| {
                let Surroundings {
                    zookeeper: z,
                    ceased: c,
                    reachable: r,
                    leaving: l,
                    waits: w,
                    registered: g,
                    placement: p,
                } = &**told;
                [z, c, r, l, w] == [&zookeeper, &ceased, &reachable, &leaving, &waits]
                    && (g, p.as_ref()) == (&registered, placement)
            });
            if !told {
                let registered = registered.clone();
                let placement = placement.cloned();
                let surroundings = Surroundings { zookeeper, ceased, reachable, leaving, waits, registered, placement };
                let surroundings = Arc::new(surroundings);
                self.told.insert((*shard, *volume), Arc::clone(&surroundings));
                replica.step(&self.shared, Input::Surroundings(surroundings));
            }
            replica.step(&self.shared, Input::Tick);
        }
        self.told.retain(|key, _| replicas.contains_key(key));
        *self.shared.registered.write().unwrap_or_else(std::sync::PoisonError::into_inner) = registered;
    }
}
