use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use bytes::Bytes;
use kv_types::KeyRange;
use lsm_tree::{AbstractTree as _, Guard as _, SeqNo};

use super::{
    Direction, Rows, Snapshot, TableError,
    lsm::{Shared, Writes},
    memtable::{BatchNumber, Memtable},
    row_key::RowKey,
    scan::{Scan, Stored},
};
use crate::{lock, read};

/// The rows of an LSM table at one moment.
pub(super) struct LsmSnapshot(Arc<Opened>);

struct Opened {
    shared: Arc<Shared>,
    batch: BatchNumber,
    seqno: SeqNo,
    /// Newest first.
    memtables: Vec<Arc<Memtable>>,
}

impl LsmSnapshot {
    pub(super) fn open(shared: &Arc<Shared>) -> Self {
        let mut writes = lock(&shared.writes);
        let batch = writes.last;
        let memory = read(&shared.memory);
        let frozen = memory.frozen.iter().rev().map(|(memtable, _)| memtable.clone());
        let memtables = std::iter::once(memory.active.clone()).chain(frozen).collect();
        // With the memtables held, all that is not in them is in the tree below this number.
        let seqno = shared.visible.get();
        *writes.open.entry(batch).or_default() += 1;
        *writes.pinned.entry(seqno).or_default() += 1;
        drop(memory);
        drop(writes);
        Self(Arc::new(Opened { shared: shared.clone(), batch, seqno, memtables }))
    }
}

impl Snapshot for LsmSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, TableError> {
        let row = RowKey::from(key);
        if let Some(value) = self.0.memtables.iter().find_map(|memtable| memtable.get(&row, self.0.batch)) {
            return Ok(value);
        }
        let value = self.0.shared.tree.get(key, self.0.seqno);
        Ok(value.map_err(|error| self.0.shared.found(error.into()))?.map(Bytes::from))
    }

    fn scan(&self, range: &KeyRange, direction: Direction) -> Rows {
        let stored: Stored = if range.is_empty() {
            Box::new(std::iter::empty())
        } else {
            let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let bounds = (Bound::Included(range.start.as_ref()), end);
            let rows = self.0.shared.tree.range::<&[u8], _>(bounds, self.0.seqno, None);
            let shared = self.0.shared.clone();
            let row = move |guard: lsm_tree::IterGuardImpl| match guard.into_inner() {
                Ok((key, value)) => Ok((key.into(), value.into())),
                Err(error) => Err(shared.found(error.into())),
            };
            match direction {
                Direction::Forward => Box::new(rows.map(row)),
                Direction::Reverse => Box::new(rows.rev().map(row)),
            }
        };
        let memtables = self.0.memtables.clone();
        Box::new(Scan::new(memtables, stored, range, direction, self.0.batch, self.0.clone()))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let Writes { open, pinned, .. } = &mut *lock(&self.shared.writes);
        release(open, self.batch);
        release(pinned, self.seqno);
    }
}

fn release(counts: &mut BTreeMap<u64, usize>, key: u64) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}
