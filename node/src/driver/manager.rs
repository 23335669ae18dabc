//! Keeps this node's copies as ZooKeeper says: makes those that are placed here, drops those that are not any more,
//! rebuilds damaged ones, and keeps the routes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kv_cluster::{ClusterEvent, View};
use kv_replication::{apply::Machine, core::Input};
use kv_storage::Birth;
use kv_types::{EntryId, EpochHistory, ShardConfig, ShardId, VolumeId};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::{info, warn};

use super::{replica::Replica, routes::Routes, shared::Shared, state_machine::delete_rows};

/// How often the copies are compared with the view, though nothing has told of a change.
const RECONCILE_EVERY: Duration = Duration::from_secs(1);
/// How long a copy that ZooKeeper counts as in sync may be missing here before it counts as lost: the child of a split
/// comes with the parent's last entry, which can take longer than the news from ZooKeeper.
const MISSING_GRACE: Duration = Duration::from_secs(5);
/// How long a copy is kept that neither placement nor configuration knows.
const UNPLACED_GRACE: Duration = Duration::from_secs(3);

pub(super) struct Manager {
    shared: Arc<Shared>,
    events: mpsc::Receiver<ClusterEvent>,
    rebuilds: mpsc::UnboundedReceiver<(Arc<Replica>, String)>,
    missing: BTreeMap<(ShardId, VolumeId), Instant>,
    unplaced: BTreeMap<(ShardId, VolumeId), Instant>,
}

impl Manager {
    pub(super) fn new(
        shared: Arc<Shared>,
        events: mpsc::Receiver<ClusterEvent>,
        rebuilds: mpsc::UnboundedReceiver<(Arc<Replica>, String)>,
    ) -> Self {
        Self { shared, events, rebuilds, missing: BTreeMap::new(), unplaced: BTreeMap::new() }
    }

    pub(super) async fn run(mut self) {
        let mut tick = interval(RECONCILE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.events.recv() => {
                    let Some(event) = event else { return };
                    self.on_event(&event);
                    while let Ok(event) = self.events.try_recv() {
                        self.on_event(&event);
                    }
                    self.follow_view().await;
                }
                () = self.shared.changed.notified() => {
                    let view = self.shared.cluster().view();
                    for (shard, seen) in &view.shards {
                        self.tell(*shard, &seen.value);
                    }
                    self.refresh_routes(&view);
                }
                Some((replica, why)) = self.rebuilds.recv() => self.rebuild(&replica, &why),
                _ = tick.tick() => {
                    self.follow_view().await;
                    self.retain_logs();
                }
            }
        }
    }

    fn on_event(&self, event: &ClusterEvent) {
        if let ClusterEvent::ShardConfig { shard, config, .. } = event {
            self.tell(*shard, config);
        }
    }

    fn tell(&self, shard: ShardId, config: &ShardConfig) {
        for volume in &self.shared.volumes {
            let Some(replica) = self.copy_of(shard, volume.id, config) else { continue };
            let known = replica.lock().core.config().map(|config| config.epoch);
            if known.is_none_or(|known| known < config.epoch) {
                replica.step(&self.shared, Input::Config { config: config.clone(), quorum: false });
            }
        }
    }

    /// The copy here of a shard with this configuration. What a split has made is one only if it is the split that has
    /// brought the shard about: others of the same id were called off.
    fn copy_of(&self, shard: ShardId, volume: VolumeId, config: &ShardConfig) -> Option<Arc<Replica>> {
        let of_split = |birth: &Birth| birth.epoch.next() == config.epoch && birth.range.start == config.range.start;
        let replica = self.shared.replica(shard, volume)?;
        let is_copy = replica.lock().birth.as_ref().is_none_or(of_split);
        is_copy.then_some(replica)
    }

    async fn follow_view(&mut self) {
        let view = self.shared.cluster().view();
        self.shared.peers.follow_view(&self.shared, &view);
        self.make_missing(&view);
        for (shard, seen) in &view.shards {
            self.tell(*shard, &seen.value);
        }
        self.drop_unplaced(&view).await;
        self.refresh_routes(&view);
    }

    fn make_missing(&mut self, view: &View) {
        let mut missing = BTreeMap::new();
        for (shard, seen) in &view.shards {
            let config = &seen.value;
            let placement = view.placements.get(shard).map(|placement| &placement.value);
            for volume in &self.shared.volumes {
                let placed = placement.is_some_and(|placement| placement.replicas.contains(&volume.id));
                let in_sync = config.is_in_sync(volume.id);
                if !(placed || in_sync) || self.copy_of(*shard, volume.id, config).is_some() {
                    continue;
                }
                let first = config.epoch.0 == 1;
                let key = (*shard, volume.id);
                let since = *self.missing.get(&key).unwrap_or(&Instant::now());
                if in_sync && !first && since.elapsed() < MISSING_GRACE {
                    missing.insert(key, since);
                    continue;
                }
                let void = in_sync && !first;
                if void {
                    warn!(%shard, folder = %volume.folder, "copy counts as in sync but is not here: it starts over");
                }
                if let Some(left_over) = self.shared.replica(*shard, volume.id) {
                    empty_volume(&self.shared, &left_over, "left over from a split that was called off");
                }
                let replica = self.shared.make_empty(*shard, volume, void);
                replica.step(&self.shared, Input::Config { config: config.clone(), quorum: false });
            }
        }
        self.missing = missing;
    }

    async fn drop_unplaced(&mut self, view: &View) {
        if !view.connected {
            return;
        }
        let mut unplaced = BTreeMap::new();
        for ((shard, volume), replica) in self.shared.replicas().iter() {
            let placed = view.placements.get(shard).is_some_and(|placement| placement.value.replicas.contains(volume));
            let seen = view.shards.get(shard).is_some_and(|config| config.value.is_in_sync(*volume));
            let (known, birth) = {
                let state = replica.lock();
                (state.core.config().is_some_and(|config| config.is_in_sync(*volume)), state.birth.clone())
            };
            // Until the parent's epoch is above that of the split, it may still come about.
            let decided =
                |birth: &Birth| view.shards.get(&birth.parent).is_none_or(|parent| parent.value.epoch > birth.epoch);
            let key = (*shard, *volume);
            let since = *self.unplaced.get(&key).unwrap_or(&Instant::now());
            let kept = placed || seen || known && view.shards.contains_key(shard);
            if kept || !birth.as_ref().is_none_or(decided) {
                continue;
            }
            if since.elapsed() < UNPLACED_GRACE {
                unplaced.insert(key, since);
                continue;
            }
            self.drop_copy(replica).await;
        }
        self.unplaced = unplaced;
    }

    /// Empties a copy that is not wanted any more. What stays on the volume is that it is void: should a join that was in
    /// flight still make it a member, it would count as lost, not as empty.
    async fn drop_copy(&self, replica: &Arc<Replica>) {
        let shard = replica.shard;
        let gone = match self.shared.cluster().quorum_read(shard).await {
            Ok(config) if config.is_in_sync(replica.volume.id) => return,
            Ok(_) => false,
            Err(kv_cluster::Error::NoShard(_)) => true,
            Err(_) => return,
        };
        info!(%shard, folder = %replica.volume.folder, "copy is not placed here any more: dropped");
        let emptied = empty_volume(&self.shared, replica, "dropped");
        if emptied
            && gone
            && let Err(refused) = replica.volume.volume.forget(shard)
        {
            self.shared.fatal(format!("the log took no record: {refused}"));
        }
    }

    /// Makes a damaged copy anew from the others: empty, and void until it has left the ISR. **\[P\]**
    fn rebuild(&self, replica: &Arc<Replica>, why: &str) {
        warn!(shard = %replica.shard, folder = %replica.volume.folder, why, "copy is rebuilt from its peers");
        let config = replica.lock().core.config().cloned();
        if !empty_volume(&self.shared, replica, why) {
            return;
        }
        let anew = self.shared.make_empty(replica.shard, &replica.volume, true);
        if let Some(config) = config {
            anew.step(&self.shared, Input::Config { config, quorum: false });
        }
    }

    /// A learner is brought up to date from the log as long as it reaches back to where the learner is.
    fn retain_logs(&self) {
        for replica in self.shared.replicas().values() {
            let needed_from = replica.lock().core.needed_from();
            replica.volume.volume.retain_from(replica.shard, needed_from);
        }
    }

    fn refresh_routes(&self, view: &View) {
        let routes = Routes::new(view, &self.shared.replicas(), &self.shared.known_configs());
        *self.shared.routes.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(routes);
    }
}

/// Ends a copy and empties its place on the volume: void stays behind. Not if another copy has taken its place meanwhile; says whether.
pub(super) fn empty_volume(shared: &Arc<Shared>, replica: &Arc<Replica>, why: &str) -> bool {
    let (shard, volume) = (replica.shard, &replica.volume);
    let mut removed = None;
    shared.edit_replicas(|replicas| {
        let key = (shard, volume.id);
        if replicas.get(&key).is_some_and(|there| Arc::ptr_eq(there, replica)) {
            removed = replicas.remove(&key);
        }
    });
    if removed.is_none() {
        return false;
    }
    let mut state = replica.lock();
    state.broken.get_or_insert_with(|| why.to_owned());
    replica.set_leads(false);
    state.machine = Machine::new(shard, shared.limits, kv_replication::apply::Sessions::default());
    let void = kv_storage::ReplicaState { void: true, ..volume.state_of(shard) };
    let handed = volume.volume.put_state(shard, void);
    let handed = handed.and_then(|_| volume.volume.reset(shard, EntryId::ZERO, &EpochHistory::default()));
    if let Err(refused) = handed {
        shared.fatal(format!("the log took no record: {refused}"));
    }
    let mut batch = kv_storage::Batch::default();
    batch.delete(kv_storage::rows::applied_key(shard));
    if let Err(error) = volume.volume.table().write(batch) {
        warn!(%shard, %error, "applied row was not deleted");
    }
    delete_rows(shared, replica);
    true
}
