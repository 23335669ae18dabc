use std::collections::VecDeque;

use kv_types::{Entry, Seq, ShardId};
use rustc_hash::FxHashMap;

use super::Ticket;

/// An entry's share of memory bounds beyond its payload, in bytes.
const OVERHEAD: usize = 96;

/// The newest entries of each shard: all that are not written yet, and beyond these as many as `bound` allows, the
/// oldest going first.
pub(super) struct EntryCache {
    bound: usize,
    bytes: usize,
    shards: FxHashMap<ShardId, VecDeque<(Ticket, Entry)>>,
    /// Written entries in the order of the log; some may have been cut since.
    written: VecDeque<(ShardId, Ticket, Seq)>,
}

pub(super) fn cost(entry: &Entry) -> usize {
    entry.payload.len() + OVERHEAD
}

impl EntryCache {
    pub(super) fn new(bound: usize) -> Self {
        Self { bound, bytes: 0, shards: FxHashMap::default(), written: VecDeque::new() }
    }

    /// Adds entries that follow each other; the shard's own from the first of them on are cut.
    pub(super) fn append(&mut self, shard: ShardId, ticket: Ticket, new: &[Entry]) {
        let Some(first) = new.first() else { return };
        let entries = self.shards.entry(shard).or_default();
        while let Some((_, entry)) = entries.pop_back_if(|(_, entry)| entry.id.seq >= first.id.seq) {
            self.bytes -= cost(&entry);
        }
        self.bytes += new.iter().map(cost).sum::<usize>();
        entries.extend(new.iter().map(|entry| (ticket, entry.clone())));
    }

    pub(super) fn truncate(&mut self, shard: ShardId, last: Seq) {
        if let Some(entries) = self.shards.get_mut(&shard) {
            while let Some((_, entry)) = entries.pop_back_if(|(_, entry)| entry.id.seq > last) {
                self.bytes -= cost(&entry);
            }
        }
    }

    pub(super) fn forget(&mut self, shard: ShardId) {
        let entries = self.shards.remove(&shard).unwrap_or_default();
        self.bytes -= entries.iter().map(|(_, entry)| cost(entry)).sum::<usize>();
    }

    /// Tells that an entry is in its segment and in the index, so that it can go.
    pub(super) fn written(&mut self, shard: ShardId, ticket: Ticket, seq: Seq) {
        self.written.push_back((shard, ticket, seq));
    }

    /// Lets written entries go while there is more than the bound.
    pub(super) fn evict(&mut self) {
        while self.bytes > self.bound {
            let Some((shard, ticket, seq)) = self.written.pop_front() else { return };
            let Some(entries) = self.shards.get_mut(&shard) else { continue };
            // Another entry stands here if this one was cut; its own turn comes later.
            let same = |(of, entry): &mut (Ticket, Entry)| *of == ticket && entry.id.seq == seq;
            if let Some((_, entry)) = entries.pop_front_if(same) {
                self.bytes -= cost(&entry);
            }
        }
    }

    pub(super) fn first(&self, shard: ShardId) -> Option<Seq> {
        self.shards.get(&shard)?.front().map(|(_, entry)| entry.id.seq)
    }

    /// Entries from `from` on, up to `max_bytes` but at least one; `None` if `from` is not here.
    pub(super) fn read(&self, shard: ShardId, from: Seq, max_bytes: usize) -> Option<Vec<Entry>> {
        let entries = self.shards.get(&shard)?;
        let first = entries.front()?.1.id.seq;
        let skip = usize::try_from(from.0.checked_sub(first.0)?).ok()?;
        if skip >= entries.len() {
            return None;
        }
        let mut bytes = 0;
        let taken = entries.range(skip..).map(|(_, entry)| entry).take_while(|entry| {
            let first = bytes == 0;
            bytes += cost(entry);
            first || bytes <= max_bytes
        });
        Some(taken.cloned().collect())
    }
}
