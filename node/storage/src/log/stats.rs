use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Latencies are counted in classes: class `n` holds those of less than `2^n` microseconds; the last all others.
pub const LATENCY_CLASSES: usize = 24;

/// What the log's writer has done since the volume was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Synced writes.
    pub syncs: u64,
    /// Bytes of those writes, whole blocks.
    pub bytes: u64,
    /// Records written.
    pub records: u64,
    /// Time of all synced writes together.
    pub sync_time: Duration,
    /// Synced writes by latency class.
    pub sync_latency: [u64; LATENCY_CLASSES],
    /// Bytes that wait to be written.
    pub queued_bytes: u64,
    /// Bytes of records in all segments.
    pub used_bytes: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    syncs: AtomicU64,
    bytes: AtomicU64,
    records: AtomicU64,
    micros: AtomicU64,
    latency: [AtomicU64; LATENCY_CLASSES],
}

impl Counters {
    pub(super) fn synced(&self, bytes: usize, records: usize, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = (u64::BITS - micros.leading_zeros()) as usize;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.records.fetch_add(records as u64, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        self.latency[class.min(LATENCY_CLASSES - 1)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, queued_bytes: u64, used_bytes: u64) -> LogStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogStats {
            syncs: load(&self.syncs),
            bytes: load(&self.bytes),
            records: load(&self.records),
            sync_time: Duration::from_micros(load(&self.micros)),
            sync_latency: std::array::from_fn(|class| load(&self.latency[class])),
            queued_bytes,
            used_bytes,
        }
    }
}
