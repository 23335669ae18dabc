use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, RwLock},
};

use kv_types::{Entry, EpochHistory, Seq, ShardId};

use super::{
    LogOptions, LogStats, Record, Refused, ReplicaState, Ticket,
    cache::{self, EntryCache},
    index::{Index, Point},
    record,
    replicas::Replicas,
    stats::Counters,
};
use crate::{Space, lock, read, write};

/// Longest payload of an entry in bytes.
pub(super) const MAX_PAYLOAD: usize = 64 << 20;

/// Where callers meet the writer: what is to be written, and what of it is known already.
pub(super) struct Front {
    inner: Mutex<Inner>,
    work: Condvar,
    pub(super) index: RwLock<Index>,
    pub(super) counters: Counters,
    queue_bound: usize,
}

struct Inner {
    /// As all that was handed over makes them, written or not.
    replicas: Replicas,
    cache: EntryCache,
    queue: VecDeque<(Ticket, Record)>,
    queue_bytes: usize,
    last_ticket: Ticket,
    /// How many [`Held`] there are: the writer is not woken.
    held: usize,
    /// The writer waits for records and nobody has woken it: without that each append would be a call of the kernel.
    idle: bool,
    stopped: Option<String>,
}

/// An entry that was written, and where.
pub(super) struct Written {
    pub(super) ticket: Ticket,
    pub(super) shard: ShardId,
    pub(super) place: Place,
}

/// What a written record means for the index.
pub(super) enum Place {
    Entry(Point),
    Truncated(Seq),
    Gone,
}

impl Front {
    pub(super) fn new(options: &LogOptions) -> Self {
        let inner = Inner {
            replicas: Replicas::default(),
            cache: EntryCache::new(options.cache_bytes),
            queue: VecDeque::new(),
            queue_bytes: 0,
            last_ticket: Ticket(0),
            held: 0,
            idle: false,
            stopped: None,
        };
        Self {
            inner: Mutex::new(inner),
            work: Condvar::new(),
            index: RwLock::default(),
            counters: Counters::default(),
            queue_bound: options.queue_bytes,
        }
    }

    /// Sets what a start has found.
    pub(super) fn recovered(&self, replicas: Replicas) {
        lock(&self.inner).replicas = replicas;
    }

    /// All entries or none. An entry at or below the last seq replaces the log from there on.
    pub(super) fn append(&self, shard: ShardId, entries: &[Entry]) -> Result<Ticket, Refused> {
        if let Some(length) = entries.iter().map(|entry| entry.payload.len()).find(|len| *len > MAX_PAYLOAD) {
            return Err(Refused::TooLong { length, bound: MAX_PAYLOAD });
        }
        let mut inner = lock(&self.inner);
        inner.check()?;
        if inner.queue_bytes > self.queue_bound {
            return Err(Refused::Busy { queued: inner.queue_bytes, bound: self.queue_bound });
        }
        let Inner { replicas, cache, queue, queue_bytes, last_ticket, .. } = &mut *inner;
        let replica = replicas.0.entry(shard).or_default();
        let Some(first) = entries.first() else { return Ok(*last_ticket) };
        replica.fits(first.id)?;
        for pair in entries.windows(2) {
            let (last, entry) = (pair[0].id, pair[1].id);
            if entry.seq != last.seq.next() || entry.epoch < last.epoch {
                return Err(super::Misfit { entry, last }.into());
            }
        }
        last_ticket.0 += 1;
        for entry in entries {
            replica.push(entry.id)?;
            *queue_bytes += cache::cost(entry);
            queue.push_back((*last_ticket, Record::Entry(shard, entry.clone())));
        }
        cache.append(shard, *last_ticket, entries);
        let ticket = *last_ticket;
        self.wake(inner);
        Ok(ticket)
    }

    /// Hands over a record that is no entry: these are few and small, and so not bounded.
    pub(super) fn submit(&self, record: Record) -> Result<Ticket, Refused> {
        let mut inner = lock(&self.inner);
        inner.check()?;
        inner.replicas.apply(&record)?;
        match &record {
            Record::Truncate(shard, last) => inner.cache.truncate(*shard, *last),
            Record::Reset(shard, _) | Record::Forget(shard) => inner.cache.forget(*shard),
            _ => {}
        }
        inner.last_ticket.0 += 1;
        let ticket = inner.last_ticket;
        inner.queue_bytes += record.len();
        inner.queue.push_back((ticket, record));
        self.wake(inner);
        Ok(ticket)
    }

    pub(super) fn hold(&self) -> Held<'_> {
        lock(&self.inner).held += 1;
        Held(self)
    }

    fn wake(&self, mut inner: MutexGuard<'_, Inner>) {
        if inner.held == 0 && std::mem::take(&mut inner.idle) {
            drop(inner);
            self.work.notify_one();
        }
    }

    /// Waits for records. Empty when the log has been stopped and all is written.
    pub(super) fn take(&self) -> VecDeque<(Ticket, Record)> {
        let inner = lock(&self.inner);
        let waiting = |inner: &mut Inner| {
            inner.idle = inner.queue.is_empty() && inner.stopped.is_none();
            inner.idle
        };
        let mut inner = self.work.wait_while(inner, waiting).unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut inner.queue)
    }

    /// Makes what was written known to readers.
    pub(super) fn written(&self, segment: u64, used: u32, records: &[Written]) {
        let mut index = write(&self.index);
        index.set_used(segment, used);
        for Written { shard, place, .. } in records {
            match place {
                Place::Entry(point) => index.add(*shard, *point),
                Place::Truncated(last) => index.truncate(*shard, *last),
                Place::Gone => index.forget(*shard),
            }
        }
        drop(index);
        let mut inner = lock(&self.inner);
        for Written { ticket, shard, place } in records {
            if let Place::Entry(point) = place {
                inner.cache.written(*shard, *ticket, point.seq);
            }
        }
        inner.cache.evict();
    }

    /// `bytes` of the queue are done.
    pub(super) fn done(&self, bytes: usize) {
        let mut inner = lock(&self.inner);
        inner.queue_bytes = inner.queue_bytes.saturating_sub(bytes);
    }

    /// Nothing is taken any more.
    pub(super) fn stop(&self, why: &str) {
        lock(&self.inner).stopped.get_or_insert_with(|| why.to_owned());
        self.work.notify_all();
    }

    pub(super) fn history(&self, shard: ShardId) -> Option<EpochHistory> {
        lock(&self.inner).replicas.0.get(&shard).map(|replica| replica.history.clone())
    }

    pub(super) fn states(&self) -> Vec<(ShardId, ReplicaState)> {
        let inner = lock(&self.inner);
        inner.replicas.0.iter().map(|(shard, replica)| (*shard, replica.state.clone())).collect()
    }

    pub(super) fn space(&self, shard: ShardId) -> Option<Space> {
        lock(&self.inner).replicas.0.get(&shard).map(|replica| replica.state.space)
    }

    pub(super) fn read_cached(&self, shard: ShardId, from: Seq, max_bytes: usize) -> Option<Vec<Entry>> {
        let inner = lock(&self.inner);
        let last = inner.replicas.0.get(&shard)?.history.last().seq;
        if from == last.next() {
            return Some(Vec::new());
        }
        inner.cache.read(shard, from, max_bytes)
    }

    pub(super) fn first_seq(&self, shard: ShardId) -> Seq {
        // The index first: what the writer adds to it in between is still in the cache.
        let indexed = read(&self.index).first(shard);
        let inner = lock(&self.inner);
        let cached = inner.cache.first(shard);
        let Some(replica) = inner.replicas.0.get(&shard) else { return Seq(1) };
        let after = replica.history.last().seq.next();
        let first = indexed.into_iter().chain(cached).min().unwrap_or(after).min(after);
        // What lies below the first known epoch was left behind by a reset.
        let known = replica.history.starts().first().map_or(after, |start| start.seq);
        first.max(known)
    }

    pub(super) fn stats(&self) -> LogStats {
        let queued = lock(&self.inner).queue_bytes;
        let (used, _) = read(&self.index).used();
        self.counters.read(queued as u64, used)
    }
}

/// While it lives, what is handed over does not wake the writer of the log: one group is made of it, and not one of its beginning and
/// one of the rest. A writer that is awake takes what there is. To be held for as long as handing over takes, and no longer.
pub struct Held<'a>(&'a Front);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut inner = lock(&self.0.inner);
        inner.held -= 1;
        // Whoever else holds it has not handed over all of theirs, but they may wait for this.
        if !inner.queue.is_empty() && std::mem::take(&mut inner.idle) {
            drop(inner);
            self.0.work.notify_one();
        }
    }
}

impl Inner {
    fn check(&self) -> Result<(), Refused> {
        match &self.stopped {
            Some(why) => Err(Refused::Stopped(why.clone())),
            None => Ok(()),
        }
    }
}

/// What a queued record counts in the bound.
pub(super) fn queue_cost(record: &Record) -> usize {
    match record {
        Record::Entry(_, entry) => cache::cost(entry),
        other => other.len(),
    }
}

/// What is to be told to readers of a record at `offset` of `segment`.
pub(super) fn place(record: &Record, segment: u64, offset: u32) -> Option<(ShardId, Place)> {
    Some(match record {
        Record::Entry(shard, entry) => (*shard, Place::Entry(Point { seq: entry.id.seq, segment, offset })),
        Record::Truncate(shard, last) => (*shard, Place::Truncated(*last)),
        Record::Reset(shard, _) | Record::Forget(shard) => (*shard, Place::Gone),
        _ => return None,
    })
}

const _: () = assert!(MAX_PAYLOAD < u32::MAX as usize - record::HEADER);
