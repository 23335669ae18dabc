//! The power fails at every write and sync in turn; what was said to be durable must be there, and nothing out of order.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use bytes::Bytes;
use kv_types::{Entry, EntryId, Epoch, EpochHistory, Seq, ShardId, VolumeId};
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use uuid::Uuid;

use super::{Log, LogOptions, ReadError, Refused, Replay, ReplicaState, Ticket, history_up_to};
use crate::{VolumeEvent, disk::simulated::SimulatedDisk, lock};

const STUCK: Duration = Duration::from_secs(60);

pub(super) fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 24 << 10,
        retention_bytes: 48 << 10,
        max_retention_bytes: 1 << 20,
        cache_bytes: 16 << 10,
        queue_bytes: 1 << 20,
    }
}

pub(super) const VOLUME: VolumeId = VolumeId(Uuid::from_u128(7));

/// A log on a simulated disk, and what it has told.
pub(super) struct Running {
    pub(super) log: Log,
    pub(super) told: Arc<(Mutex<Told>, Condvar)>,
}

#[derive(Default)]
pub(super) struct Told {
    pub(super) durable: Ticket,
    pub(super) events: Vec<VolumeEvent>,
}

impl Running {
    pub(super) fn open(disk: &SimulatedDisk) -> std::io::Result<Self> {
        let replay = Replay::read(disk, VOLUME).map_err(std::io::Error::other)?;
        for replica in replay.replicas() {
            assert_eq!(replica.lost, None, "shard {}", replica.shard);
        }
        let log = Log::open(Arc::new(disk.clone()), VOLUME, options(), replay, Vec::new())?;
        Ok(Self { log, told: Arc::default() })
    }

    pub(super) fn start(&self) {
        let told = self.told.clone();
        let events = move |event| {
            let mut inner = lock(&told.0);
            match event {
                VolumeEvent::Durable(ticket) => inner.durable = ticket,
                other => inner.events.push(other),
            }
            told.1.notify_all();
        };
        self.log.start(&(Arc::new(events) as _), Box::new(|_| Seq(u64::MAX))).unwrap();
    }

    pub(super) fn wait(&self, until: impl Fn(&Told) -> bool) {
        let (told, timeout) = self.told.1.wait_timeout_while(lock(&self.told.0), STUCK, |told| !until(told)).unwrap();
        assert!(!timeout.timed_out(), "stuck: {:?}", told.events);
    }

    /// Waits until `ticket` is durable; `false` if the disk failed before.
    pub(super) fn durable(&self, ticket: Ticket) -> bool {
        let fatal = |told: &Told| told.events.iter().any(|event| matches!(event, VolumeEvent::Fatal(_)));
        self.wait(|told| told.durable >= ticket || fatal(told));
        lock(&self.told.0).durable >= ticket
    }
}

pub(super) fn entry(epoch: u64, seq: u64, len: usize) -> Entry {
    let payload = (0..len).map(|at| (at as u64 * 7 + epoch * 31 + seq) as u8).collect::<Vec<_>>();
    Entry { id: EntryId::new(epoch, seq), payload: payload.into() }
}

/// What a shard's log holds, kept in the plainest way.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    promised: Epoch,
    base: EntryId,
    entries: Vec<(EntryId, Bytes)>,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Append(ShardId, Vec<Entry>),
    Truncate(ShardId, Seq),
    Promise(ShardId, Epoch),
    Reset(ShardId, EntryId),
    Forget(ShardId),
}

pub(super) type Models = BTreeMap<ShardId, Model>;

impl Step {
    pub(super) fn random(models: &Models, random: &mut Xoshiro256PlusPlus) -> Self {
        let shard = ShardId(random.random_range(1..4));
        let model = models.get(&shard).cloned().unwrap_or_default();
        let last = model.last();
        match random.random_range(0..20) {
            0 => Self::Promise(shard, model.promised.next()),
            1 => Self::Truncate(shard, Seq(random.random_range(model.base.seq.0..=last.seq.0))),
            2 if random.random_range(0..4) == 0 => Self::Forget(shard),
            3 if random.random_range(0..3) == 0 => {
                let base =
                    EntryId { epoch: Epoch(last.epoch.0.max(1)), seq: Seq(last.seq.0 + random.random_range(1..9)) };
                Self::Reset(shard, if random.random() { base } else { EntryId::ZERO })
            }
            _ => {
                let epoch = last.epoch.0.max(1) + u64::from(random.random_range(0..10) == 0);
                let next = if random.random_range(0..12) == 0 {
                    random.random_range(model.base.seq.0 + 1..=last.seq.0 + 1)
                } else {
                    last.seq.0 + 1
                };
                let epoch = if next <= last.seq.0 { epoch + 1 } else { epoch };
                let count = random.random_range(1..6_u64);
                // The same name is always the same entry.
                let len = |seq: u64| ((seq * 7919 + epoch * 104_729) % 3000) as usize;
                let entries = (next..next + count).map(|seq| entry(epoch, seq, len(seq)));
                Self::Append(shard, entries.collect())
            }
        }
    }

    /// The steps that it may be torn into.
    pub(super) fn records(&self) -> Vec<Self> {
        match self {
            Self::Append(shard, entries) => {
                entries.iter().map(|entry| Self::Append(*shard, vec![entry.clone()])).collect()
            }
            other => vec![other.clone()],
        }
    }

    pub(super) fn apply(&self, models: &mut Models) {
        match self {
            Self::Append(shard, entries) => {
                let model = models.entry(*shard).or_default();
                model.entries.retain(|(id, _)| id.seq < entries[0].id.seq);
                model.entries.extend(entries.iter().map(|entry| (entry.id, entry.payload.clone())));
            }
            Self::Truncate(shard, last) => {
                models.entry(*shard).or_default().entries.retain(|(id, _)| id.seq <= *last);
            }
            Self::Promise(shard, epoch) => models.entry(*shard).or_default().promised = *epoch,
            Self::Reset(shard, base) => {
                let model = models.entry(*shard).or_default();
                (model.base, model.entries) = (*base, Vec::new());
            }
            Self::Forget(shard) => {
                models.remove(shard);
            }
        }
    }

    pub(super) fn submit(&self, log: &Log) -> Result<Ticket, Refused> {
        match self {
            Self::Append(shard, entries) => log.append(*shard, entries),
            Self::Truncate(shard, last) => log.truncate(*shard, *last),
            Self::Promise(shard, promised) => {
                log.put_state(*shard, ReplicaState { promised: *promised, ..ReplicaState::default() })
            }
            Self::Reset(shard, base) => log.reset(*shard, *base, &EpochHistory::default()),
            Self::Forget(shard) => log.forget(*shard),
        }
    }
}

impl Model {
    fn last(&self) -> EntryId {
        self.entries.last().map_or(self.base, |(id, _)| *id)
    }
}

/// Whether the log holds what the models say. Old segments may be gone; then so are their entries.
pub(super) fn holds(log: &Log, models: &Models) -> bool {
    let states: BTreeMap<_, _> = log.states().into_iter().collect();
    let same_shards = states.keys().eq(models.keys());
    same_shards
        && models.iter().all(|(shard, model)| {
            let history = log.history(*shard).unwrap();
            if history.last() != model.last() || states[shard].promised != model.promised {
                return false;
            }
            let found = read_all(log, *shard, history.last().seq);
            let expected = model.entries.iter().skip(model.entries.len().saturating_sub(found.len()));
            let expected: Vec<_> = expected.map(|(id, payload)| Entry { id: *id, payload: payload.clone() }).collect();
            found == expected
                && log.first_seq(*shard) >= found.first().map_or(model.last().seq.next(), |first| first.id.seq)
        })
}

fn read_all(log: &Log, shard: ShardId, last: Seq) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    loop {
        let from = found.last().map_or_else(|| log.first_seq(shard), |entry| entry.id.seq.next());
        if from > last {
            return found;
        }
        match log.read(shard, from, 5000) {
            Ok(entries) => found.extend(entries),
            // A segment went in between.
            Err(ReadError::Compacted { first, .. }) if first > from => found.clear(),
            Err(error) => panic!("shard {shard}, from {from}: {error}"),
        }
    }
}

/// Runs steps until the power fails or all are done, then starts again, perhaps with another failure, and compares.
fn crash_once(seed: u64, crash_at: u64) -> bool {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let disk = SimulatedDisk::new(seed * 1000 + crash_at);
    disk.crash_at(crash_at);
    let mut states = vec![Models::new()];
    // The state that each ticket stands for.
    let mut ends = vec![0];
    let mut acknowledged = 0;
    if let Ok(running) = Running::open(&disk) {
        running.start();
        'steps: for _ in 0..40 {
            let mut tickets = Vec::new();
            for _ in 0..random.random_range(1..6) {
                let mut models = states.last().unwrap().clone();
                let step = Step::random(&models, &mut random);
                let Ok(ticket) = step.submit(&running.log) else { break 'steps };
                for step in step.records() {
                    step.apply(&mut models);
                    states.push(models.clone());
                }
                assert_eq!(ticket.0 as usize, ends.len());
                ends.push(states.len() - 1);
                tickets.push(ticket);
            }
            if !tickets.last().is_none_or(|last| running.durable(*last)) {
                break;
            }
            acknowledged = states.len() - 1;
            assert!(holds(&running.log, states.last().unwrap()), "seed {seed}, before the crash at {crash_at}");
        }
        running.log.close();
        let durable = ends[lock(&running.told.0).durable.0 as usize];
        assert!(durable >= acknowledged);
        acknowledged = durable;
    }
    let crashed = disk.has_crashed();
    let disk = disk.restart_machine();
    disk.crash_at(random.random_range(1..8));
    let again = Running::open(&disk);
    let disk = if disk.has_crashed() { disk.restart_machine() } else { disk.restart_process() };
    drop(again);
    let running = Running::open(&disk).unwrap();
    let found = states[acknowledged..].iter().any(|models| holds(&running.log, models));
    let summary = || {
        let of = |(shard, state): (ShardId, ReplicaState)| {
            (shard, state.promised, running.log.history(shard).unwrap().last(), running.log.first_seq(shard))
        };
        running.log.states().into_iter().map(of).collect::<Vec<_>>()
    };
    let expected = states[acknowledged..]
        .iter()
        .map(|models| models.iter().map(|(shard, model)| (*shard, model.promised, model.last())).collect::<Vec<_>>());
    assert!(
        found,
        "seed {seed}, crash at {crash_at}: found {:?}, expected one of {:?}",
        summary(),
        expected.collect::<Vec<_>>()
    );
    // The start that came through has left nothing behind that the next one would take for damage.
    let before = running.log.states();
    drop(running);
    let running = Running::open(&disk.restart_machine()).unwrap();
    assert_eq!(running.log.states(), before, "seed {seed}, crash at {crash_at}");
    crashed
}

#[test]
fn every_crash_leaves_what_was_acknowledged_and_a_prefix() {
    for seed in 0..6 {
        let mut crash_at = 1;
        while crash_once(seed, crash_at) {
            crash_at += 1;
        }
        assert!(crash_at > 60, "only {crash_at} operations: the workload is too small");
    }
}

#[test]
fn what_a_failed_sync_left_in_the_page_cache_does_not_count_before_it_is_written_again() {
    let disk = SimulatedDisk::new(1);
    let running = Running::open(&disk).unwrap();
    running.start();
    let shard = ShardId(1);
    assert!(running.durable(running.log.append(shard, &[entry(1, 1, 10)]).unwrap()));
    disk.fail_writes(std::io::ErrorKind::Other);
    let failed = running.log.append(shard, &[entry(1, 2, 10)]).unwrap();
    assert!(!running.durable(failed));
    assert!(matches!(running.log.append(shard, &[entry(1, 3, 10)]), Err(Refused::Stopped(_))));
    running.log.close();

    // The next process reads it, and may build on it only because it has written it again.
    let disk = disk.restart_process();
    let running = Running::open(&disk).unwrap();
    assert_eq!(running.log.history(shard).unwrap().last(), EntryId::new(1, 2));
    let disk = disk.restart_machine();
    let running = Running::open(&disk).unwrap();
    assert_eq!(running.log.read(shard, Seq(1), 1000).unwrap(), [entry(1, 1, 10), entry(1, 2, 10)]);
}

#[test]
fn a_history_that_does_not_end_with_the_base_is_not_believed() {
    let history = EpochHistory::new(vec![EntryId::new(1, 1)], Seq(9)).unwrap();
    assert_eq!(history_up_to(EntryId::new(1, 5), &history).starts(), [EntryId::new(1, 1)]);
    assert_eq!(history_up_to(EntryId::new(2, 9), &history).starts(), [EntryId::new(2, 9)]);
    assert_eq!(history_up_to(EntryId::ZERO, &history), EpochHistory::default());
}
