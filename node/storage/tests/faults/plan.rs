//! What the process under test does, made up from a seed alone, and what has to be there after each step.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kv_storage::Space;
use kv_types::{Entry, EntryId, Epoch, Seq, ShardId};
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

const SHARDS: u64 = 3;
const KEYS: u8 = 40;

/// A copy as its log has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Copy {
    pub(crate) promised: Epoch,
    pub(crate) space: Space,
    /// What the log begins after.
    pub(crate) base: EntryId,
    pub(crate) entries: Vec<Entry>,
}

/// The copies of a volume.
pub(crate) type Copies = BTreeMap<ShardId, Copy>;

/// Users' keys and values.
pub(crate) type Rows = BTreeMap<Bytes, Bytes>;

/// One thing to do. What it hands to the log is in [`Planned::states`].
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Append(ShardId, Vec<Entry>),
    Truncate(ShardId, Seq),
    Promise(ShardId, Epoch, Space),
    /// Waits until all that was handed over is durable.
    Wait,
    /// Applies all up to this entry.
    Apply(ShardId, EntryId),
    Flush,
    /// As a copy that needs a snapshot, or is of another lineage: rows go to a new space.
    StartOver {
        shard: ShardId,
        old: Space,
        new: Space,
        promised: Epoch,
    },
    /// A snapshot's rows up to `base`, then the log from there.
    Install {
        shard: ShardId,
        space: Space,
        base: EntryId,
        rows: Rows,
    },
    /// As a copy of a shard that is gone.
    Drop {
        shard: ShardId,
        space: Space,
    },
    /// With `clean` the volume is closed, else left as by a crash of the process.
    Reopen {
        clean: bool,
    },
}

/// A step, and the number of the state that the log has come to after it.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) step: Step,
    pub(crate) state: usize,
}

/// See the module.
pub(crate) struct Plan {
    pub(crate) steps: Vec<Planned>,
    /// One for each record of the log: a crash leaves one of them.
    pub(crate) states: Vec<Copies>,
    /// The rows of a space at each entry that was applied to it.
    pub(crate) rows: BTreeMap<(ShardId, Space), BTreeMap<EntryId, Rows>>,
}

impl Copy {
    pub(crate) fn last(&self) -> EntryId {
        self.entries.last().map_or(self.base, |entry| entry.id)
    }

    /// The entries after `id`.
    pub(crate) fn after(&self, id: EntryId) -> &[Entry] {
        &self.entries[self.entries.partition_point(|entry| entry.id.seq <= id.seq)..]
    }
}

/// The change that an entry makes: its first byte is a key, the rest the value; none deletes.
pub(crate) fn change_of(entry: &Entry) -> (Bytes, Option<Bytes>) {
    let (key, value) = (entry.payload.slice(..1), entry.payload.slice(1..));
    (key, (!value.is_empty()).then_some(value))
}

/// The same name is always the same entry.
fn entry(shard: ShardId, epoch: u64, seq: u64) -> Entry {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(shard.0 << 40 | epoch << 20 | seq);
    let mut payload = vec![random.random_range(0..KEYS)];
    if random.random_range(0..6) > 0 {
        payload.resize(random.random_range(2..3000), 0);
        random.fill(&mut payload[1..]);
    }
    Entry { id: EntryId::new(epoch, seq), payload: payload.into() }
}

struct Planner {
    plan: Plan,
    random: Xoshiro256PlusPlus,
    copies: Copies,
    applied: BTreeMap<ShardId, EntryId>,
    durable: BTreeMap<ShardId, EntryId>,
    last_space: u64,
}

impl Plan {
    pub(crate) fn new(seed: u64, steps: usize) -> Self {
        let mut planner = Planner {
            plan: Self { steps: Vec::new(), states: vec![Copies::new()], rows: BTreeMap::new() },
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            copies: Copies::new(),
            applied: BTreeMap::new(),
            durable: BTreeMap::new(),
            last_space: 0,
        };
        while planner.plan.steps.len() < steps {
            planner.add();
        }
        planner.wait();
        planner.plan
    }

    /// The shards whose copies are emptied or made of a snapshot between two states. One that was interrupted in it is no
    /// member, and may count as void.
    pub(crate) fn emptied(&self, after: usize, upto: usize) -> BTreeSet<ShardId> {
        let within = self.steps.iter().filter(|planned| planned.state > after && planned.state <= upto);
        let emptied = within.filter_map(|planned| match planned.step {
            Step::StartOver { shard, .. } | Step::Install { shard, .. } | Step::Drop { shard, .. } => Some(shard),
            _ => None,
        });
        emptied.collect()
    }
}

impl Planner {
    fn add(&mut self) {
        let shard = ShardId(self.random.random_range(1..=SHARDS));
        let Some(copy) = self.copies.get(&shard).cloned() else {
            let space = self.new_space();
            self.promise(shard, Epoch(0), space);
            return;
        };
        let applied = self.applied.get(&shard).copied().unwrap_or(copy.base);
        match self.random.random_range(0..100) {
            0..8 => self.promise(shard, copy.promised.next(), copy.space),
            8..13 => {
                let last = Seq(self.random.random_range(applied.seq.0..=copy.last().seq.0));
                self.record(shard, |copy| copy.entries.retain(|entry| entry.id.seq <= last));
                self.step(Step::Truncate(shard, last));
            }
            13..30 => self.wait(),
            30..55 => {
                let upto = self.durable.get(&shard).filter(|durable| copy.entries.iter().any(|e| e.id == **durable));
                if let Some(upto) = upto.copied().filter(|upto| upto.seq > applied.seq) {
                    self.apply(shard, &copy, applied, upto);
                }
            }
            55..59 => self.step(Step::Flush),
            59..62 => self.start_over(shard, &copy),
            62..66 if copy.last() == EntryId::ZERO => self.install(shard, &copy),
            66..68 => {
                self.applied.remove(&shard);
                self.copies.remove(&shard);
                self.plan.states.push(self.copies.clone());
                self.step(Step::Drop { shard, space: copy.space });
            }
            68..70 => {
                self.wait();
                let clean = self.random.random();
                self.step(Step::Reopen { clean });
            }
            _ => self.append(shard, &copy, applied),
        }
    }

    fn step(&mut self, step: Step) {
        let state = self.plan.states.len() - 1;
        self.plan.steps.push(Planned { step, state });
    }

    fn record(&mut self, shard: ShardId, change: impl FnOnce(&mut Copy)) {
        change(self.copies.entry(shard).or_default());
        self.plan.states.push(self.copies.clone());
    }

    fn new_space(&mut self) -> Space {
        self.last_space += 1;
        Space(self.last_space)
    }

    fn promise(&mut self, shard: ShardId, promised: Epoch, space: Space) {
        self.record(shard, |copy| (copy.promised, copy.space) = (promised, space));
        self.step(Step::Promise(shard, promised, space));
    }

    fn wait(&mut self) {
        self.step(Step::Wait);
        self.durable = self.copies.iter().map(|(shard, copy)| (*shard, copy.last())).collect();
    }

    fn append(&mut self, shard: ShardId, copy: &Copy, applied: EntryId) {
        let last = copy.last();
        let cuts = last.seq > applied.seq && self.random.random_range(0..8) == 0;
        let first = if cuts { self.random.random_range(applied.seq.0 + 1..=last.seq.0) } else { last.seq.0 + 1 };
        let epoch = last.epoch.0.max(1) + u64::from(cuts || self.random.random_range(0..12) == 0);
        let count = self.random.random_range(1..6);
        let entries: Vec<_> = (first..first + count).map(|seq| entry(shard, epoch, seq)).collect();
        for entry in &entries {
            self.record(shard, |copy| {
                copy.entries.retain(|before| before.id.seq < entry.id.seq);
                copy.entries.push(entry.clone());
            });
        }
        if cuts {
            self.durable.remove(&shard);
        }
        self.step(Step::Append(shard, entries));
    }

    fn apply(&mut self, shard: ShardId, copy: &Copy, from: EntryId, upto: EntryId) {
        let known = self.plan.rows.entry((shard, copy.space)).or_default();
        let mut rows = known.get(&from).cloned().unwrap_or_default();
        for entry in copy.after(from).iter().take_while(|entry| entry.id.seq <= upto.seq) {
            match change_of(entry) {
                (key, Some(value)) => drop(rows.insert(key, value)),
                (key, None) => drop(rows.remove(&key)),
            }
            known.insert(entry.id, rows.clone());
        }
        self.applied.insert(shard, upto);
        self.step(Step::Apply(shard, upto));
    }

    fn start_over(&mut self, shard: ShardId, copy: &Copy) {
        let new = self.new_space();
        self.applied.remove(&shard);
        self.durable.remove(&shard);
        self.record(shard, |copy| copy.space = new);
        self.record(shard, |copy| (copy.base, copy.entries) = (EntryId::ZERO, Vec::new()));
        self.step(Step::StartOver { shard, old: copy.space, new, promised: copy.promised });
    }

    fn install(&mut self, shard: ShardId, copy: &Copy) {
        self.wait();
        let base = EntryId::new(self.random.random_range(1..4), self.random.random_range(5..50));
        let count = self.random.random_range(1..KEYS);
        let rows: Rows = (0..count).map(|key| (vec![key].into(), vec![key; 500].into())).collect();
        self.plan.rows.entry((shard, copy.space)).or_default().insert(base, rows.clone());
        self.applied.insert(shard, base);
        self.record(shard, |copy| copy.base = base);
        self.step(Step::Install { shard, space: copy.space, base, rows });
    }
}
