use std::{collections::BTreeMap, sync::Arc};

use kv_types::{EpochHistory, Seq, ShardId, VolumeId};
use uuid::Uuid;

use super::Written;
use crate::{
    disk::memory::MemoryDisk,
    log::{Log, LogOptions, ReadError, Replay, ReplicaState},
};

pub(super) const VOLUME: VolumeId = VolumeId(Uuid::from_u128(7));
/// Small, so that a start is fast.
pub(super) const SEGMENT_BYTES: u64 = 16 << 10;
/// Bytes that are read at once, so that reading goes on in the middle of segments.
const PIECE: usize = 1000;

/// What a start has found.
pub(super) struct Found {
    copies: Vec<(ShardId, ReplicaState, EpochHistory)>,
    /// Of which copies something was lost, and why that is known.
    pub(super) lost: BTreeMap<ShardId, String>,
    /// What can be read of those that have lost nothing.
    pub(super) entries: Vec<Written>,
}

impl Found {
    /// Shard, state and history of each copy.
    pub(super) fn of_copies(&self) -> &[(ShardId, ReplicaState, EpochHistory)] {
        &self.copies
    }
}

/// Opens the log as a start does, and reads all of it. `None` if it can't be understood.
#[allow(clippy::expect_used, reason = "what fails is the finding")]
pub(super) fn start(disk: &MemoryDisk) -> Option<Found> {
    let replay = Replay::read(disk, VOLUME).ok()?;
    let lost = replay.replicas().into_iter().filter_map(|replica| Some((replica.shard, replica.lost?)));
    let lost: BTreeMap<_, _> = lost.collect();
    let options = LogOptions {
        segment_bytes: SEGMENT_BYTES,
        retention_bytes: 2 * SEGMENT_BYTES,
        max_retention_bytes: 1 << 20,
        cache_bytes: 4 << 10,
        queue_bytes: 1 << 20,
    };
    let log = Log::open(Arc::new(disk.clone()), VOLUME, options, replay, Vec::new()).expect("what was read is written");
    let copies = log.states().into_iter().map(|(shard, state)| {
        let history = log.history(shard).expect("each copy has a history");
        (shard, state, history)
    });
    let copies: Vec<_> = copies.collect();
    let entries = copies.iter().filter(|(shard, ..)| !lost.contains_key(shard));
    let entries = entries.flat_map(|(shard, _, history)| read(&log, *shard, history)).collect();
    Some(Found { copies, lost, entries })
}

/// All entries of a copy, one after the other, as its history has them.
#[allow(clippy::panic, reason = "what fails is the finding")]
fn read(log: &Log, shard: ShardId, history: &EpochHistory) -> Vec<Written> {
    let mut found: Vec<Written> = Vec::new();
    let mut next = log.first_seq(shard);
    while next <= history.last().seq {
        let entries = match log.read(shard, next, PIECE) {
            Ok(entries) => entries,
            Err(ReadError::Io(error)) => panic!("shard {shard}, from {next}: {error}"),
            Err(_) => break,
        };
        assert!(!entries.is_empty(), "shard {shard}: nothing at {next}, below its last {:?}", history.last());
        for entry in entries {
            assert!(entry.id.seq == next && history.contains(entry.id), "shard {shard}: {:?} at {next}", entry.id);
            found.push((shard, entry.id, entry.payload.to_vec()));
            next = Seq(next.0 + 1);
        }
    }
    found
}
