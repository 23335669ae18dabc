use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kv_types::KeyRange;

use super::{
    Batch, Direction, Pressure, Rows, Snapshot, Table, TableError, TableStats,
    memtable::{BatchNumber, Memtable},
    scan::Scan,
};
use crate::lock;

/// A table in memory only, for tests: nothing of it is ever persisted, so a log beside it is replayed from its start.
#[derive(Default)]
pub struct MemoryTable {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    memtable: Arc<Memtable>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: BatchNumber,
    /// Open snapshots, one number for each.
    open: Vec<BatchNumber>,
}

/// An open snapshot.
struct Opened {
    shared: Arc<Shared>,
    batch: BatchNumber,
}

struct MemorySnapshot(Arc<Opened>);

impl Table for MemoryTable {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, TableError> {
        Ok(self.shared.memtable.get(&key.into(), BatchNumber::MAX).flatten())
    }

    fn write(&self, batch: Batch) -> Result<Pressure, TableError> {
        batch.check()?;
        let mut state = lock(&self.shared.state);
        state.last += 1;
        self.shared.memtable.apply(batch, state.last, state.open.iter().max().copied());
        Ok(Pressure::None)
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        let mut state = lock(&self.shared.state);
        let batch = state.last;
        state.open.push(batch);
        Box::new(MemorySnapshot(Arc::new(Opened { shared: self.shared.clone(), batch })))
    }

    fn approximate_size(&self, range: &KeyRange) -> u64 {
        self.shared.memtable.size(range)
    }

    fn flush(&self) -> Result<(), TableError> {
        Ok(())
    }

    fn get_persisted(&self, _: &[u8]) -> Result<Option<Bytes>, TableError> {
        Ok(None)
    }

    fn pressure(&self) -> Pressure {
        Pressure::None
    }

    fn stats(&self) -> TableStats {
        TableStats { memory_bytes: self.shared.memtable.bytes(), ..TableStats::default() }
    }

    fn close(&self) {}
}

impl Snapshot for MemorySnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, TableError> {
        Ok(self.0.shared.memtable.get(&key.into(), self.0.batch).flatten())
    }

    fn scan(&self, range: &KeyRange, direction: Direction) -> Rows {
        let memtables = vec![self.0.shared.memtable.clone()];
        let nothing = Box::new(std::iter::empty());
        Box::new(Scan::new(memtables, nothing, range, direction, self.0.batch, self.0.clone()))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let open = &mut lock(&self.shared.state).open;
        if let Some(at) = open.iter().position(|batch| *batch == self.batch) {
            open.swap_remove(at);
        }
    }
}
