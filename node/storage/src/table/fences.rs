//! Where the keys of a file lie in it, about: how much of a file that holds many shards is of one of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    sync::{Arc, Mutex},
};

use kv_types::KeyRange;
use lsm_tree::{
    Slice, TableId,
    table::{Block, BlockHandle, IndexBlock, KeyedBlockHandle, block::decoder::ParsedItem as _},
};

use crate::lock;

/// Pieces that a file is seen as, at most.
const PIECES: u64 = 512;

/// The fences of all files that were asked for and are still there.
#[derive(Default)]
pub(super) struct Fences {
    known: Mutex<BTreeMap<TableId, Arc<[Fence]>>>,
}

/// So many of the file's bytes are of keys up to `last`.
struct Fence {
    last: Slice,
    bytes: u64,
}

impl Fences {
    /// About how many bytes of `table` are of keys of `range`, to a piece of the file. Those of ranges that lie side by
    /// side add up to those of the whole.
    pub(super) fn size(&self, table: &lsm_tree::Table, range: &KeyRange) -> lsm_tree::Result<u64> {
        let known = lock(&self.known).get(&table.id()).cloned();
        let fences = match known {
            Some(fences) => fences,
            None => {
                let fences: Arc<[Fence]> = read(table)?.into();
                lock(&self.known).insert(table.id(), Arc::clone(&fences));
                fences
            }
        };
        let below = |key: &[u8]| {
            let above = fences.partition_point(|fence| fence.last.as_ref() < key);
            above.checked_sub(1).map_or(0, |at| fences[at].bytes)
        };
        let end = match &range.end {
            Some(end) => below(end),
            None => fences.last().map_or(0, |last| last.bytes),
        };
        Ok(end.saturating_sub(below(&range.start)))
    }

    /// Forgets files that have gone.
    pub(super) fn retain(&self, there: &BTreeSet<TableId>) {
        lock(&self.known).retain(|id, _| there.contains(id));
    }
}

/// Reads the file's index: some thousandth of it.
fn read(table: &lsm_tree::Table) -> lsm_tree::Result<Vec<Fence>> {
    let file = File::open(&*table.path)?;
    let compression = table.metadata.index_block_compression;
    let index = |handle: BlockHandle| -> lsm_tree::Result<Vec<KeyedBlockHandle>> {
        let block = IndexBlock::new(Block::from_file(&file, handle, compression)?);
        Ok(block.iter().map(|item| item.materialize(&block.inner.data)).collect())
    };
    let top = index(table.regions.tli)?;
    // A large file's index is itself in pieces, and the top says where those are.
    let parts = if table.regions.index.is_some() {
        top.into_iter().map(|part| index(part.into_inner())).collect::<lsm_tree::Result<Vec<_>>>()?
    } else {
        vec![top]
    };
    let blocks: Vec<KeyedBlockHandle> = parts.into_iter().flatten().collect();
    let total: u64 = blocks.iter().map(|block| u64::from(block.size())).sum();
    let mut fences: Vec<Fence> = Vec::new();
    let mut bytes = 0;
    for (at, block) in blocks.iter().enumerate() {
        bytes += u64::from(block.size());
        let done = fences.last().map_or(0, |fence| fence.bytes);
        if bytes - done >= total / PIECES || at + 1 == blocks.len() {
            fences.push(Fence { last: block.end_key().clone(), bytes });
        }
    }
    Ok(fences)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lsm_tree::{AbstractTree as _, AnyTree, Config, SequenceNumberCounter, config::PartitioningPolicy};

    use super::*;

    const ROWS: u32 = 20_000;

    fn tree(folder: &std::path::Path, in_pieces: bool) -> AnyTree {
        let counter = SequenceNumberCounter::default;
        let config = Config::new(folder, counter(), counter());
        let config = config.index_block_partitioning_policy(PartitioningPolicy::all(in_pieces));
        let tree = config.open().unwrap();
        let mut ingestion = tree.ingestion().unwrap();
        for row in 0..ROWS {
            ingestion.write(row.to_be_bytes().to_vec(), row.to_le_bytes().repeat(25)).unwrap();
        }
        ingestion.finish().unwrap();
        tree
    }

    #[test]
    fn a_part_of_a_file_is_as_large_as_its_share_whether_the_index_is_whole_or_in_pieces() {
        for in_pieces in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let tree = tree(folder.path(), in_pieces);
            let version = tree.current_version();
            let table = version.iter_tables().next().unwrap();
            assert_eq!(table.regions.index.is_some(), in_pieces);
            let fences = Fences::default();
            let key = |row: u32| Bytes::copy_from_slice(&row.to_be_bytes());
            let size = |from: u32, to: Option<u32>| {
                fences.size(table, &KeyRange { start: key(from), end: to.map(key) }).unwrap()
            };
            let whole = size(0, None);
            assert!(whole > table.metadata.file_size / 2, "{whole} of {}", table.metadata.file_size);
            let piece = whole / PIECES;
            for (from, to) in [(0, ROWS / 2), (ROWS / 4, ROWS / 2), (ROWS / 2, ROWS / 2 + 1), (7, ROWS - 7)] {
                let share = whole * u64::from(to - from) / u64::from(ROWS);
                let found = size(from, Some(to));
                assert!(found.abs_diff(share) <= 4 * piece, "{found} instead of {share} from {from} to {to}");
            }
            assert_eq!(size(0, Some(777)) + size(777, None), whole);
            fences.retain(&BTreeSet::new());
            assert!(lock(&fences.known).is_empty());
        }
    }
}
