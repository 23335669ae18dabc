use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Bound,
    sync::{
        RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use kv_types::KeyRange;

use super::{Batch, Change, Direction, row_key::RowKey};
use crate::{read, write};

/// A row's share of memory beyond its key and value, in bytes.
const OVERHEAD: u64 = 128;

/// Batches are numbered from 1; a snapshot is named after the last batch in it.
pub(super) type BatchNumber = u64;

/// A row as some snapshot sees it: `None` for a deleted one.
pub(super) type Row = (Bytes, Option<Bytes>);

/// Ordered rows in memory. Keeps older versions of a row only for snapshots that may still read them.
#[derive(Default)]
pub(super) struct Memtable {
    rows: RwLock<BTreeMap<RowKey, Versions>>,
    bytes: AtomicU64,
}

/// Older versions of a row, ascending. Few rows have any.
type Older = Vec<(BatchNumber, Option<Bytes>)>;

struct Versions {
    batch: BatchNumber,
    value: Option<Bytes>,
    older: Option<Box<Older>>,
    /// It began with a value: no older one lies below that a deletion would have to hide.
    first: bool,
}

/// What a version counts in memory.
fn row_bytes(key: &Bytes, value: Option<&Bytes>) -> u64 {
    OVERHEAD + (key.len() + value.map_or(0, Bytes::len)) as u64
}

impl Memtable {
    /// Applies `batch`. `snapshot`: the newest one that is open, if any.
    pub(super) fn apply(&self, batch: Batch, number: BatchNumber, snapshot: Option<BatchNumber>) {
        let (mut added, mut freed) = (0, 0);
        let mut rows = write(&self.rows);
        for (key, change) in batch.changes {
            let only = change == Change::DeleteOnly;
            let value = if let Change::Put(value) = change { Some(value) } else { None };
            added += row_bytes(&key, value.as_ref());
            match rows.entry(key.into()) {
                Entry::Vacant(vacant) => {
                    let first = value.is_some();
                    vacant.insert(Versions { batch: number, value, older: None, first });
                }
                Entry::Occupied(mut occupied) => {
                    let before = row_bytes(occupied.key().bytes(), occupied.get().value.as_ref());
                    let versions = occupied.get_mut();
                    let seen = versions.batch < number && snapshot.is_some_and(|open| open >= versions.batch);
                    if only && !seen && versions.first && versions.older.is_none() {
                        freed += before + row_bytes(occupied.key().bytes(), None);
                        occupied.remove();
                        continue;
                    }
                    let previous = std::mem::replace(&mut versions.value, value);
                    if seen {
                        versions.older.get_or_insert_default().push((versions.batch, previous));
                    } else {
                        freed += before;
                    }
                    versions.batch = number;
                    if snapshot.is_none() {
                        versions.older = None;
                    }
                }
            }
        }
        drop(rows);
        self.bytes.fetch_add(added, Ordering::Relaxed);
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn is_empty(&self) -> bool {
        read(&self.rows).is_empty()
    }

    /// The row as of batch `snapshot`: `None` if nothing is known of it here.
    pub(super) fn get(&self, key: &RowKey, snapshot: BatchNumber) -> Option<Option<Bytes>> {
        read(&self.rows).get(key)?.at(snapshot).cloned()
    }

    /// The next rows of `range` as of batch `snapshot`, at most `limit`, and what is left of the range.
    pub(super) fn rows(
        &self,
        range: &KeyRange,
        direction: Direction,
        snapshot: BatchNumber,
        limit: usize,
    ) -> (Vec<Row>, Option<KeyRange>) {
        if range.is_empty() {
            return (Vec::new(), None);
        }
        let bounds = (Bound::Included(range.start.clone().into()), end(range));
        let rows = read(&self.rows);
        let in_range = rows.range::<RowKey, _>(bounds);
        let seen = |(key, versions): (&RowKey, &Versions)| (key.bytes().clone(), versions.at(snapshot).cloned());
        // Rows that this snapshot doesn't see count as well, so that the lock is not held for long.
        let (taken, exhausted): (Vec<_>, bool) = match direction {
            Direction::Forward => take(in_range.map(seen), limit),
            Direction::Reverse => take(in_range.rev().map(seen), limit),
        };
        let rest = taken.last().filter(|_| !exhausted).map(|(last, _)| match direction {
            Direction::Forward => {
                // The smallest key above.
                let start = [last, &[0][..]].concat().into();
                KeyRange { start, end: range.end.clone() }
            }
            Direction::Reverse => KeyRange { start: range.start.clone(), end: Some(last.clone()) },
        });
        let visible = taken.into_iter().filter_map(|(key, version)| Some((key, version?))).collect();
        (visible, rest)
    }

    /// Bytes of the keys and values of `range`. Counted in pieces, between which writers come in.
    pub(super) fn size(&self, range: &KeyRange) -> u64 {
        const PIECE: usize = 1000;
        if range.is_empty() {
            return 0;
        }
        let end = end(range);
        let mut start = Bound::Included(range.start.clone().into());
        let mut bytes = 0;
        loop {
            let rows = read(&self.rows);
            let mut counted = 0;
            let mut last = None;
            for (key, versions) in rows.range::<RowKey, _>((start.as_ref(), end.as_ref())).take(PIECE) {
                counted += 1;
                bytes += (key.bytes().len() + versions.value.as_ref().map_or(0, Bytes::len)) as u64;
                last = Some(key);
            }
            match last {
                Some(key) if counted == PIECE => start = Bound::Excluded(key.clone()),
                _ => return bytes,
            }
        }
    }
}

impl Versions {
    fn at(&self, snapshot: BatchNumber) -> Option<&Option<Bytes>> {
        if self.batch <= snapshot {
            return Some(&self.value);
        }
        self.older
            .iter()
            .flat_map(|older| older.iter().rev())
            .find(|(batch, _)| *batch <= snapshot)
            .map(|(_, value)| value)
    }
}

fn end(range: &KeyRange) -> Bound<RowKey> {
    range.end.clone().map_or(Bound::Unbounded, |end| Bound::Excluded(end.into()))
}

/// Up to `limit` items, and whether there were no more.
fn take<T>(mut items: impl Iterator<Item = T>, limit: usize) -> (Vec<T>, bool) {
    let taken: Vec<T> = items.by_ref().take(limit).collect();
    let exhausted = taken.len() < limit;
    (taken, exhausted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_was_put_once_and_deleted_takes_nothing() {
        let table = Memtable::default();
        let of = |change: fn(&mut Batch)| {
            let mut batch = Batch::default();
            change(&mut batch);
            batch
        };
        table.apply(of(|batch| batch.put("stays", "1")), 1, None);
        let get = |key: &str, snapshot| table.get(&key.as_bytes().into(), snapshot);
        let bytes = table.bytes();
        table.apply(of(|batch| batch.put("goes", "12345")), 2, None);
        assert!(table.bytes() > bytes);
        table.apply(of(|batch| batch.delete_only("goes")), 3, Some(1));
        assert_eq!((table.bytes(), get("goes", 3)), (bytes, None));

        table.apply(of(|batch| batch.put("seen", "1")), 4, None);
        table.apply(of(|batch| batch.delete_only("seen")), 5, Some(4));
        assert_eq!((get("seen", 4), get("seen", 5)), (Some(Some("1".into())), Some(None)));
        table.apply(of(|batch| batch.delete_only("below")), 6, None);
        assert_eq!(get("below", 6), Some(None), "it may lie on the disk");
    }
}
