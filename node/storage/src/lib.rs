//! What a node keeps on its disks. Synchronous; knows nothing of the protocol but its words.
//!
//! A [`Volume`] is one folder (`data` or `bkpdata`):
//!
//! ```text
//! lock                    locked while a process has the volume open
//! identity.json           format version, UUID, folder kind, node, cluster; written once, the cluster once more
//! log/<number>.log        segments of the replicated log, shared by the volume's shards
//! table/                  sorted tables of committed rows (lsm-tree 3.1.10, its format 3)
//! table.damaged           there if the table was found damaged: made anew at the next start
//! ```
//!
//! **The log** is the source of durability. Format 1: a segment is a file of zeros, preallocated; its first block of 4096
//! bytes is the header (`KVSEGMNT`, format, segment number, volume UUID, CRC-32C). Records follow, aligned to 8 bytes: a
//! header of 48 bytes (mark, kind, body length, shard, epoch, seq, group start, CRC-32C of the body, CRC-32C of the header
//! seeded with the segment's number, mark), the body, a mark, zeros. Each segment begins with a checkpoint of all
//! replicas, which also says where the segment before it ends. One thread writes, in whole blocks, everything that waits:
//! a *group*; a group is begun only when the one before is on the disk, and each record says where its group began.
//!
//! So a start can tell what happened. Zeros where a record should be: the end. A record of which bytes are missing: the
//! last write was torn, and is cut. A record whose bytes are all there and don't match, or one followed by a record of a
//! later group, or entries that a later checkpoint or the table knows of: damage, and the copy starts over empty. What is
//! read of the last group may be in the page cache only (a failed sync leaves it there), so it is written once more, to a
//! new segment, before it counts.
//!
//! **The table** has no journal. The applied entry lies in the same batch as what it did; after a crash the log is replayed
//! from there. It holds only what was committed, so nothing in it is ever rolled back, and it may be ahead of the log.

mod disk;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod log;
pub mod rows;
pub mod table;
mod volume;

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use log::{
    Birth, Held, LATENCY_CLASSES, LogStats, Misfit, ReadError, Refused, ReplicaState, SEGMENT_FORMAT, Ticket,
};
pub use rows::Space;
pub use table::{Batch, Direction, Pressure, Snapshot, Table, TableError};
pub use volume::{
    BindError, Identity, LeftOver, OpenError, Recovered, RecoveredReplica, Volume, VolumeEvent, VolumeOptions,
    VolumeStats, block_cache,
};

// A panic in another thread says nothing of what its lock guards: each change under a lock is whole.

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
