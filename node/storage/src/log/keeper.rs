use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kv_types::{Seq, ShardId, VolumeId};

use super::{
    Events, LogOptions, Persisted,
    front::Front,
    segment::{self, Segment},
};
use crate::{
    VolumeEvent,
    disk::{Disk, is_full},
    lock, read, write,
};

/// How often a full disk is tried again, and old segments are looked at without being asked to.
const PERIOD: Duration = Duration::from_secs(1);

/// Prepares the next segment while one is written, and removes those that nobody needs.
pub(super) struct Keeper {
    disk: Arc<dyn Disk>,
    volume: VolumeId,
    options: LogOptions,
    front: Arc<Front>,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// No segment could be prepared. What was accepted before still finds room in the one being written.
    pub(super) full: AtomicBool,
}

#[derive(Default)]
struct Inner {
    /// Number of the segment after the one being written.
    next: u64,
    ready: bool,
    /// Preparing it failed for another reason than a lack of room.
    failed: Option<String>,
    asked: bool,
    stopped: bool,
    retained: HashMap<ShardId, Seq>,
}

impl Keeper {
    pub(super) fn new(disk: Arc<dyn Disk>, volume: VolumeId, options: LogOptions, front: Arc<Front>) -> Self {
        Self {
            disk,
            volume,
            options,
            front,
            inner: Mutex::default(),
            changed: Condvar::new(),
            full: AtomicBool::new(false),
        }
    }

    /// The next segment has this number; made at once unless a former run has left it ready.
    pub(super) fn start_at(&self, number: u64) -> io::Result<()> {
        let there = self.disk.list()?.contains(&segment::name(number));
        if !there {
            segment::create(&*self.disk, number, self.volume, self.options.segment_bytes)?;
        }
        let mut inner = lock(&self.inner);
        (inner.next, inner.ready) = (number, true);
        Ok(())
    }

    /// The next segment and its length; waits until there is one. `None`: the log is closed and there is no room.
    pub(super) fn take_spare(&self) -> io::Result<Option<(Segment, u64)>> {
        let waiting = |inner: &mut Inner| !inner.ready && inner.failed.is_none() && !inner.stopped;
        let mut inner = self.changed.wait_while(lock(&self.inner), waiting).unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &inner.failed {
            return Err(io::Error::other(why.clone()));
        }
        if !inner.ready {
            return Ok(None);
        }
        let number = inner.next;
        (inner.next, inner.ready) = (number + 1, false);
        drop(inner);
        self.changed.notify_all();
        let segment = Segment::open(&*self.disk, number)?;
        let len = segment.file.len()?;
        Ok(Some((segment, len)))
    }

    /// Cuts what was written again elsewhere, and the room behind it.
    pub(super) fn trim(&self, number: u64, end: u32) -> io::Result<()> {
        let name = segment::name(number);
        if self.disk.list()?.contains(&name) {
            let file = self.disk.open(&name)?;
            // Never longer: what a start does must not need room.
            if u64::from(end) < file.len()? {
                file.resize(u64::from(end))?;
            }
        }
        Ok(())
    }

    /// Keeps entries of the shard from `seq` on, within the bound of all retention; `None`: no more than usual.
    pub(super) fn retain_from(&self, shard: ShardId, seq: Option<Seq>) {
        let retained = &mut lock(&self.inner).retained;
        match seq {
            Some(seq) => retained.insert(shard, seq),
            None => retained.remove(&shard),
        };
    }

    pub(super) fn wake(&self) {
        lock(&self.inner).asked = true;
        self.changed.notify_all();
    }

    pub(super) fn stop(&self) {
        lock(&self.inner).stopped = true;
        self.changed.notify_all();
    }

    pub(super) fn run(&self, events: &Events, persisted: &Persisted) {
        loop {
            self.remove_old(persisted);
            self.prepare(events);
            let idle = |inner: &mut Inner| {
                let full = self.full.load(Ordering::Acquire);
                !inner.stopped && !inner.asked && (inner.ready || full || inner.failed.is_some())
            };
            let (mut inner, _) = self
                .changed
                .wait_timeout_while(lock(&self.inner), PERIOD, idle)
                .unwrap_or_else(PoisonError::into_inner);
            inner.asked = false;
            if inner.stopped {
                return;
            }
        }
    }

    fn prepare(&self, events: &Events) {
        let number = {
            let inner = lock(&self.inner);
            if inner.ready || inner.failed.is_some() || inner.stopped {
                return;
            }
            inner.next
        };
        match segment::create(&*self.disk, number, self.volume, self.options.segment_bytes) {
            Ok(()) => {
                lock(&self.inner).ready = true;
                if self.full.swap(false, Ordering::AcqRel) {
                    tracing::info!(segment = number, "there is room for the log again");
                    events(VolumeEvent::Room);
                }
            }
            Err(error) if is_full(&error) => {
                if !self.full.swap(true, Ordering::AcqRel) {
                    tracing::warn!(segment = number, %error, "no room for another segment of the log");
                    events(VolumeEvent::Full);
                }
            }
            Err(error) => {
                let why = format!("preparing segment {number} of the log failed: {error}");
                tracing::error!(segment = number, %error, "preparing a segment of the log failed");
                lock(&self.inner).failed = Some(why.clone());
                self.front.stop(&why);
                events(VolumeEvent::Fatal(why));
            }
        }
        self.changed.notify_all();
    }

    /// A segment goes when the table has all of it on the disk, the ones after it hold enough, and nobody asked for it.
    fn remove_old(&self, persisted: &Persisted) {
        loop {
            let retained = lock(&self.inner).retained.clone();
            let oldest = {
                let index = read(&self.front.index);
                let (all, others) = index.used();
                let kept = if all > self.options.max_retention_bytes { HashMap::new() } else { retained };
                index.oldest().filter(|_| others >= self.options.retention_bytes).and_then(|(number, highest)| {
                    let wanted = highest.iter().any(|(shard, last)| kept.get(shard).is_some_and(|from| from <= last));
                    (!wanted).then(|| (number, highest.clone()))
                })
            };
            let Some((number, highest)) = oldest else { return };
            let needed = highest.iter().any(|(shard, highest)| {
                // Entries above the last were cut, and a replica that is gone needs none.
                let last = self.front.history(*shard).map_or(Seq(0), |history| history.last().seq);
                (*highest).min(last) > persisted(*shard)
            });
            if needed {
                return;
            }
            // Readers that are at it hold the open file.
            write(&self.front.index).remove_segment(number);
            if let Err(error) = self.disk.remove(&segment::name(number)) {
                tracing::warn!(segment = number, %error, "an old segment of the log could not be removed");
                return;
            }
            tracing::debug!(segment = number, "removed an old segment of the log");
        }
    }
}
