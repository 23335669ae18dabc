use std::collections::BTreeMap;

use bytes::Bytes;
use kv_types::{Change, Command, Entry, EntryId, Lineage, Outcome, Seq, ShardId};

use crate::{invariants::Invariant, table::Table};

/// All that was ever committed in a shard, and what it must have come to: no node knows it, the invariants do.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) lineage: Lineage,
    /// The entry at seq n is at n - 1.
    entries: Vec<Entry>,
    outcomes: Vec<Outcome>,
    table: Table,
    /// Where each unique value took effect.
    effects: BTreeMap<Bytes, Seq>,
    /// Entries that the copy which was promoted by force lacked then. What was under way to it may still reach it.
    lost: Vec<Entry>,
}

impl Ledger {
    pub(crate) fn new(shard: ShardId, lineage: Lineage) -> Self {
        Self {
            lineage,
            entries: Vec::new(),
            outcomes: Vec::new(),
            table: Table::empty(shard),
            effects: BTreeMap::new(),
            lost: Vec::new(),
        }
    }

    pub(crate) fn last(&self) -> EntryId {
        self.entries.last().map_or(EntryId::ZERO, |entry| entry.id)
    }

    /// An entry was applied by some replica, with this outcome.
    pub(crate) fn applied(&mut self, entry: &Entry, outcome: &Outcome) -> Result<Option<Self>, (Invariant, String)> {
        let id = entry.id;
        let at = id.seq.0 as usize - 1;
        if at >= self.entries.len() {
            let reached = at - self.entries.len();
            for entry in std::mem::take(&mut self.lost).iter().take(reached) {
                self.commit(entry)?;
            }
        }
        if at > self.entries.len() {
            let last = self.last();
            return Err((Invariant::Agreement, format!("{id:?} was applied, and nothing after {last:?} is committed")));
        }
        let mut child = None;
        if at == self.entries.len() {
            child = self.commit(entry)?;
        } else if self.entries[at] != *entry {
            let known = self.entries[at].id;
            return Err((Invariant::Agreement, format!("{id:?} was applied where {known:?} is committed")));
        }
        if self.outcomes[at] != *outcome {
            let due = &self.outcomes[at];
            return Err((Invariant::Once, format!("{id:?} came to {outcome:?} instead of {due:?}")));
        }
        Ok(child)
    }

    fn commit(&mut self, entry: &Entry) -> Result<Option<Self>, (Invariant, String)> {
        let (outcome, split) = self.table.apply(entry);
        let took_effect = matches!(&outcome, Outcome::Applied { revision, .. } if *revision == entry.id.seq);
        if took_effect
            && let Some(value) = put_value(entry)
            && let Some(before) = self.effects.insert(value.clone(), entry.id.seq)
        {
            let text = format!("{value:?} was applied at {before} and again by {:?}", entry.id);
            return Err((Invariant::Once, text));
        }
        self.entries.push(entry.clone());
        self.outcomes.push(outcome);
        Ok(split.map(|(_, table)| Self {
            lineage: self.lineage,
            entries: self.entries.clone(),
            outcomes: self.outcomes.clone(),
            effects: self.effects.clone(),
            lost: Vec::new(),
            table,
        }))
    }

    /// A force-promote has made a log the truth that may lack the last entries: what they did is lost.
    pub(crate) fn forget_above(&mut self, kept: Seq, lineage: Lineage, shard: ShardId) {
        let (kept, lost): (Vec<_>, Vec<_>) = self.entries.drain(..).partition(|entry| entry.id.seq <= kept);
        *self = Self { lost, ..Self::new(shard, lineage) };
        for entry in kept {
            let _ = self.commit(&entry);
        }
    }

    /// The last committed entry that `holds` says is there.
    pub(crate) fn last_held(&self, holds: impl Fn(EntryId) -> bool) -> Seq {
        self.entries.iter().rev().find(|entry| holds(entry.id)).map_or(Seq(0), |entry| entry.id.seq)
    }

    pub(crate) fn agrees_with(&self, table: &Table) -> bool {
        table.applied() != self.table.applied() || table.same_keys(&self.table)
    }
}

/// The value that an entry sets; all of them are unique.
fn put_value(entry: &Entry) -> Option<Bytes> {
    let Ok(Command::Write(write)) = Command::decode(entry.payload.clone()) else { return None };
    match write.operations.into_iter().next()?.change? {
        Change::Put(put) => Some(put.value),
        Change::Delete(_) => None,
    }
}
