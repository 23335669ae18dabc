use std::{collections::BTreeMap, convert::Infallible};

use bytes::Bytes;
use kv_replication::apply::{Change, Machine, Sessions, State, Value};
use kv_types::{Entry, EntryId, KeyRange, Limits, Outcome, Seq, ShardId, Split};

/// Few sessions and few results, so that both are evicted now and then.
const LIMITS: Limits = Limits {
    key_bytes: 16,
    value_bytes: 64,
    batch_bytes: 256,
    batch_operations: 4,
    scan_page_keys: 1,
    scan_page_bytes: 1,
    sessions: 6,
    session_results: 4,
};

/// A shard's keys and sessions in memory.
#[derive(Debug)]
pub(crate) struct Table {
    shard: ShardId,
    keys: Keys,
    machine: Machine,
    applied: EntryId,
}

#[derive(Clone, Debug, Default)]
struct Keys(BTreeMap<Bytes, Value>);

impl State for Keys {
    type Error = Infallible;

    fn value(&self, key: &[u8]) -> Result<Option<Value>, Infallible> {
        Ok(self.0.get(key).cloned())
    }
}

impl Clone for Table {
    fn clone(&self) -> Self {
        Self::of(self.shard, self.keys.clone(), self.machine.sessions().clone(), self.applied)
    }
}

impl Table {
    pub(crate) fn empty(shard: ShardId) -> Self {
        Self::of(shard, Keys::default(), Sessions::default(), EntryId::ZERO)
    }

    fn of(shard: ShardId, keys: Keys, sessions: Sessions, applied: EntryId) -> Self {
        Self { shard, keys, machine: Machine::new(shard, LIMITS, sessions), applied }
    }

    pub(crate) fn applied(&self) -> Seq {
        self.applied.seq
    }

    pub(crate) fn applied_id(&self) -> EntryId {
        self.applied
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Value> {
        self.keys.0.get(key).cloned()
    }

    /// Applies an entry; a split ends with the child's table.
    #[expect(clippy::panic, reason = "what the core has let into its log can be applied: a violation otherwise")]
    pub(crate) fn apply(&mut self, entry: &Entry) -> (Outcome, Option<(Split, Self)>) {
        let applied = match self.machine.apply(std::slice::from_ref(entry), &self.keys) {
            Ok(applied) => applied,
            Err(error) => panic!("{:?} can't be applied: {error:?}", entry.id),
        };
        for change in applied.changes {
            match change {
                Change::Put { key, value } => drop(self.keys.0.insert(key, value)),
                Change::Delete { key, .. } => drop(self.keys.0.remove(&key)),
                _ => {}
            }
        }
        self.applied = entry.id;
        let split = applied.split.map(|split| {
            let child = self.child(&split);
            (split, child)
        });
        (applied.outcomes.into_iter().next().unwrap_or(Outcome::Nothing), split)
    }

    fn child(&self, split: &Split) -> Self {
        let high = KeyRange { start: split.at.clone(), end: None };
        let keys = self.keys.0.iter().filter(|(key, _)| high.contains(key));
        let keys = Keys(keys.map(|(key, value)| (key.clone(), value.clone())).collect());
        Self::of(split.child, keys, self.machine.sessions().clone(), self.applied)
    }

    /// The same with the sessions of `other`: what a volume would hold if they were not written in one batch.
    pub(crate) fn with_sessions_of(&self, other: &Self) -> Self {
        Self::of(self.shard, self.keys.clone(), other.machine.sessions().clone(), self.applied)
    }

    pub(crate) fn same_keys(&self, other: &Self) -> bool {
        self.keys.0 == other.keys.0
    }
}
