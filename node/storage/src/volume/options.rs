use std::{sync::Arc, time::Duration};

use super::OpenError;
use crate::{log::LogOptions, table::LsmOptions};

/// Bounds of a volume.
#[derive(Clone)]
pub struct VolumeOptions {
    /// Size of a segment of the log in bytes: 64 KiB to 1 GiB. One is always prepared ahead.
    pub segment_bytes: u64,
    /// The log keeps at least so many bytes of records, however far the table is.
    pub log_retention: u64,
    /// Beyond so many bytes of records learners get no entries kept for them.
    pub max_log_retention: u64,
    /// Entries kept in memory, in bytes.
    pub entry_cache_bytes: usize,
    /// Entries that wait to be written, in bytes; beyond it they are refused.
    pub queue_bytes: usize,
    /// Size at which a memtable is written to the disk, in bytes.
    pub memtable_bytes: u64,
    /// So long without a write, and what is in memory is written to the disk.
    pub idle_flush: Duration,
    /// Blocks of the table in memory; share one among the volumes of a node.
    pub block_cache: Arc<lsm_tree::Cache>,
}

/// A cache of `bytes` for the blocks of tables.
#[must_use]
pub fn block_cache(bytes: u64) -> Arc<lsm_tree::Cache> {
    Arc::new(lsm_tree::Cache::with_capacity_bytes(bytes))
}

impl Default for VolumeOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            log_retention: 256 << 20,
            max_log_retention: 1 << 30,
            entry_cache_bytes: 16 << 20,
            queue_bytes: 32 << 20,
            memtable_bytes: 16 << 20,
            idle_flush: Duration::from_secs(10),
            block_cache: block_cache(32 << 20),
        }
    }
}

impl VolumeOptions {
    pub(super) fn check(&self) -> Result<(), OpenError> {
        let bound = 64 << 10..=1 << 30;
        if bound.contains(&self.segment_bytes) {
            return Ok(());
        }
        Err(OpenError::SegmentSize { bytes: self.segment_bytes, least: *bound.start(), most: *bound.end() })
    }

    pub(super) fn log(&self) -> LogOptions {
        LogOptions {
            segment_bytes: self.segment_bytes,
            retention_bytes: self.log_retention,
            max_retention_bytes: self.max_log_retention.max(self.log_retention),
            cache_bytes: self.entry_cache_bytes,
            queue_bytes: self.queue_bytes,
        }
    }

    pub(crate) fn table(&self) -> LsmOptions {
        LsmOptions {
            memtable_bytes: self.memtable_bytes,
            idle_flush: self.idle_flush,
            block_cache: self.block_cache.clone(),
        }
    }
}
