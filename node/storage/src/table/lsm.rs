use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kv_types::KeyRange;
use lsm_tree::{AbstractTree as _, AnyTree, SeqNo, SequenceNumberCounter};

use super::{
    Batch, Pressure, Snapshot, Table, TableError, TableEvent, TableStats,
    fences::Fences,
    manifest,
    memtable::{BatchNumber, Memtable},
    row_key::RowKey,
    snapshot::LsmSnapshot,
    stored::Newest,
    worker,
};
use crate::{disk::sync_folder, lock, read, write};

/// Frozen memtables at which the table says [`Pressure::Slow`] and [`Pressure::Stop`].
const FROZEN: [u64; 2] = [3, 6];

/// The same for runs that wait to be merged.
const RUNS: [u64; 2] = [12, 24];

/// Bounds of a table.
#[derive(Clone)]
pub struct LsmOptions {
    /// Size at which a memtable is written to the disk, in bytes.
    pub memtable_bytes: u64,
    /// So long without a write, and what is in memory is written to the disk.
    pub idle_flush: Duration,
    /// For blocks read from the disk; may be shared.
    pub block_cache: Arc<lsm_tree::Cache>,
}

/// Own memtables over the sorted tables of `lsm_tree`.
pub(crate) struct LsmTable {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

pub(super) struct Shared {
    pub(super) tree: AnyTree,
    pub(super) folder: PathBuf,
    pub(super) options: LsmOptions,
    /// For reads that don't wait for the tree.
    newest: RwLock<Newest>,
    fences: Fences,
    pub(super) visible: SequenceNumberCounter,
    pub(super) memory: RwLock<Memory>,
    pub(super) writes: Mutex<Writes>,
    pub(super) progress: Mutex<Progress>,
    pub(super) progressed: Condvar,
    events: Box<dyn Fn(TableEvent) + Send + Sync>,
    failed: AtomicBool,
    frozen: AtomicU64,
    pub(super) compactions: AtomicU64,
    pub(super) flushes: AtomicU64,
}

pub(super) struct Memory {
    pub(super) active: Arc<Memtable>,
    /// Oldest first, with the last batch in each.
    pub(super) frozen: VecDeque<(Arc<Memtable>, BatchNumber)>,
}

pub(super) struct Writes {
    pub(super) last: BatchNumber,
    at: Instant,
    /// Open snapshots, by batch and by what they see of the tree.
    pub(super) open: BTreeMap<BatchNumber, usize>,
    pub(super) pinned: BTreeMap<SeqNo, usize>,
}

#[derive(Default)]
pub(super) struct Progress {
    /// All batches up to this one are on the disk.
    pub(super) persisted: BatchNumber,
    /// Somebody waits for this one.
    pub(super) wanted: BatchNumber,
    pub(super) stop: Stop,
    pub(super) compact: bool,
    pub(super) failure: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stop {
    #[default]
    Running,
    AfterFlush,
    AtOnce,
}

impl LsmTable {
    /// Opens the table in `folder`, or makes a new one. `events` is called by the table's own threads and by readers.
    pub(crate) fn open(
        folder: &Path,
        options: LsmOptions,
        events: Box<dyn Fn(TableEvent) + Send + Sync>,
    ) -> Result<Self, TableError> {
        if marker(folder).exists() {
            return Err(TableError::Corrupt("it was found damaged when it was read".into()));
        }
        manifest::check(folder)?;
        let (seqno, visible) = (SequenceNumberCounter::default(), SequenceNumberCounter::default());
        let tree = lsm_tree::Config::new(folder, seqno.clone(), visible.clone())
            .use_cache(options.block_cache.clone())
            .open()
            .map_err(|error| match error {
                lsm_tree::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                    TableError::Corrupt(format!("a file is missing: {error}"))
                }
                other => other.into(),
            })?;
        // Never again a number that is in use: what the collector has passed must not come back.
        let next = tree.get_highest_persisted_seqno().map_or(1, |highest| highest + 1);
        seqno.set(next);
        visible.set(next);
        let shared = Arc::new(Shared {
            newest: RwLock::new(Newest::of(&tree)),
            fences: Fences::default(),
            tree,
            folder: folder.to_owned(),
            options,
            visible,
            memory: RwLock::new(Memory { active: Arc::default(), frozen: VecDeque::new() }),
            writes: Mutex::new(Writes { last: 0, at: Instant::now(), open: BTreeMap::new(), pinned: BTreeMap::new() }),
            progress: Mutex::default(),
            progressed: Condvar::new(),
            events,
            failed: AtomicBool::new(false),
            frozen: AtomicU64::new(0),
            compactions: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
        });
        let threads = worker::spawn(&shared)?;
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    fn stop(&self, how: Stop) {
        {
            let mut progress = lock(&self.shared.progress);
            if progress.stop == Stop::Running {
                progress.stop = how;
            }
        }
        self.shared.progressed.notify_all();
        for thread in lock(&self.threads).drain(..) {
            // A panic was reported where it happened.
            let _ = thread.join();
        }
    }
}

impl Table for LsmTable {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, TableError> {
        let row = RowKey::from(key);
        let memory = read(&self.shared.memory);
        let newest_first =
            std::iter::once(&memory.active).chain(memory.frozen.iter().rev().map(|(memtable, _)| memtable));
        if let Some(value) = newest_first.filter_map(|memtable| memtable.get(&row, BatchNumber::MAX)).next() {
            return Ok(value);
        }
        drop(memory);
        self.shared.stored(key)
    }

    fn write(&self, batch: Batch) -> Result<Pressure, TableError> {
        if self.shared.failed.load(Ordering::Acquire) {
            let why = lock(&self.shared.progress).failure.clone();
            return Err(TableError::Stopped(why.unwrap_or_default()));
        }
        batch.check()?;
        let mut writes = lock(&self.shared.writes);
        writes.last += 1;
        writes.at = Instant::now();
        let newest_open = writes.open.last_key_value().map(|(batch, _)| *batch);
        let active = read(&self.shared.memory).active.clone();
        active.apply(batch, writes.last, newest_open);
        if active.bytes() >= self.shared.options.memtable_bytes {
            self.shared.freeze(&writes);
            drop(writes);
            self.shared.progressed.notify_all();
        }
        Ok(self.pressure())
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        Box::new(LsmSnapshot::open(&self.shared))
    }

    fn approximate_size(&self, range: &KeyRange) -> u64 {
        let memtables: Vec<Arc<Memtable>> = {
            let memory = read(&self.shared.memory);
            let frozen = memory.frozen.iter().map(|(memtable, _)| memtable);
            std::iter::once(&memory.active).chain(frozen).cloned().collect()
        };
        let in_memory: u64 = memtables.iter().map(|memtable| memtable.size(range)).sum();
        let version = self.shared.tree.current_version();
        let on_disk = version.iter_tables().map(|table| {
            let (first, last) = (table.metadata.key_range.min(), table.metadata.key_range.max());
            let below = range.end.as_ref().is_some_and(|end| end.as_ref() <= first.as_ref());
            if below || last.as_ref() < range.start.as_ref() {
                return 0;
            }
            if range.contains(first) && range.contains(last) {
                return table.metadata.file_size;
            }
            // Damage is found and told when rows are read.
            self.shared.fences.size(table, range).unwrap_or(table.metadata.file_size / 2)
        });
        let on_disk: u64 = on_disk.sum();
        self.shared.fences.retain(&version.iter_tables().map(lsm_tree::Table::id).collect::<BTreeSet<_>>());
        in_memory + on_disk
    }

    fn flush(&self) -> Result<(), TableError> {
        let target = lock(&self.shared.writes).last;
        let mut progress = lock(&self.shared.progress);
        progress.wanted = progress.wanted.max(target);
        self.shared.progressed.notify_all();
        let waiting = |progress: &mut Progress| {
            progress.persisted < target && progress.failure.is_none() && progress.stop != Stop::AtOnce
        };
        let progress = self.shared.progressed.wait_while(progress, waiting).unwrap_or_else(PoisonError::into_inner);
        if progress.persisted >= target {
            return Ok(());
        }
        Err(TableError::Stopped(progress.failure.clone().unwrap_or_else(|| "it was closed".into())))
    }

    fn get_persisted(&self, key: &[u8]) -> Result<Option<Bytes>, TableError> {
        self.shared.stored(key)
    }

    fn pressure(&self) -> Pressure {
        let level = |value: u64, [slow, stop]: [u64; 2]| match value {
            value if value >= stop => Pressure::Stop,
            value if value >= slow => Pressure::Slow,
            _ => Pressure::None,
        };
        let frozen = self.shared.frozen.load(Ordering::Relaxed);
        level(frozen, FROZEN).max(level(read(&self.shared.newest).runs, RUNS))
    }

    fn stats(&self) -> TableStats {
        let memory = read(&self.shared.memory);
        let frozen_bytes: u64 = memory.frozen.iter().map(|(memtable, _)| memtable.bytes()).sum();
        let memory_bytes = memory.active.bytes() + frozen_bytes;
        drop(memory);
        TableStats {
            memory_bytes,
            disk_bytes: self.shared.tree.disk_space(),
            frozen: self.shared.frozen.load(Ordering::Relaxed),
            runs: read(&self.shared.newest).runs,
            flushes: self.shared.flushes.load(Ordering::Relaxed),
            compactions: self.shared.compactions.load(Ordering::Relaxed),
        }
    }

    fn close(&self) {
        self.stop(Stop::AfterFlush);
    }
}

/// Without [`Table::close`] what is in memory is left to the log, as by a crash.
impl Drop for LsmTable {
    fn drop(&mut self) {
        self.stop(Stop::AtOnce);
    }
}

impl Shared {
    fn stored(&self, key: &[u8]) -> Result<Option<Bytes>, TableError> {
        let reader = read(&self.newest).reader.clone();
        reader(key).map_err(|error| self.found(error.into()))
    }

    /// The tree has another version.
    pub(super) fn refresh(&self) {
        let found = Newest::of(&self.tree);
        // Bound to a name, so that it outlives the lock.
        let older = write(&self.newest).renew(found);
        drop(older);
    }

    /// Puts the active memtable among those to be written.
    fn freeze(&self, writes: &Writes) {
        let mut memory = write(&self.memory);
        let active = std::mem::take(&mut memory.active);
        memory.frozen.push_back((active, writes.last));
        self.frozen.store(memory.frozen.len() as u64, Ordering::Relaxed);
    }

    /// Freezes the active memtable if it holds something and has been left alone for `idle`.
    pub(super) fn freeze_idle(&self, idle: Duration) {
        let writes = lock(&self.writes);
        if writes.at.elapsed() >= idle && !read(&self.memory).active.is_empty() {
            self.freeze(&writes);
        }
    }

    /// If nothing is in memory, then all that was ever written is on the disk.
    pub(super) fn settle(&self) {
        let writes = lock(&self.writes);
        let memory = read(&self.memory);
        if memory.frozen.is_empty() && memory.active.is_empty() {
            lock(&self.progress).persisted = writes.last;
            self.progressed.notify_all();
        }
    }

    /// The oldest frozen memtable has been written.
    pub(super) fn thaw(&self, last: BatchNumber) {
        let mut memory = write(&self.memory);
        memory.frozen.pop_front();
        self.frozen.store(memory.frozen.len() as u64, Ordering::Relaxed);
        drop(memory);
        self.flushes.fetch_add(1, Ordering::Relaxed);
        let mut progress = lock(&self.progress);
        progress.persisted = last;
        progress.compact = true;
        drop(progress);
        self.progressed.notify_all();
        self.tell(TableEvent::Persisted);
    }

    /// Below this number nobody reads older versions.
    pub(super) fn watermark(&self) -> SeqNo {
        let writes = lock(&self.writes);
        writes.pinned.first_key_value().map_or_else(|| self.visible.get(), |(seqno, _)| *seqno)
    }

    pub(super) fn tell(&self, event: TableEvent) {
        (self.events)(event);
    }

    /// Marks damage on the disk, so that the next start makes the copy anew even if it is not read there again.
    pub(super) fn found(&self, error: TableError) -> TableError {
        if let TableError::Corrupt(why) = &error
            && !self.failed.swap(true, Ordering::AcqRel)
        {
            tracing::error!(folder = %self.folder.display(), %error, "the table is damaged");
            let marked = fs::write(marker(&self.folder), why).and_then(|()| match self.folder.parent() {
                Some(parent) => sync_folder(parent),
                None => Ok(()),
            });
            if let Err(error) = marked {
                tracing::error!(%error, "the damage could not be marked on the disk");
            }
            self.stop_with(why);
            self.tell(TableEvent::Corrupt(why.clone()));
        }
        error
    }

    /// The disk failed.
    pub(super) fn fatal(&self, why: String) {
        tracing::error!(folder = %self.folder.display(), why, "the table's disk failed");
        self.failed.store(true, Ordering::Release);
        self.stop_with(&why);
        self.tell(TableEvent::Fatal(why));
    }

    fn stop_with(&self, why: &str) {
        lock(&self.progress).failure.get_or_insert_with(|| why.to_owned());
        self.progressed.notify_all();
    }
}

/// Beside the table: says that it was found damaged.
pub(crate) fn marker(folder: &Path) -> PathBuf {
    folder.with_extension("damaged")
}
