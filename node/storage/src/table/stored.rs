use std::{mem, sync::Arc};

use bytes::Bytes;
use lsm_tree::{AbstractTree as _, AnyTree, SeqNo, table::filter::standard_bloom::Builder};

/// Sees all rows of a version.
const ALL: SeqNo = SeqNo::MAX >> 1;

/// Finds the value under a key in one version of the tree.
pub(super) type Reader = Arc<dyn Fn(&[u8]) -> lsm_tree::Result<Option<Bytes>> + Send + Sync>;

/// The newest version of the tree that is known.
pub(super) struct Newest {
    version: u64,
    /// Runs that wait to be merged.
    pub(super) runs: u64,
    pub(super) reader: Reader,
}

impl Newest {
    /// Asking the tree for each read instead would wait as long as a manifest is being synced, which is at each flush and
    /// each step of compaction.
    pub(super) fn of(tree: &AnyTree) -> Self {
        let version = tree.current_version();
        let (id, runs) = (version.id(), version.l0().run_count() as u64);
        let reader: Reader = Arc::new(move |key| {
            let hash = Builder::get_hash(key);
            // The levels from the newest rows to the oldest: the first that is found counts.
            for run in version.iter_levels().flat_map(|level| level.iter()) {
                let Some(table) = run.get_for_key(key) else { continue };
                if let Some(row) = table.get(key, ALL, hash)? {
                    return Ok((!row.is_tombstone()).then(|| row.value.into()));
                }
            }
            Ok(None)
        });
        Self { version: id, runs, reader }
    }

    /// Flushes and merges run beside each other: what one of them found first may come last. Then it must not take the
    /// place of the other's, or the rows of a memtable that is gone would not be found.
    ///
    /// Returns the older one. The files of merged tables are deleted with it: not while reads wait.
    #[must_use]
    pub(super) fn renew(&mut self, mut found: Self) -> Self {
        if found.version > self.version {
            mem::swap(self, &mut found);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use lsm_tree::SequenceNumberCounter;

    use super::*;

    #[test]
    fn a_version_that_was_found_earlier_does_not_take_the_place_of_a_later_one() {
        let folder = tempfile::tempdir().unwrap();
        let (seqno, visible) = (SequenceNumberCounter::default(), SequenceNumberCounter::default());
        let tree = lsm_tree::Config::new(folder.path(), seqno, visible).open().unwrap();
        let earlier = Newest::of(&tree);
        let mut ingestion = tree.ingestion().unwrap();
        ingestion.write("key", "value").unwrap();
        ingestion.finish().unwrap();
        let mut newest = Newest::of(&tree);
        let older = newest.renew(earlier);
        assert_eq!(((newest.reader)(b"key").unwrap(), newest.runs), (Some("value".into()), 1));
        let mut known = older;
        let older = known.renew(newest);
        assert_eq!((known.runs, older.runs), (1, 0), "a later one does, and the earlier one is handed back");
    }
}
