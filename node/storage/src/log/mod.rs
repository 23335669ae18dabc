//! The replicated log of a volume, shared by its shards: segments, one writer, recovery.
//!
//! `front` takes what is to be written and keeps the newest entries; `writer` puts it into segments, group by group;
//! `reader` finds entries again; `keeper` prepares segments and removes old ones; `replay` reads all of it at a start.

mod cache;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fault_tests;
mod front;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod index;
mod keeper;
mod parse;
mod reader;
mod record;
mod replay;
mod replicas;
mod scheduling;
mod segment;
mod state;
mod stats;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    io,
    sync::{Arc, Mutex, atomic::Ordering},
    thread::JoinHandle,
};

use kv_types::{Entry, EntryId, EpochHistory, Seq, ShardId, VolumeId};

use crate::{Space, VolumeEvent, disk::Disk, lock};
use front::Front;
pub use front::Held;
use keeper::Keeper;
use writer::Writer;

pub use reader::ReadError;
pub(crate) use record::Record;
pub(crate) use replay::{Replay, ReplayError, Replayed};
pub use replicas::Misfit;
pub use segment::FORMAT as SEGMENT_FORMAT;
pub use state::{Birth, ReplicaState};
pub use stats::{LATENCY_CLASSES, LogStats};

/// Numbers what was handed to the log of a volume, ascending in the order of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Why the log took nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too much waits to be written.
    #[error("{queued} bytes wait for the log: {bound} are allowed, retry when some are written")]
    Busy {
        /// Bytes that wait.
        queued: usize,
        /// Bound in bytes.
        bound: usize,
    },
    /// An entry doesn't continue the log.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// An entry is longer than a segment can hold.
    #[error("an entry of {length} bytes is too long for the log: at most {bound} are allowed")]
    TooLong {
        /// Length of its payload in bytes.
        length: usize,
        /// Bound in bytes.
        bound: usize,
    },
    /// The log was closed, or its disk has failed.
    #[error("the log has stopped: {0}")]
    Stopped(String),
}

/// Bounds of a log.
#[derive(Clone, Debug)]
pub(crate) struct LogOptions {
    pub(crate) segment_bytes: u64,
    pub(crate) retention_bytes: u64,
    pub(crate) max_retention_bytes: u64,
    pub(crate) cache_bytes: usize,
    pub(crate) queue_bytes: usize,
}

/// Says how far the table is on the disk: the last entry of a shard that need not be replayed.
pub(crate) type Persisted = Box<dyn Fn(ShardId) -> Seq + Send + Sync>;

/// Tells what happens.
pub(crate) type Events = Arc<dyn Fn(VolumeEvent) + Send + Sync>;

/// See the module.
pub(crate) struct Log {
    front: Arc<Front>,
    keeper: Arc<Keeper>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Until it moves to its thread.
    writer: Mutex<Option<Writer>>,
}

impl Log {
    /// Writes the end of what was replayed, and `amendments`, into a new segment. From then on all of it is durable,
    /// whatever the page cache had pretended before. Takes entries from then on, but writes none before [`Self::start`].
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        volume: VolumeId,
        options: LogOptions,
        replay: Replay,
        amendments: Vec<Record>,
    ) -> io::Result<Self> {
        let front = Arc::new(Front::new(&options));
        let keeper = Arc::new(Keeper::new(disk, volume, options, front.clone()));
        let writer = Writer::open(front.clone(), keeper.clone(), replay, amendments)?;
        Ok(Self { front, keeper, threads: Mutex::default(), writer: Mutex::new(Some(writer)) })
    }

    /// Starts the threads; a second call does nothing.
    pub(crate) fn start(&self, events: &Events, persisted: Persisted) -> io::Result<()> {
        let Some(writer) = lock(&self.writer).take() else { return Ok(()) };
        let mut threads = lock(&self.threads);
        let (keeper, told) = (self.keeper.clone(), events.clone());
        let thread = std::thread::Builder::new().name("kv-log-keeper".into());
        threads.push(thread.spawn(move || keeper.run(&told, &persisted))?);
        let events = events.clone();
        let thread = std::thread::Builder::new().name("kv-log-writer".into());
        threads.push(thread.spawn(move || {
            scheduling::push_nobody_aside();
            writer.run(&events);
        })?);
        Ok(())
    }

    pub(crate) fn append(&self, shard: ShardId, entries: &[Entry]) -> Result<Ticket, Refused> {
        self.front.append(shard, entries)
    }

    pub(crate) fn hold(&self) -> Held<'_> {
        self.front.hold()
    }

    pub(crate) fn truncate(&self, shard: ShardId, last_kept: Seq) -> Result<Ticket, Refused> {
        self.front.submit(Record::Truncate(shard, last_kept))
    }

    pub(crate) fn put_state(&self, shard: ShardId, state: ReplicaState) -> Result<Ticket, Refused> {
        self.front.submit(Record::State(shard, state))
    }

    pub(crate) fn reset(&self, shard: ShardId, base: EntryId, history: &EpochHistory) -> Result<Ticket, Refused> {
        self.front.submit(Record::Reset(shard, history_up_to(base, history)))
    }

    pub(crate) fn forget(&self, shard: ShardId) -> Result<Ticket, Refused> {
        self.front.submit(Record::Forget(shard))
    }

    pub(crate) fn has_room(&self) -> bool {
        !self.keeper.full.load(Ordering::Acquire)
    }

    pub(crate) fn read_cached(&self, shard: ShardId, from: Seq, max_bytes: usize) -> Option<Vec<Entry>> {
        self.front.read_cached(shard, from, max_bytes)
    }

    pub(crate) fn read(&self, shard: ShardId, from: Seq, max_bytes: usize) -> Result<Vec<Entry>, ReadError> {
        reader::read(&self.front, shard, from, max_bytes)
    }

    pub(crate) fn first_seq(&self, shard: ShardId) -> Seq {
        self.front.first_seq(shard)
    }

    pub(crate) fn history(&self, shard: ShardId) -> Option<EpochHistory> {
        self.front.history(shard)
    }

    pub(crate) fn states(&self) -> Vec<(ShardId, ReplicaState)> {
        self.front.states()
    }

    /// The space of a replica's rows; none if there is no such replica.
    pub(crate) fn space(&self, shard: ShardId) -> Option<Space> {
        self.front.space(shard)
    }

    pub(crate) fn retain_from(&self, shard: ShardId, seq: Option<Seq>) {
        self.keeper.retain_from(shard, seq);
    }

    /// The table has been persisted further: old segments may go.
    pub(crate) fn wake_keeper(&self) {
        self.keeper.wake();
    }

    pub(crate) fn stats(&self) -> LogStats {
        self.front.stats()
    }

    /// Writes what was handed over, then stops the threads.
    pub(crate) fn close(&self) {
        self.front.stop("it was closed");
        self.keeper.stop();
        for thread in lock(&self.threads).drain(..) {
            // A panic was reported where it happened.
            let _ = thread.join();
        }
    }
}

/// `history` if it ends with `base`, else one that knows nothing below.
pub(crate) fn history_up_to(base: EntryId, history: &EpochHistory) -> EpochHistory {
    let mut cut = history.clone();
    cut.truncate(base.seq);
    if cut.last() == base {
        return cut;
    }
    let starts = if base == EntryId::ZERO { Vec::new() } else { vec![base] };
    EpochHistory::new(starts, base.seq).unwrap_or_default()
}
