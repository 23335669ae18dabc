//! A volume: identity, log and table of one folder, and what a start makes of them.

mod identity;
mod left_over;
mod options;
mod recovery;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};

use kv_types::{Entry, EntryId, EpochHistory, Folder, NodeName, Seq, ShardId, VolumeId};
use uuid::Uuid;

use crate::{
    LogStats, ReadError, Refused, ReplicaState, Table, Ticket,
    disk::RealDisk,
    lock,
    log::{Held, Log, Replay},
    rows,
    table::{LsmTable, TableEvent, TableStats},
};
use identity::Locked;

#[cfg(any(test, fuzzing))]
pub use identity::fuzz::identity;
pub use identity::{BindError, Identity, OpenError};
pub use left_over::LeftOver;
pub use options::{VolumeOptions, block_cache};
pub use recovery::{Recovered, RecoveredReplica};

/// What a volume tells by itself, on threads of its own: a handler must not wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeEvent {
    /// All that was handed over up to this ticket is on the disk.
    Durable(Ticket),
    /// The disk is full: accept no writes. What was accepted has its room.
    Full,
    /// There is room again.
    Room,
    /// More of the table is on the disk.
    Persisted,
    /// The table was found damaged: the process must be started anew, which makes its copies anew from others.
    TableDamaged(String),
    /// The disk failed. Nobody knows what is on it: the process must stop.
    Fatal(String),
}

/// What a volume holds and has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeStats {
    /// Of the log.
    pub log: LogStats,
    /// Of the table.
    pub table: TableStats,
}

/// One open folder. All calls may come from any thread; only those that say so wait for the disk.
pub struct Volume {
    locked: Mutex<Locked>,
    log: Arc<Log>,
    table: Arc<dyn Table>,
    relay: Arc<Relay>,
}

type Handler = Box<dyn Fn(VolumeEvent) + Send + Sync>;

/// Takes events from log and table to the handler, which comes last.
#[derive(Default)]
struct Relay {
    handler: OnceLock<Handler>,
    log: OnceLock<Arc<Log>>,
    /// Events before there was a handler.
    early: Mutex<Vec<VolumeEvent>>,
}

impl Volume {
    /// Opens `path`, made if it is not there, as the `folder` of `node`, and recovers what is on it. Waits for the disk.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the volume and what can be done. Damage to single copies is none: it is in
    /// [`Recovered`].
    pub fn open(
        path: &Path,
        folder: Folder,
        node: &NodeName,
        options: VolumeOptions,
    ) -> Result<(Self, Recovered), OpenError> {
        options.check()?;
        let locked = Locked::open(path, folder, node)?;
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let disk = RealDisk::open(&path.join("log")).map_err(failed)?;
        let replay = Replay::read(&disk, locked.identity().volume).map_err(|error| OpenError::of_log(path, error))?;
        let relay = Arc::new(Relay::default());
        let (table, table_damage) = open_table(path, &options, &relay)?;
        let plan = recovery::plan(path, &replay, &table, table_damage)?;
        let log_options = options.log();
        let log = Log::open(Arc::new(disk), locked.identity().volume, log_options, replay, plan.amendments)
            .map_err(failed)?;
        let recovered = recovery::finish(path, &log, plan.replicas)?;
        let log = Arc::new(log);
        // Set once, here.
        let _ = relay.log.set(log.clone());
        Ok((Self { locked: Mutex::new(locked), log, table: Arc::new(table), relay }, recovered))
    }

    /// What the volume is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        lock(&self.locked).identity().clone()
    }

    /// The volume's UUID.
    #[must_use]
    pub fn id(&self) -> VolumeId {
        lock(&self.locked).identity().volume
    }

    /// Makes the volume one of this cluster, for ever. Waits for the disk.
    ///
    /// # Errors
    /// [`BindError`] if it is of another cluster, or can't be written.
    pub fn bind_cluster(&self, cluster: Uuid) -> Result<(), BindError> {
        lock(&self.locked).bind_cluster(cluster)
    }

    /// Starts to write. What was handed over before is written then. Only the first call counts.
    ///
    /// # Errors
    /// If threads can't be started.
    pub fn start(&self, events: Handler) -> io::Result<()> {
        if self.relay.handler.set(events).is_err() {
            return Ok(());
        }
        for event in std::mem::take(&mut *lock(&self.relay.early)) {
            self.relay.tell(event);
        }
        let relay = self.relay.clone();
        let relay_of_log = self.relay.clone();
        let table = self.table.clone();
        let persisted = move |shard| {
            // What can't be read holds the log back, which is right.
            let row = table.get_persisted(&rows::applied_key(shard)).ok().flatten();
            let applied = row.and_then(|row| rows::decode_applied(&row));
            let Some((applied, space)) = applied else { return Seq(0) };
            // What lies on the disk of a copy that has started over says nothing of its new log.
            let of_copy = relay_of_log.log.get().and_then(|log| log.space(shard));
            if of_copy.is_some_and(|of_copy| recovery::is_stale(space, of_copy)) { Seq(0) } else { applied.seq }
        };
        self.log.start(&(Arc::new(move |event| relay.tell(event)) as _), Box::new(persisted))
    }

    /// What is handed over while the result lives is written in one group.
    #[must_use]
    pub fn hold(&self) -> Held<'_> {
        self.log.hold()
    }

    /// Appends entries; all or none. The order of the calls is the order in the log. An entry at or below the last seq
    /// replaces the log from there on. An empty slice is durable with what came before.
    ///
    /// # Errors
    /// [`Refused`]; then nothing has changed.
    pub fn append(&self, shard: ShardId, entries: &[Entry]) -> Result<Ticket, Refused> {
        self.log.append(shard, entries)
    }

    /// Cuts all entries above `last_kept`.
    ///
    /// # Errors
    /// [`Refused::Stopped`].
    pub fn truncate(&self, shard: ShardId, last_kept: Seq) -> Result<Ticket, Refused> {
        self.log.truncate(shard, last_kept)
    }

    /// Replaces what the replica remembers besides its log.
    ///
    /// # Errors
    /// [`Refused::Stopped`].
    pub fn put_state(&self, shard: ShardId, state: ReplicaState) -> Result<Ticket, Refused> {
        self.log.put_state(shard, state)
    }

    /// Lets the log start anew after `base`, whose history is `history`; [`EntryId::ZERO`]: empty.
    ///
    /// With another base the rows up to it must be in the table *and on the disk* ([`Table::flush`]) before; a crash
    /// finds the copy void otherwise.
    ///
    /// # Errors
    /// [`Refused::Stopped`].
    pub fn reset(&self, shard: ShardId, base: EntryId, history: &EpochHistory) -> Result<Ticket, Refused> {
        self.log.reset(shard, base, history)
    }

    /// Forgets the replica, its log and its state. Its rows in the table are the caller's.
    ///
    /// # Errors
    /// [`Refused::Stopped`].
    pub fn forget(&self, shard: ShardId) -> Result<Ticket, Refused> {
        self.log.forget(shard)
    }

    /// Whether a segment of the log is ready beyond the one being written. Ask before an entry is accepted.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.log.has_room()
    }

    /// Entries from `from` on if they are in memory, up to `max_bytes` but at least one; none of them if `from` follows the
    /// last. `None`: ask [`Self::read`].
    #[must_use]
    pub fn read_cached(&self, shard: ShardId, from: Seq, max_bytes: usize) -> Option<Vec<Entry>> {
        self.log.read_cached(shard, from, max_bytes)
    }

    /// Entries from `from` on, up to `max_bytes` but at least one; none if `from` follows the last. May wait for the disk.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::Compacted`] if the log does not reach back so far.
    pub fn read(&self, shard: ShardId, from: Seq, max_bytes: usize) -> Result<Vec<Entry>, ReadError> {
        self.log.read(shard, from, max_bytes)
    }

    /// The first seq that can be read; the one after the last if the log is empty.
    #[must_use]
    pub fn first_seq(&self, shard: ShardId) -> Seq {
        self.log.first_seq(shard)
    }

    /// The log up to the last entry handed over; `None` if the shard has no replica here.
    #[must_use]
    pub fn history(&self, shard: ShardId) -> Option<EpochHistory> {
        self.log.history(shard)
    }

    /// What each replica remembers, as last handed over.
    #[must_use]
    pub fn states(&self) -> Vec<(ShardId, ReplicaState)> {
        self.log.states()
    }

    /// Keeps the shard's entries from `seq` on for a learner, within [`VolumeOptions::max_log_retention`]; `None`: no more
    /// than usual.
    pub fn retain_from(&self, shard: ShardId, seq: Option<Seq>) {
        self.log.retain_from(shard, seq);
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Arc<dyn Table> {
        &self.table
    }

    /// What it holds and has done.
    #[must_use]
    pub fn stats(&self) -> VolumeStats {
        VolumeStats { log: self.log.stats(), table: self.table.stats() }
    }

    /// Writes what was handed over, flushes the table and stops all threads. Waits for the disk. Without it, the volume is
    /// left as by a crash.
    pub fn close(self) {
        self.log.close();
        self.table.close();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.log.close();
    }
}

impl Relay {
    fn tell(&self, event: VolumeEvent) {
        match self.handler.get() {
            Some(handler) => handler(event),
            None => lock(&self.early).push(event),
        }
    }

    fn on_table(&self, event: TableEvent) {
        let event = match event {
            TableEvent::Persisted => {
                if let Some(log) = self.log.get() {
                    log.wake_keeper();
                }
                VolumeEvent::Persisted
            }
            TableEvent::Full => VolumeEvent::Full,
            TableEvent::Room => VolumeEvent::Room,
            TableEvent::Corrupt(why) => VolumeEvent::TableDamaged(why),
            TableEvent::Fatal(why) => VolumeEvent::Fatal(why),
        };
        self.tell(event);
    }
}

/// The table, and why it is a new one if it is.
fn open_table(
    path: &Path,
    options: &VolumeOptions,
    relay: &Arc<Relay>,
) -> Result<(LsmTable, Option<String>), OpenError> {
    let folder: PathBuf = path.join("table");
    let open = || {
        let relay = relay.clone();
        LsmTable::open(&folder, options.table(), Box::new(move |event| relay.on_table(event)))
    };
    match open() {
        Ok(table) => Ok((table, None)),
        Err(crate::TableError::Corrupt(why)) => {
            tracing::error!(path = %folder.display(), why, "the table is damaged and is made anew");
            crate::table::remove(&folder).map_err(|source| OpenError::Io { path: folder.clone(), source })?;
            let table = open().map_err(|error| OpenError::of_table(&folder, error))?;
            Ok((table, Some(why)))
        }
        Err(error) => Err(OpenError::of_table(&folder, error)),
    }
}
