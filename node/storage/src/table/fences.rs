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
