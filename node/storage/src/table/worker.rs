use std::{
    io,
    sync::{Arc, PoisonError, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use kv_types::KeyRange;
use lsm_tree::AbstractTree as _;

use super::{
    Direction, TableError, TableEvent, levels,
    lsm::{Shared, Stop},
    memtable::{BatchNumber, Memtable},
};
use crate::{disk::is_full, lock, read};

/// How often a full disk is tried again and idleness is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Rows taken from a memtable at once.
const PIECE: usize = 1024;

/// What foreground threads must not wait behind.
const NICE: i32 = 10;

/// Starts the thread that writes memtables and the one that merges what was written.
pub(super) fn spawn(shared: &Arc<Shared>) -> io::Result<Vec<JoinHandle<()>>> {
    let thread = |name: &str, run: fn(&Shared)| {
        let shared = shared.clone();
        std::thread::Builder::new().name(name.into()).spawn(move || {
            // Of this thread alone on Linux. Without it only speed suffers.
            let _ = rustix::process::setpriority_process(None, NICE);
            run(&shared);
        })
    };
    Ok(vec![thread("kv-table-flush", flush_all)?, thread("kv-table-merge", merge_all)?])
}

fn flush_all(shared: &Shared) {
    let mut full = false;
    loop {
        {
            let progress = lock(&shared.progress);
            let idle = |progress: &mut super::lsm::Progress| {
                let waiting = full || read(&shared.memory).frozen.is_empty();
                progress.stop == Stop::Running && waiting && progress.wanted <= progress.persisted
            };
            let (progress, _) =
                shared.progressed.wait_timeout_while(progress, PERIOD, idle).unwrap_or_else(PoisonError::into_inner);
            if progress.stop == Stop::AtOnce || progress.failure.is_some() {
                return;
            }
            let at_once = progress.stop == Stop::AfterFlush || progress.wanted > progress.persisted;
            drop(progress);
            shared.freeze_idle(if at_once { Duration::ZERO } else { shared.options.idle_flush });
        }
        let oldest = read(&shared.memory).frozen.front().cloned();
        let Some((memtable, last)) = oldest else {
            if lock(&shared.progress).stop == Stop::AfterFlush {
                return;
            }
            shared.settle();
            continue;
        };
        match flush(shared, &memtable) {
            Ok(()) => {
                if std::mem::take(&mut full) {
                    shared.tell(TableEvent::Room);
                }
                // Before the memtable goes: readers find its rows in one or the other.
                shared.refresh();
                shared.thaw(last);
            }
            Err(TableError::Io(error)) if is_full(&error) => {
                if lock(&shared.progress).stop != Stop::Running {
                    // The log has it.
                    return;
                }
                if !std::mem::replace(&mut full, true) {
                    tracing::warn!(%error, "no room to write the table");
                    shared.tell(TableEvent::Full);
                }
                std::thread::sleep(PERIOD);
            }
            Err(TableError::Io(error)) => return shared.fatal(format!("writing the table failed: {error}")),
            Err(other) => {
                shared.found(other);
                return;
            }
        }
    }
}

fn flush(shared: &Shared, memtable: &Memtable) -> Result<(), TableError> {
    // A write that fails halfway leaves files behind until the next start: better not to begin.
    require_room(shared, 2 * memtable.bytes())?;
    let mut ingestion = shared.tree.ingestion()?;
    let mut rest = Some(KeyRange::all());
    while let Some(range) = rest {
        let (rows, next) = memtable.rows(&range, Direction::Forward, BatchNumber::MAX, PIECE);
        rest = next;
        for (key, value) in rows {
            match value {
                Some(value) => ingestion.write(key, value)?,
                None => ingestion.write_tombstone(key)?,
            }
        }
    }
    ingestion.finish()?;
    Ok(())
}

fn merge_all(shared: &Shared) {
    loop {
        {
            let idle = |progress: &mut super::lsm::Progress| progress.stop == Stop::Running && !progress.compact;
            let mut progress =
                shared.progressed.wait_while(lock(&shared.progress), idle).unwrap_or_else(PoisonError::into_inner);
            if progress.stop != Stop::Running || progress.failure.is_some() {
                return;
            }
            progress.compact = false;
        }
        // Not kept, since it keeps the files of merged tables.
        let (before, levels) = {
            let version = shared.tree.current_version();
            (version.id(), version.iter_levels().map(|level| level.size()).collect::<Vec<_>>())
        };
        let strategy = Arc::new(levels::strategy(&levels, shared.options.memtable_bytes));
        let merged = require_room(shared, 4 * shared.options.memtable_bytes)
            .and_then(|()| Ok(shared.tree.compact(strategy, shared.watermark())?));
        match merged {
            Ok(()) => {}
            // Until the next flush.
            Err(TableError::Io(error)) if is_full(&error) => continue,
            Err(TableError::Io(error)) => return shared.fatal(format!("merging the table failed: {error}")),
            Err(other) => {
                shared.found(other);
                return;
            }
        }
        shared.refresh();
        if shared.tree.current_version().id() != before {
            shared.compactions.fetch_add(1, Ordering::Relaxed);
            // There may be more, which is for the next round: each looks at first whether the table is to stop.
            lock(&shared.progress).compact = true;
        }
    }
}

fn require_room(shared: &Shared, bytes: u64) -> Result<(), TableError> {
    let disk = rustix::fs::statvfs(&shared.folder).map_err(io::Error::from)?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < bytes {
        return Err(io::Error::from(io::ErrorKind::StorageFull).into());
    }
    Ok(())
}
