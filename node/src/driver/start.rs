//! How a driver starts and stops.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use kv_cluster::{Bootstrap, BoottimeClock, Cluster, ClusterOptions, ControlOptions};
use kv_replication::{
    apply::Machine,
    core::{Recovered as RecoveredCore, Settings},
};
use kv_storage::{
    BindError, LeftOver, OpenError, Recovered, RecoveredReplica, Space, TableError, Volume, VolumeEvent, VolumeOptions,
    block_cache,
};
use kv_types::{EntryId, Folder, Limits, NodeName};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    Driver, expiry, flusher, left_over,
    manager::Manager,
    peers::Peers,
    replica::{Replica, Start},
    shared::Shared,
    sizes, splitter,
    state_machine::load_sessions,
    volumes::OpenVolume,
    world::World,
};

/// Bytes of table blocks in memory, shared by the two volumes.
const BLOCK_CACHE_BYTES: u64 = 32 << 20;
/// How long a stopping node waits until no primary counts on its copies any more, so that no write waits for a node that
/// is gone.
const LEAVE_LIMIT: Duration = Duration::from_millis(1500);
/// Shards are told apart by size in steps of such a part of the size at which they are split.
const SIZES_TOLD_APART: u64 = 16;
/// How often it looks.
const LEFT_POLL: Duration = Duration::from_millis(5);
/// How long a stopping node hands over what it leads, at most.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(15);
/// How long a starting node waits for another process that still has its volumes, and how often it looks.
const FORMER_PROCESS_LIMIT: Duration = Duration::from_secs(10);
const FORMER_PROCESS_POLL: Duration = Duration::from_millis(50);

/// What a driver needs.
#[derive(Clone)]
pub struct DriverOptions {
    /// This node.
    pub node: NodeName,
    /// ZooKeeper, `host:port,host:port/root`.
    pub zookeeper: String,
    /// Where peers and clients reach this node, `host:port`.
    pub advertise: String,
    /// Folder of the `data` volume.
    pub data: PathBuf,
    /// Folder of the `bkpdata` volume.
    pub bkpdata: PathBuf,
    /// Where the node stands.
    pub zone: Option<String>,
    /// Session timeout T.
    pub session_timeout: Duration,
    /// How the cluster begins, if this is its first node.
    pub bootstrap: Bootstrap,
    /// A node that stays away longer is replaced.
    pub rehome_after: Duration,
    /// Bounds on requests; the same on every node.
    pub limits: Limits,
    /// Size of a segment of the log in bytes.
    pub segment_bytes: u64,
    /// Bytes of log that are kept at least, per volume.
    pub log_retention: u64,
    /// Size at which a memtable is written to the disk, in bytes.
    pub memtable_bytes: u64,
    /// A shard that is larger is split, in bytes.
    pub split_bytes: u64,
}

/// Why a node can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A volume can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A volume is of another cluster.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The two volumes are of different clusters.
    #[error("the data volume belongs to cluster {data}, the bkpdata volume to {bkpdata}: give the volumes of one node")]
    TwoClusters {
        /// UUID on `data`.
        data: Uuid,
        /// UUID on `bkpdata`.
        bkpdata: Uuid,
    },
    /// ZooKeeper refuses, or a setting is out of bounds.
    #[error(transparent)]
    Cluster(#[from] kv_cluster::Error),
    /// A table can't be read.
    #[error("the table of {folder} can't be read")]
    Table {
        /// Which volume.
        folder: Folder,
        /// Why.
        source: TableError,
    },
    /// The threads of a volume can't be started.
    #[error("the threads of a volume can't be started")]
    Threads(#[source] std::io::Error),
}

/// A running driver's tasks.
pub struct Running {
    driver: Driver,
    tasks: Vec<JoinHandle<()>>,
}

impl Driver {
    /// Opens the volumes, finds the cluster (waiting for ZooKeeper as long as it takes) and takes up the copies. The node
    /// is not registered yet: serve first, then [`Running::register`].
    ///
    /// # Errors
    /// [`StartError`] says what is wrong and what to do.
    pub async fn start(options: DriverOptions) -> Result<Running, StartError> {
        let cache = block_cache(BLOCK_CACHE_BYTES);
        let volume_options = VolumeOptions {
            segment_bytes: options.segment_bytes,
            log_retention: options.log_retention,
            memtable_bytes: options.memtable_bytes,
            // The core bounds what is not committed; the log's own queue is only a last resort.
            queue_bytes: 1 << 30,
            block_cache: cache,
            ..VolumeOptions::default()
        };
        let open = async |path: &PathBuf, folder| {
            freed(|| Volume::open(path, folder, &options.node, volume_options.clone())).await
        };
        let (data, on_data) = open(&options.data, Folder::Data).await?;
        let (bkpdata, on_bkpdata) = open(&options.bkpdata, Folder::Bkpdata).await?;
        let belongs_to = match (data.identity().cluster, bkpdata.identity().cluster) {
            (Some(data), Some(bkpdata)) if data != bkpdata => return Err(StartError::TwoClusters { data, bkpdata }),
            (data, bkpdata) => data.or(bkpdata),
        };

        let cluster_options = ClusterOptions {
            connect: options.zookeeper.clone(),
            node: options.node.clone(),
            address: options.advertise,
            data: data.id(),
            bkpdata: bkpdata.id(),
            cluster: belongs_to,
            zone: options.zone,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            session_timeout: options.session_timeout,
            bootstrap: options.bootstrap,
            control: ControlOptions {
                rehome_after: options.rehome_after,
                weight_bytes: options.split_bytes / SIZES_TOLD_APART,
                ..ControlOptions::default()
            },
            clock: Arc::new(BoottimeClock),
        };
        let (cluster, events) = Cluster::start(cluster_options).await?;
        data.bind_cluster(cluster.cluster_uuid())?;
        bkpdata.bind_cluster(cluster.cluster_uuid())?;

        let mut settings = Settings::new(Duration::from_millis(cluster.config().lease_millis));
        settings.min_in_sync = cluster.config().min_in_sync_copies;
        let volumes = [
            OpenVolume::new(data.id(), Folder::Data, data, on_data.last_space),
            OpenVolume::new(bkpdata.id(), Folder::Bkpdata, bkpdata, on_bkpdata.last_space),
        ];
        let (rebuilds, rebuilt) = mpsc::unbounded_channel();
        // Above the last one that is on the volumes, and above what may have been used and not been written: the wall clock
        // would have to be set back behind the last start while a crash takes the record of it.
        let recorded =
            on_data.replicas.iter().chain(&on_bkpdata.replicas).map(|replica| replica.state.incarnation).max();
        let last_incarnation = recorded.unwrap_or(0).max(super::wall_clock_millis() * 1000);
        let shared = Arc::new(Shared::new(
            options.node,
            options.zookeeper,
            options.limits,
            settings,
            volumes.clone(),
            Peers::default(),
            rebuilds,
            last_incarnation,
        ));
        shared.join(cluster);
        let mut tasks = Vec::new();
        for (volume, recovered) in volumes.iter().zip([on_data, on_bkpdata]) {
            if let Some(why) = &recovered.torn_tail {
                warn!(folder = %volume.folder, why, "a torn write was cut from the log");
            }
            tasks.push(tokio::spawn(left_over::run(Arc::clone(volume), take_up(&shared, volume, recovered)?)));
            tasks.push(watch_volume(&shared, volume)?);
        }
        let driver = Self { shared: Arc::clone(&shared) };
        tasks.push(tokio::spawn(Manager::new(Arc::clone(&shared), events, rebuilt).run()));
        tasks.push(tokio::spawn(World::new(Arc::clone(&shared)).run()));
        tasks.push(tokio::spawn(expiry::run(shared)));
        tasks.push(tokio::spawn(splitter::run(driver.clone(), options.split_bytes)));
        tasks.push(tokio::spawn(sizes::run(driver.clone())));
        tasks.push(tokio::spawn(flusher::run(driver.clone())));
        Ok(Running { driver, tasks })
    }
}

/// What `open` opens, as soon as no other process has it any more: the node's former one may be about to end.
async fn freed<T>(open: impl Fn() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let until = Instant::now() + FORMER_PROCESS_LIMIT;
    let mut told = false;
    loop {
        match open() {
            Err(error @ OpenError::InUse(_)) if Instant::now() < until => {
                if !std::mem::replace(&mut told, true) {
                    warn!(%error, limit = ?FORMER_PROCESS_LIMIT, "waiting for another process to end");
                }
                tokio::time::sleep(FORMER_PROCESS_POLL).await;
            }
            opened => return opened,
        }
    }
}

impl Running {
    /// The driver.
    #[must_use]
    pub const fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Makes the node a member. Its address must be served by now.
    ///
    /// # Errors
    /// If the cluster is shut down.
    pub async fn register(&self) -> Result<(), StartError> {
        Ok(self.driver.cluster().register().await?)
    }

    /// Hands over what the node leads, leaves the cluster (the master's role last), and closes the volumes.
    pub async fn stop(self) {
        let Self { driver, tasks } = self;
        driver.shared.leaving.store(true, std::sync::atomic::Ordering::Release);
        match timeout(HAND_OVER_LIMIT, driver.hand_over_all()).await {
            Ok(0) => info!("all shards are handed over"),
            Ok(left) => warn!(left, "shards without another copy in sync were not handed over"),
            Err(_) => warn!("not all shards were handed over in time"),
        }
        let left = async {
            while driver.is_counted_on() {
                tokio::time::sleep(LEFT_POLL).await;
            }
        };
        if timeout(LEAVE_LIMIT, left).await.is_err() {
            info!("other nodes still count on copies here: their primaries remove them soon");
        }
        if let Err(error) = driver.cluster().shutdown().await {
            warn!(%error, "the node's entry goes with its session");
        }
        for task in &tasks {
            task.abort();
        }
        let volumes = driver.shared.volumes.clone();
        let closed = tokio::task::spawn_blocking(move || {
            for volume in &volumes {
                if let Err(error) = volume.volume.table().flush() {
                    warn!(folder = %volume.folder, %error, "table was not flushed: the log is replayed at the next start");
                }
                volume.volume.table().close();
            }
        });
        let _ = closed.await;
    }
}

/// Makes the copies that lie on a volume, and says which rows are of none of them.
pub(super) fn take_up(
    shared: &Arc<Shared>,
    volume: &Arc<OpenVolume>,
    recovered: Recovered,
) -> Result<LeftOver, StartError> {
    let mut spaces = BTreeSet::new();
    for replica in recovered.replicas {
        spaces.insert(take_up_copy(shared, volume, replica)?);
    }
    Ok(volume.volume.left_over(spaces, recovered.last_space))
}

/// Returns the copy's space.
fn take_up_copy(shared: &Arc<Shared>, volume: &Arc<OpenVolume>, found: RecoveredReplica) -> Result<Space, StartError> {
    let RecoveredReplica { shard, mut state, damage, history, first_seq: _, applied, tail } = found;
    if let Some(why) = damage {
        warn!(%shard, folder = %volume.folder, why, "copy is damaged: it starts over from its peers");
    }
    // Where nothing is applied, what lies in the space is of what the copy was before, or of a snapshot that was interrupted:
    // entries applied on top of it would be taken for repeated.
    if state.space == Space(0) || applied == EntryId::ZERO {
        state.space = volume.new_space();
        if let Err(refused) = volume.volume.put_state(shard, state.clone()) {
            shared.fatal(format!("the log took no record: {refused}"));
        }
    }
    let space = state.space;
    let sessions = load_sessions(&**volume.volume.table(), space, shard)
        .map_err(|source| StartError::Table { folder: volume.folder, source })?;
    let recovered = RecoveredCore {
        promised: state.promised,
        lineage: state.lineage,
        history,
        applied: applied.seq,
        tail,
        void: state.void,
        torn: state.torn,
    };
    let core = shared.recovered_core(volume.id, recovered);
    let machine = Machine::new(shard, shared.limits, sessions);
    let start = Start { space, applied, config: state.config, birth: state.birth };
    let replica = Replica::new(shard, Arc::clone(volume), core, machine, start);
    shared.edit_replicas(|replicas| drop(replicas.insert((shard, volume.id), replica)));
    Ok(space)
}

/// Starts the volume's writer; what it has made durable is told to the copies by a task of the runtime, so that the writer
/// only writes.
fn watch_volume(shared: &Arc<Shared>, volume: &Arc<OpenVolume>) -> Result<JoinHandle<()>, StartError> {
    let syncs = Arc::clone(&volume.syncs);
    let handler_shared = Arc::downgrade(shared);
    let folder = volume.folder;
    let handler = move |event| match event {
        VolumeEvent::Durable(ticket) => syncs.durable(ticket),
        VolumeEvent::Full => warn!(%folder, "the disk is full: writes are refused until there is room"),
        VolumeEvent::Room => info!(%folder, "there is room on the disk again"),
        VolumeEvent::Persisted => {}
        VolumeEvent::TableDamaged(why) | VolumeEvent::Fatal(why) => {
            if let Some(shared) = handler_shared.upgrade() {
                shared.fatal(format!("{folder}: {why}"));
            }
        }
    };
    volume.volume.start(Box::new(handler)).map_err(StartError::Threads)?;
    let (shared, volume) = (Arc::clone(shared), Arc::clone(volume));
    Ok(tokio::spawn(async move {
        loop {
            let (durable, shards) = volume.syncs.next().await;
            let replicas = shared.replicas();
            for replica in shards.iter().filter_map(|shard| replicas.get(&(*shard, volume.id))) {
                replica.lock().on_durable(&shared, replica, durable);
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn volumes_that_are_still_in_use_are_waited_for_and_nothing_else_is() {
        let opened = Cell::new(0);
        let open = |error: fn(PathBuf) -> OpenError| {
            opened.set(opened.get() + 1);
            if opened.get() < 3 { Err(error("/data".into())) } else { Ok(opened.get()) }
        };
        assert!(matches!(freed(|| open(OpenError::InUse)).await, Ok(3)));
        opened.set(0);
        assert!(matches!(freed(|| open(OpenError::NotAVolume)).await, Err(OpenError::NotAVolume(_))));
    }
}
