use std::sync::Arc;

use bytes::Bytes;
use lsm_tree::{AbstractTree as _, AnyTree, SeqNo, table::filter::standard_bloom::Builder};

/// Sees all rows of a version.
const ALL: SeqNo = SeqNo::MAX >> 1;

/// Finds the value under a key in one version of the tree.
pub(super) type Reader = Arc<dyn Fn(&[u8]) -> lsm_tree::Result<Option<Bytes>> + Send + Sync>;

/// Reads the version that is the newest now. Asking the tree itself waits as long as a manifest is being synced, which is
/// at each flush and each step of compaction.
pub(super) fn reader(tree: &AnyTree) -> Reader {
    let version = tree.current_version();
    Arc::new(move |key| {
        let hash = Builder::get_hash(key);
        // The levels from the newest rows to the oldest: the first that is found counts.
        for run in version.iter_levels().flat_map(|level| level.iter()) {
            let Some(table) = run.get_for_key(key) else { continue };
            if let Some(row) = table.get(key, ALL, hash)? {
                return Ok((!row.is_tombstone()).then(|| row.value.into()));
            }
        }
        Ok(None)
    })
}
