//! Connections between nodes. Each node dials every other, and on the dialled connection run the dialler's heartbeats and
//! the traffic of all shards whose primary is at the other end: entries, heartbeats and hints come down it, requests to
//! follow, acknowledgements, grants and rejections go up it. So a primary that can't be reached from outside gets no
//! acknowledgements and no leases, and is replaced (protocol, section 3).

mod batch;
mod heartbeat;
mod link;
mod service;
pub mod wire;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use kv_cluster::View;
use kv_proto::v1;
use kv_replication::core::{Body, Input, Message, Time};
use kv_types::{NodeName, ShardId, VolumeId};
use tokio::{sync::mpsc, task::JoinHandle};

use super::shared::Shared;
pub(super) use heartbeat::NodeState;
pub(super) use link::connect;
pub use service::ReplicaService;

/// Messages that wait for a connection; beyond it they are dropped, as if lost.
const QUEUE: usize = 65_536;

/// What goes into frames.
pub(super) enum Outgoing {
    Message(v1::ReplicaMessage),
    Heartbeat(v1::NodeHeartbeat),
}

/// The connections of this node.
#[derive(Default)]
pub(crate) struct Peers {
    owners: RwLock<HashMap<VolumeId, NodeName>>,
    peers: Mutex<HashMap<NodeName, Peer>>,
}

#[derive(Default)]
struct Peer {
    address: String,
    dialler: Option<JoinHandle<()>>,
    /// The connection that this node has dialled.
    up: Option<mpsc::Sender<Outgoing>>,
    up_heard: Option<Time>,
    /// The connection that the peer has dialled, and its number among those.
    down: Option<(u64, mpsc::Sender<Outgoing>)>,
    down_heard: Option<Time>,
    /// What the peer said last of its age at ZooKeeper, and when.
    zookeeper: Option<(Duration, Time)>,
}

impl Peers {
    /// Sends a message of a shard; drops it if there is no connection or its queue is full.
    pub(super) fn send(&self, shared: &Arc<Shared>, shard: ShardId, message: Message) {
        if shared.volume(message.to).is_some() {
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                if let Some(replica) = shared.replica(shard, message.to) {
                    replica.step(&shared, Input::Message(message));
                }
            });
            return;
        }
        let down = matches!(
            message.body,
            Body::Append { .. } | Body::Heartbeat { .. } | Body::SnapshotNeeded { .. } | Body::Wake
        );
        let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        let Some(owner) = owners.get(&message.to) else { return };
        let peers = self.lock();
        let Some(peer) = peers.get(owner) else { return };
        let queue = if down { peer.down.as_ref().map(|(_, queue)| queue) } else { peer.up.as_ref() };
        if let Some(queue) = queue {
            let _ = queue.try_send(Outgoing::Message(wire::encode(shard, message)));
        }
    }

    /// Dials the nodes of `view` that are not dialled yet, and forgets those that are gone.
    pub(super) fn follow_view(&self, shared: &Arc<Shared>, view: &View) {
        let registered = view.members.iter().map(|member| &member.info);
        let known = view.nodes.values().map(|node| &node.value);
        // Of a node that registered anew, the last registration counts.
        let nodes: HashMap<NodeName, _> = known
            .chain(registered)
            .filter(|node| node.node != shared.node)
            .map(|node| (node.node.clone(), node))
            .collect();
        let mut owners = HashMap::new();
        for node in nodes.values() {
            owners.extend([(node.data, node.node.clone()), (node.bkpdata, node.node.clone())]);
        }
        *self.owners.write().unwrap_or_else(PoisonError::into_inner) = owners;
        let mut peers = self.lock();
        for (name, node) in &nodes {
            let peer = peers.entry(name.clone()).or_default();
            if peer.address != node.address || peer.dialler.is_none() {
                if let Some(dialler) = peer.dialler.take() {
                    dialler.abort();
                    peer.up = None;
                }
                peer.address.clone_from(&node.address);
                let dial = link::dial(Arc::clone(shared), name.clone(), node.address.clone());
                peer.dialler = Some(tokio::spawn(dial));
            }
        }
        peers.retain(|name, peer| {
            let stays = nodes.contains_key(name);
            if let (false, Some(dialler)) = (stays, peer.dialler.take_if(|_| !stays)) {
                dialler.abort();
            }
            stays
        });
    }

    /// The address of the node that owns `volume`.
    pub(super) fn address_of(&self, volume: VolumeId) -> Option<String> {
        let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        let owner = owners.get(&volume)?;
        self.lock().get(owner).map(|peer| peer.address.clone())
    }

    /// A node's heartbeat goes out on all connections.
    pub(super) fn send_heartbeats(&self, state: &NodeState) {
        let heartbeat = state.encode();
        for peer in self.lock().values() {
            for queue in peer.up.iter().chain(peer.down.as_ref().map(|(_, queue)| queue)) {
                let _ = queue.try_send(Outgoing::Heartbeat(heartbeat.clone()));
            }
        }
    }

    /// What is known of the peers at `now`.
    pub(super) fn sight(&self, now: Time) -> Sight {
        let peers = self.lock();
        let age = |at: Option<Time>| at.map(|at| now.since(at));
        let of = |peer: &Peer| PeerSight {
            up_age: age(peer.up_heard),
            down_age: age(peer.down_heard),
            zookeeper_age: peer.zookeeper.map(|(age, at)| age + now.since(at)),
        };
        Sight { peers: peers.iter().map(|(name, peer)| (name.clone(), of(peer))).collect() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeName, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A frame has come on the connection that `peer` has dialled, or this node has.
    fn heard(&self, name: &NodeName, up: bool, now: Time, heartbeat: Option<v1::NodeHeartbeat>) {
        let mut peers = self.lock();
        let Some(peer) = peers.get_mut(name) else { return };
        *(if up { &mut peer.up_heard } else { &mut peer.down_heard }) = Some(now);
        if let Some(heartbeat) = heartbeat {
            peer.zookeeper = Some((Duration::from_millis(heartbeat.zookeeper_age_millis), now));
        }
    }

    fn connected_up(&self, name: &NodeName, queue: Option<mpsc::Sender<Outgoing>>) {
        if let Some(peer) = self.lock().get_mut(name) {
            peer.up = queue;
        }
    }

    /// Returns whether the connection is (or was) the newest one.
    fn connected_down(&self, name: &NodeName, number: u64, queue: Option<mpsc::Sender<Outgoing>>) {
        let mut peers = self.lock();
        // A node that this one has not heard of from ZooKeeper yet is taken at its word; it is forgotten with the view.
        let peer = peers.entry(name.clone()).or_default();
        match queue {
            Some(queue) => peer.down = Some((number, queue)),
            None => drop(peer.down.take_if(|(newest, _)| *newest == number)),
        }
    }

    fn volumes_of(&self, name: &NodeName) -> Vec<VolumeId> {
        let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        owners.iter().filter(|(_, owner)| *owner == name).map(|(volume, _)| *volume).collect()
    }
}

/// What this node knows of the others.
#[derive(Debug, Default)]
pub(super) struct Sight {
    pub(super) peers: Vec<(NodeName, PeerSight)>,
}

/// Ages count from the last frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerSight {
    /// Heard on the connection that this node has dialled.
    pub(super) up_age: Option<Duration>,
    /// Heard on the connection that the peer has dialled.
    pub(super) down_age: Option<Duration>,
    /// Since ZooKeeper acknowledged a request of the peer.
    pub(super) zookeeper_age: Option<Duration>,
}

/// Tells the copies that messages to and from `peer` may have been lost.
fn link_lost(shared: &Arc<Shared>, peer: &NodeName) {
    for volume in shared.peers.volumes_of(peer) {
        for replica in shared.replicas().values() {
            replica.step(shared, Input::LinkLost(volume));
        }
    }
}

/// Gives the messages of a frame to the copies that they are for.
fn deliver(shared: &Arc<Shared>, messages: Vec<v1::ReplicaMessage>) {
    let _held = shared.hold();
    for message in messages {
        match wire::decode(message) {
            Ok((shard, message)) => {
                if let Some(replica) = shared.replica(shard, message.to) {
                    replica.step(shared, Input::Message(message));
                }
            }
            Err(error) => tracing::warn!(%error, "dropped a message between nodes"),
        }
    }
}
