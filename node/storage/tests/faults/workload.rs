//! The process under test: goes through a plan, and says in between what it was promised.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use kv_storage::{
    Batch, Direction, Recovered, ReplicaState, Space, Table, Ticket, Volume, VolumeEvent, VolumeOptions, block_cache,
    rows,
};
use kv_types::{Entry, EntryId, EpochHistory, Folder, KeyRange, NodeName, Seq, ShardId};
use uuid::Uuid;

use crate::plan::{Copies, Plan, Rows, Step, change_of};

/// How long the disk may take before the process counts as stuck.
pub(crate) const STUCK: Duration = Duration::from_secs(60);

/// How a process ends that was told of a fault and stopped.
pub(crate) const TOLD: i32 = 10;
/// How one ends that has read something else than what was written.
pub(crate) const WRONG: i32 = 20;

pub(crate) const CLUSTER: Uuid = Uuid::from_u128(0xC1);

pub(crate) fn options() -> VolumeOptions {
    VolumeOptions {
        segment_bytes: 64 << 10,
        log_retention: 64 << 10,
        entry_cache_bytes: 8 << 10,
        memtable_bytes: 24 << 10,
        idle_flush: Duration::from_secs(3600),
        block_cache: block_cache(1 << 20),
        ..VolumeOptions::default()
    }
}

pub(crate) fn open(root: &Path) -> Result<(Volume, Recovered), kv_storage::OpenError> {
    let node = NodeName::new("demo-0").unwrap();
    Volume::open(&root.join("data"), Folder::Data, &node, options())
}

#[derive(Default)]
struct Heard {
    durable: Ticket,
    full: bool,
    failed: Option<String>,
}

struct Process<'a> {
    root: &'a Path,
    plan: &'a Plan,
    marks: File,
    volume: Option<Volume>,
    heard: Arc<(Mutex<Heard>, Condvar)>,
    last: Ticket,
    applied: BTreeMap<ShardId, EntryId>,
    /// A lack of room may pass by itself.
    room_returns: bool,
}

/// Ends the process with `TOLD` or `WRONG` where something is not as it should be.
pub(crate) fn run(root: &Path, marks: &Path, plan: &Plan, room_returns: bool) {
    let marks = File::create(marks).unwrap();
    let (heard, applied) = (Arc::default(), BTreeMap::new());
    let mut process = Process { root, plan, marks, volume: None, heard, last: Ticket(0), applied, room_returns };
    process.open(&Copies::new());
    let id = process.volume().id();
    process.mark(&format!("identity {id}"));
    if let Err(error) = process.volume().bind_cluster(CLUSTER) {
        process.told(&error);
    }
    process.mark("bound");
    for planned in &plan.steps {
        process.mark(&format!("tried {}", planned.state));
        process.step(&planned.step, planned.state);
    }
    process.volume.take().unwrap().close();
}

impl Process<'_> {
    fn mark(&mut self, text: &str) {
        self.marks.write_all(text.as_bytes()).unwrap();
    }

    fn told(&mut self, what: &dyn std::fmt::Display) -> ! {
        self.mark(&format!("told {what}"));
        std::process::exit(TOLD)
    }

    fn wrong(&mut self, what: &str) -> ! {
        self.mark(&format!("wrong {what}"));
        std::process::exit(WRONG)
    }

    fn ok<T, E: std::fmt::Display>(&mut self, result: Result<T, E>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => self.told(&error),
        }
    }

    fn volume(&self) -> &Volume {
        self.volume.as_ref().unwrap()
    }

    fn table(&self) -> Arc<dyn Table> {
        self.volume().table().clone()
    }

    fn open(&mut self, expected: &Copies) {
        let opened = open(self.root);
        let (volume, recovered) = self.ok(opened);
        self.heard = Arc::default();
        self.last = Ticket(0);
        let heard = self.heard.clone();
        let handler = move |event| {
            let mut inner = heard.0.lock().unwrap();
            match event {
                VolumeEvent::Durable(ticket) => inner.durable = ticket,
                VolumeEvent::Full => inner.full = true,
                VolumeEvent::Room => inner.full = false,
                VolumeEvent::Persisted => {}
                VolumeEvent::Fatal(why) | VolumeEvent::TableDamaged(why) => inner.failed = Some(why),
            }
            heard.1.notify_all();
        };
        self.ok(volume.start(Box::new(handler)));
        self.volume = Some(volume);
        if let Err(why) = crate::check::log_is(self.volume(), &recovered, expected) {
            self.wrong(&why);
        }
        for replica in recovered.replicas {
            let upto = self.applied.get(&replica.shard).copied().unwrap_or(EntryId::ZERO);
            if replica.applied.seq > upto.seq {
                self.wrong(&format!("{:?} was applied of shard {}", replica.applied, replica.shard));
            }
            let tail: Vec<_> = replica.tail.into_iter().take_while(|entry| entry.id.seq <= upto.seq).collect();
            self.apply(replica.shard, replica.state.space, &tail);
        }
    }

    fn apply(&mut self, shard: ShardId, space: Space, entries: &[Entry]) {
        for entry in entries {
            let mut batch = Batch::default();
            match change_of(entry) {
                (key, Some(value)) => batch.put(rows::data_key(space, &key), value),
                (key, None) => batch.delete(rows::data_key(space, &key)),
            }
            batch.put(rows::applied_key(shard), rows::encode_applied(entry.id, space));
            let written = self.table().write(batch);
            self.ok(written);
        }
    }

    fn step(&mut self, step: &Step, state: usize) {
        let empty = EpochHistory::default();
        match step {
            Step::Append(shard, entries) => {
                let ticket = self.volume().append(*shard, entries);
                self.last = self.ok(ticket);
            }
            Step::Truncate(shard, last) => {
                let ticket = self.volume().truncate(*shard, *last);
                self.last = self.ok(ticket);
            }
            Step::Promise(shard, promised, space) => {
                let state = ReplicaState { promised: *promised, space: *space, ..ReplicaState::default() };
                let ticket = self.volume().put_state(*shard, state);
                self.last = self.ok(ticket);
            }
            Step::Wait => {
                self.wait();
                self.mark(&format!("durable {state}"));
                self.read_back(state);
            }
            Step::Apply(shard, upto) => {
                let copy = self.plan.states[state][shard].clone();
                let from = self.applied.insert(*shard, *upto).unwrap_or(copy.base);
                let upto = copy.after(from).iter().take_while(|entry| entry.id.seq <= upto.seq).count();
                self.apply(*shard, copy.space, &copy.after(from)[..upto]);
            }
            Step::Flush => self.flush(),
            Step::StartOver { shard, old, new, promised } => {
                self.empty(*shard, *old);
                let state = ReplicaState { promised: *promised, space: *new, ..ReplicaState::default() };
                let handed = self.volume().put_state(*shard, state);
                self.ok(handed);
                let ticket = self.volume().reset(*shard, EntryId::ZERO, &empty);
                self.last = self.ok(ticket);
            }
            Step::Install { shard, space, base, rows } => {
                self.install(*shard, *space, *base, rows);
                let ticket = self.volume().reset(*shard, *base, &empty);
                self.last = self.ok(ticket);
            }
            Step::Drop { shard, space } => {
                self.empty(*shard, *space);
                let ticket = self.volume().forget(*shard);
                self.last = self.ok(ticket);
            }
            Step::Reopen { clean } => {
                let volume = self.volume.take().unwrap();
                if *clean {
                    volume.close();
                } else {
                    drop(volume);
                }
                self.open(&self.plan.states[state]);
            }
        }
    }

    fn empty(&mut self, shard: ShardId, space: Space) {
        self.applied.remove(&shard);
        let mut batch = Batch::default();
        batch.delete(rows::applied_key(shard));
        let written = self.table().write(batch);
        self.ok(written);
        let deleted = self.table().delete_range(&rows::data_range(space, &KeyRange::all()));
        self.ok(deleted);
    }

    fn install(&mut self, shard: ShardId, space: Space, base: EntryId, content: &Rows) {
        let (table, mut batch) = (self.table(), Batch::default());
        for (key, value) in content {
            batch.put(rows::data_key(space, key), value.clone());
            self.ok(table.write(std::mem::take(&mut batch)));
        }
        batch.put(rows::applied_key(shard), rows::encode_applied(base, space));
        self.ok(table.write(batch));
        self.flush();
        self.applied.insert(shard, base);
    }

    /// A full disk lets a flush wait for ever: then the process has been told.
    fn flush(&mut self) {
        let table = self.table();
        let (done, heard) = (Arc::new(Mutex::new(None)), self.heard.clone());
        let (result, told) = (done.clone(), heard.clone());
        std::thread::spawn(move || {
            let flushed = table.flush().map_err(|error| error.to_string());
            // Before it is said: the table must not go on while the volume is opened anew.
            drop(table);
            *result.lock().unwrap() = Some(flushed);
            drop(told.0.lock().unwrap());
            told.1.notify_all();
        });
        let (finished, room_returns) = (done.clone(), self.room_returns);
        self.until(move |heard| finished.lock().unwrap().is_some() || (heard.full && !room_returns));
        let result = done.lock().unwrap().take();
        match result {
            Some(result) => self.ok(result),
            None => self.told(&"no room for the table"),
        }
    }

    fn wait(&mut self) {
        let (last, room_returns) = (self.last, self.room_returns);
        self.until(move |heard| heard.durable >= last || heard.failed.is_some() || (heard.full && !room_returns));
        let (durable, failed) = {
            let heard = self.heard.0.lock().unwrap();
            (heard.durable >= last, heard.failed.clone())
        };
        match failed {
            Some(why) => self.told(&why),
            None if !durable => self.told(&"no room for the log"),
            None => {}
        }
    }

    fn until(&self, condition: impl Fn(&Heard) -> bool) {
        let inner = self.heard.0.lock().unwrap();
        let waited = self.heard.1.wait_timeout_while(inner, STUCK, |heard| !condition(heard)).unwrap();
        assert!(!waited.1.timed_out(), "stuck");
    }

    /// What can be read must be what was written.
    fn read_back(&mut self, state: usize) {
        for (shard, copy) in &self.plan.states[state] {
            if let Some(applied) = self.applied.get(shard).copied() {
                let expected = self.plan.rows[&(*shard, copy.space)].get(&applied).cloned();
                let found = rows_of(&*self.table(), copy.space);
                let found = self.ok(found);
                if expected.is_some_and(|expected| expected != found) {
                    self.wrong(&format!("rows of shard {shard} at {applied:?}"));
                }
            }
            let from = self.volume().first_seq(*shard).max(Seq(copy.last().seq.0.saturating_sub(20)));
            match self.volume().read(*shard, from, 20_000) {
                Ok(found) => {
                    let expected = copy.after(EntryId::new(0, from.0.saturating_sub(1)));
                    if !expected.starts_with(&found) {
                        self.wrong(&format!("entries of shard {shard} from {from}"));
                    }
                }
                // A segment went in between.
                Err(kv_storage::ReadError::Compacted { .. }) => {}
                Err(error) => self.told(&error),
            }
        }
    }
}

/// The rows of a space.
pub(crate) fn rows_of(table: &dyn Table, space: Space) -> Result<Rows, kv_storage::TableError> {
    let mut found = Rows::new();
    for row in table.scan(&rows::data_range(space, &KeyRange::all()), Direction::Forward) {
        let (key, value) = row?;
        found.insert(rows::user_key(&key).unwrap(), value);
    }
    Ok(found)
}
