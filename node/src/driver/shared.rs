//! What all parts of the driver share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use kv_cluster::{BoottimeClock, Clock as _, Cluster};
use kv_replication::{
    apply::{Machine, Sessions},
    core::{Core, Recovered, Rules, Settings, Time},
};
use kv_storage::{Birth, Pressure, ReplicaState, Space};
use kv_types::{EntryId, EpochHistory, KeyRange, Limits, Lineage, NodeName, ShardConfig, ShardId, Split, VolumeId};
use tokio::sync::{Notify, mpsc, watch};

use super::{
    events::Events,
    peers::{NodeState, Peers, Sight},
    replica::{Replica, Start},
    request::Failure,
    routes::Routes,
    volumes::OpenVolume,
};

/// More than one copy comes to by itself while it is there, whatever the wall clock does: each is above all that was here before.
const INCARNATIONS_OF_ONE: u64 = 1_000_000;

/// Copies by shard and volume.
pub(super) type Replicas = BTreeMap<(ShardId, VolumeId), Arc<Replica>>;

pub(crate) struct Shared {
    pub(crate) node: NodeName,
    /// `host:port,host:port/root`.
    pub(super) zookeeper: String,
    pub(crate) limits: Limits,
    pub(crate) settings: Settings,
    pub(super) volumes: [Arc<OpenVolume>; 2],
    pub(super) peers: Peers,
    cluster: OnceLock<Cluster>,
    pub(super) replicas: RwLock<Arc<Replicas>>,
    pub(super) routes: RwLock<Arc<Routes>>,
    /// Replicas that wait for a flush.
    pub(super) dirty: Mutex<Vec<Arc<Replica>>>,
    /// Wakes the flusher.
    pub(super) flush_due: Notify,
    /// Wakes the manager: configurations or roles have changed.
    pub(super) changed: Notify,
    pub(super) rebuilds: mpsc::UnboundedSender<(Arc<Replica>, String)>,
    /// Sizes of shards in bytes, as those that serve them have said last.
    pub(super) sizes: Mutex<BTreeMap<ShardId, u64>>,
    pub(super) ceased: AtomicBool,
    /// The node was asked to stop.
    pub(super) leaving: AtomicBool,
    pub(super) reachable: AtomicBool,
    fatal: watch::Sender<Option<String>>,
    clock: BoottimeClock,
    /// The last incarnation that a copy here was given.
    incarnations: AtomicU64,
    pub(super) registered: RwLock<BTreeSet<VolumeId>>,
}

impl Shared {
    #[allow(clippy::too_many_arguments, reason = "called once, by the driver's start")]
    pub(super) fn new(
        node: NodeName,
        zookeeper: String,
        limits: Limits,
        settings: Settings,
        volumes: [Arc<OpenVolume>; 2],
        peers: Peers,
        rebuilds: mpsc::UnboundedSender<(Arc<Replica>, String)>,
        last_incarnation: u64,
    ) -> Self {
        Self {
            node,
            zookeeper,
            limits,
            settings,
            volumes,
            peers,
            cluster: OnceLock::new(),
            replicas: RwLock::default(),
            routes: RwLock::default(),
            dirty: Mutex::default(),
            flush_due: Notify::new(),
            changed: Notify::new(),
            rebuilds,
            sizes: Mutex::default(),
            ceased: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            reachable: AtomicBool::new(false),
            fatal: watch::Sender::new(None),
            clock: BoottimeClock,
            incarnations: AtomicU64::new(last_incarnation),
            registered: RwLock::default(),
        }
    }

    pub(super) fn join(&self, cluster: Cluster) {
        let _ = self.cluster.set(cluster);
    }

    /// The cluster.
    ///
    /// # Panics
    /// If the node has not joined yet: nothing that needs it is started before.
    #[allow(clippy::expect_used, reason = "start-up order: Driver::start joins before it starts any task")]
    pub(crate) fn cluster(&self) -> &Cluster {
        self.cluster.get().expect("the driver joins its cluster before it starts")
    }

    pub(crate) fn now(&self) -> Time {
        Time(u64::try_from(self.clock.now().as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn lease(&self) -> Duration {
        self.settings.lease
    }

    /// Memory and disk disagree, or the disk fails: the process must stop.
    pub(crate) fn fatal(&self, why: String) {
        tracing::error!(why, "the node stops");
        self.fatal.send_if_modified(|fatal| fatal.replace(why).is_none());
    }

    pub(crate) fn fatals(&self) -> watch::Receiver<Option<String>> {
        self.fatal.subscribe()
    }

    pub(crate) fn replica(&self, shard: ShardId, volume: VolumeId) -> Option<Arc<Replica>> {
        self.replicas().get(&(shard, volume)).cloned()
    }

    pub(crate) fn replicas(&self) -> Arc<Replicas> {
        Arc::clone(&self.replicas.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn edit_replicas(&self, edit: impl FnOnce(&mut Replicas)) {
        let mut replicas = self.replicas.write().unwrap_or_else(PoisonError::into_inner);
        edit(Arc::make_mut(&mut replicas));
    }

    pub(super) fn volume(&self, id: VolumeId) -> Option<&Arc<OpenVolume>> {
        self.volumes.iter().find(|volume| volume.id == id)
    }

    /// While the result lives, what several copies hand to a volume's log makes one group.
    pub(super) fn hold(&self) -> [kv_storage::Held<'_>; 2] {
        self.volumes.each_ref().map(|volume| volume.volume.hold())
    }

    /// The manager makes the routes anew.
    pub(super) fn routes_changed(&self) {
        self.changed.notify_one();
    }

    pub(super) fn rebuild(&self, replica: &Arc<Replica>, why: &str) {
        // The manager lives as long as the node.
        let _ = self.rebuilds.send((Arc::clone(replica), why.to_owned()));
    }

    pub(crate) fn is_ceased(&self) -> bool {
        self.ceased.load(Ordering::Acquire)
    }

    /// Whether a write may be accepted: what is accepted always fits.
    pub(super) fn check_room(&self, replica: &Replica) -> Result<(), Failure> {
        let volume = &replica.volume;
        if !volume.volume.has_room() {
            let why = format!("the {} volume of {} is full: free some space on it", volume.folder, self.node);
            return Err(Failure::Exhausted(why));
        }
        if volume.volume.table().pressure() == Pressure::Stop {
            return Err(Failure::Exhausted("the disk can't keep up with the writes: try again later".into()));
        }
        Ok(())
    }

    pub(super) fn recovered_core(&self, volume: VolumeId, recovered: Recovered) -> Core {
        let incarnation = self.incarnations.fetch_add(INCARNATIONS_OF_ONE, Ordering::Relaxed) + INCARNATIONS_OF_ONE;
        Core::new(volume, incarnation, self.settings.clone(), Rules::all(), recovered, self.now())
    }

    /// A copy without entries. `void`: ZooKeeper counts it as in sync, so it has lost what it once acknowledged.
    pub(super) fn make_empty(&self, shard: ShardId, volume: &Arc<OpenVolume>, void: bool) -> Arc<Replica> {
        let space = volume.new_space();
        let core = self.recovered_core(volume.id, Recovered { void, ..Recovered::empty() });
        let machine = Machine::new(shard, self.limits, Sessions::default());
        let state = ReplicaState { space, incarnation: core.incarnation(), void, ..ReplicaState::default() };
        if let Err(refused) = volume.volume.put_state(shard, state) {
            self.fatal(format!("the log took no record: {refused}"));
        }
        let start = Start { space, applied: EntryId::ZERO, config: None, birth: None };
        let replica = Replica::new(shard, Arc::clone(volume), core, machine, start);
        self.edit_replicas(|replicas| drop(replicas.insert((shard, volume.id), Arc::clone(&replica))));
        replica
    }

    /// Whether a copy is here of which ZooKeeper has been heard: not what is left over from a split that was called off.
    pub(super) fn has_copy_of(&self, shard: ShardId, volume: VolumeId) -> bool {
        self.replica(shard, volume).is_some_and(|there| there.lock().core.config().is_some())
    }

    /// The child of a split, on the parent's volume and in its space.
    #[allow(clippy::too_many_arguments, reason = "the parent's state at the split")]
    pub(super) fn make_child(
        &self,
        parent: &Arc<Replica>,
        split: &Split,
        space: Space,
        base: EntryId,
        lineage: Lineage,
        history: EpochHistory,
        sessions: Sessions,
        events: Events,
    ) -> Result<(), kv_storage::Refused> {
        let (child, volume) = (split.child, &parent.volume);
        if let Some(there) = self.replica(child, volume.id) {
            let mut state = there.lock();
            if state.core.config().is_some() {
                return Ok(());
            }
            // Left over from a split that was called off, of this shard or another that took the same id.
            state.broken = Some("made anew by another split".to_owned());
        }
        let recovered = Recovered {
            promised: base.epoch,
            lineage,
            history: history.clone(),
            applied: base.seq,
            ..Recovered::empty()
        };
        let core = self.recovered_core(volume.id, recovered);
        let (_, of_parent) = parent.rows();
        let range = KeyRange { start: split.at.clone(), end: of_parent.end };
        let birth = Birth { parent: parent.shard, epoch: base.epoch, range };
        let state = ReplicaState {
            birth: Some(birth.clone()),
            promised: base.epoch,
            lineage,
            space,
            incarnation: core.incarnation(),
            ..ReplicaState::default()
        };
        volume.volume.put_state(child, state)?;
        volume.volume.reset(child, base, &history)?;
        let machine = Machine::new(child, self.limits, sessions);
        let birth = Some(birth);
        let start = Start { space, applied: base, config: None, birth };
        let replica = Replica::new(child, Arc::clone(volume), core, machine, start);
        replica.lock().events = events;
        self.edit_replicas(|replicas| drop(replicas.insert((child, volume.id), replica)));
        self.routes_changed();
        Ok(())
    }

    /// What this node says of itself.
    pub(super) fn state(&self, sight: &Sight, sizes: Vec<(ShardId, u64)>) -> NodeState {
        NodeState {
            zookeeper_age: self.cluster().age(),
            registered: self.cluster().is_registered(),
            inbound_age: sight.peers.iter().filter_map(|(_, peer)| peer.down_age).min(),
            sizes,
        }
    }

    /// Takes down how large shards are, as those that serve them say.
    pub(super) fn note_sizes(&self, sizes: impl Iterator<Item = (ShardId, u64)>) {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner).extend(sizes);
    }

    /// The newest configuration that any copy on this node knows.
    pub(super) fn known_configs(&self) -> BTreeMap<ShardId, ShardConfig> {
        let mut configs: BTreeMap<ShardId, ShardConfig> = BTreeMap::new();
        for ((shard, _), replica) in self.replicas().iter() {
            let Some(config) = replica.lock().core.config().cloned() else { continue };
            let newer = configs.get(shard).is_none_or(|known| known.epoch < config.epoch);
            if newer {
                configs.insert(*shard, config);
            }
        }
        configs
    }
}
