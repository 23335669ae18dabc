use std::collections::VecDeque;

use kv_types::{Entry, EntryId, Epoch, EpochHistory, Seq};

use super::Ticket;

/// What the core knows of its log: which entries it has, which are durable, and the last of them themselves.
#[derive(Debug)]
pub(super) struct ReplicaLog {
    history: EpochHistory,
    /// The newest entries, without gaps, up to the last: at least all that are not applied.
    tail: VecDeque<Entry>,
    tail_bytes: usize,
    durable: Seq,
    /// Appends on their way to the disk: with the ticket, all up to the seq is durable.
    syncing: VecDeque<(Ticket, Seq)>,
    applied: Seq,
}

impl ReplicaLog {
    /// A recovered log: all of `history` is durable, all up to `applied` is in the table, `tail` is what follows.
    pub(super) fn new(history: EpochHistory, applied: Seq, tail: Vec<Entry>) -> Self {
        let durable = history.last().seq;
        let tail_bytes = tail.iter().map(size).sum();
        Self { history, tail: tail.into(), tail_bytes, durable, syncing: VecDeque::new(), applied }
    }

    pub(super) fn history(&self) -> &EpochHistory {
        &self.history
    }

    pub(super) fn last(&self) -> EntryId {
        self.history.last()
    }

    /// The entry at `seq`, which must not lie above the last.
    pub(super) fn id_at(&self, seq: Seq) -> EntryId {
        EntryId { epoch: self.history.epoch_at(seq).unwrap_or(Epoch(0)), seq }
    }

    pub(super) const fn durable(&self) -> Seq {
        self.durable
    }

    pub(super) const fn applied(&self) -> Seq {
        self.applied
    }

    /// Whether this log has the entry, or had it before a snapshot took its place.
    pub(super) fn has(&self, id: EntryId) -> bool {
        // What is applied is committed, and committed prefixes agree.
        id.seq <= self.applied || self.history.contains(id)
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.history.push(entry.id);
        self.tail_bytes += size(&entry);
        self.tail.push_back(entry);
    }

    /// All up to the last entry is durable with `ticket`.
    pub(super) fn sync_with(&mut self, ticket: Ticket) {
        self.syncing.push_back((ticket, self.last().seq));
    }

    pub(super) fn on_durable(&mut self, ticket: Ticket) {
        while let Some((_, seq)) = self.syncing.pop_front_if(|(waiting, _)| *waiting <= ticket) {
            self.durable = self.durable.max(seq);
        }
    }

    /// Cuts all above `after`, which is never below what was applied.
    pub(super) fn truncate(&mut self, after: Seq) {
        assert!(after >= self.applied, "cut after {after} would undo what was applied up to {}", self.applied);
        self.history.truncate(after);
        while let Some(entry) = self.tail.pop_back_if(|entry| entry.id.seq > after) {
            self.tail_bytes -= size(&entry);
        }
        self.durable = self.durable.min(after);
        for (_, seq) in &mut self.syncing {
            *seq = (*seq).min(after);
        }
    }

    /// Everything up to `base` is in the table, and nothing above is known. Durable with the reset's own ticket.
    pub(super) fn reset(&mut self, base: EntryId, history: EpochHistory, ticket: Ticket) {
        *self = Self::new(history, base.seq, Vec::new());
        self.durable = Seq(0);
        self.syncing.push_back((ticket, base.seq));
    }

    /// The entries from `from` on that are in memory, up to `max_bytes` but at least one; `None`: they are on disk only.
    pub(super) fn in_memory(&self, from: Seq, max_bytes: usize) -> Option<Vec<Entry>> {
        if from > self.last().seq {
            return Some(Vec::new());
        }
        let first = self.tail.front()?.id.seq;
        let skip = usize::try_from(from.0.checked_sub(first.0)?).ok()?;
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += size(entry);
            first || bytes <= max_bytes
        };
        Some(self.tail.range(skip..).take_while(fits).cloned().collect())
    }

    /// Takes the entries up to `commit` that have not been applied.
    pub(super) fn take_committed(&mut self, commit: Seq) -> Vec<Entry> {
        let commit = commit.min(self.last().seq);
        if commit <= self.applied {
            return Vec::new();
        }
        let first = self.tail.front().map_or(Seq(0), |entry| entry.id.seq);
        let skip = usize::try_from(self.applied.0 + 1 - first.0).unwrap_or(usize::MAX);
        let count = usize::try_from(commit.0 - self.applied.0).unwrap_or(usize::MAX);
        let taken: Vec<_> = self.tail.range(skip..).take(count).cloned().collect();
        debug_assert_eq!(taken.first().map(|entry| entry.id.seq), Some(self.applied.next()));
        self.applied = commit;
        taken
    }

    /// Forgets applied entries below `needed_from`, and beyond `max_bytes` all that are applied.
    pub(super) fn trim(&mut self, needed_from: Seq, max_bytes: usize) {
        while let Some(entry) = self.tail.front() {
            let applied = entry.id.seq <= self.applied;
            if !applied || (entry.id.seq >= needed_from && self.tail_bytes <= max_bytes) {
                break;
            }
            self.tail_bytes -= size(entry);
            self.tail.pop_front();
        }
    }
}

/// An entry's share of the memory bounds in bytes.
pub(super) fn size(entry: &Entry) -> usize {
    entry.payload.len() + 64
}
