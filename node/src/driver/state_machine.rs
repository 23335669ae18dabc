//! Between the state machine and the table: reading values, writing changes.

#[cfg(any(test, fuzzing))]
pub mod fuzz;

use std::sync::Arc;

use bytes::Bytes;
use kv_replication::apply::{Change, Machine, SessionResult, Sessions, State as AppliedState, Value};
use kv_storage::{Batch, Direction, Space, Table, TableError, rows};
use kv_types::{EntryId, Outcome, SessionId, ShardId, Split, StoredOutcome};
use prost::Message as _;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};
use tracing::{error, warn};

use super::{
    events::Event,
    replica::{Pending, Replica, State},
    request::{Failure, Reply},
    shared::Shared,
    unapplied::Unapplied,
};

/// What the table keeps of a request: a versioned encoding of [`SessionResult`].
#[derive(Clone, PartialEq, prost::Message)]
struct ResultRow {
    #[prost(message, optional, tag = "1")]
    outcome: Option<StoredOutcome>,
    #[prost(uint64, tag = "2")]
    used: u64,
    #[prost(uint64, tag = "3")]
    floor: u64,
}

/// The keys of one shard in a volume's table.
pub(super) struct Keys<'a> {
    pub(super) table: &'a dyn Table,
    pub(super) space: Space,
}

impl AppliedState for Keys<'_> {
    type Error = TableError;

    fn value(&self, key: &[u8]) -> Result<Option<Value>, TableError> {
        self.table.get(&rows::data_key(self.space, key))?.map(decode_value).transpose()
    }
}

pub(super) fn decode_value(row: Bytes) -> Result<Value, TableError> {
    let row = rows::ValueRow::decode(row).map_err(|error| TableError::Corrupt(format!("a value row: {error}")))?;
    let rows::ValueRow { value, revision, expires_at_millis } = row;
    Ok(Value { value, revision, expires_at_millis })
}

impl State {
    /// Applies what is committed, in batches that hold the applied position with what the entries did, and answers. Once that has failed
    /// nothing more is applied, since it would skip what failed.
    pub(super) fn apply(&mut self, shared: &Arc<Shared>, replica: &Arc<Replica>) {
        let committed = self.unapplied.drain();
        if self.broken.is_some() {
            return;
        }
        let (entries, tokens): (Vec<_>, Vec<_>) = committed.into_iter().map(|c| (c.entry, c.token)).unzip();
        let mut done = 0;
        while done < entries.len() {
            let keys = Keys { table: &**replica.volume.volume.table(), space: self.space };
            let applied = match self.machine.apply(&entries[done..], &keys) {
                Ok(applied) => applied,
                Err(error) => return self.cannot_apply(shared, replica, &format!("{error:?}")),
            };
            let mut batch = Batch::with_capacity(applied.changes.len() + 1);
            for change in &applied.changes {
                self.write_change(replica, change, &mut batch);
            }
            // A copy that lags behind may find the child here already, brought up to date from elsewhere, with rows and a space of its own.
            let split = applied.split.as_ref().filter(|split| !shared.has_copy_of(split.child, replica.volume.id));
            if let Some(split) = split {
                self.write_child(&**replica.volume.volume.table(), split, applied.last, &mut batch);
            }
            batch.put(rows::applied_key(replica.shard), rows::encode_applied(applied.last, self.space));
            let table = replica.volume.volume.table();
            let written = table.write(batch);
            // The child's log begins at the split, so what lies before it must be on the disk first.
            let flushed = written.and_then(|_| if split.is_some() { waiting(|| table.flush()) } else { Ok(()) });
            if let Err(error) = flushed {
                return self.cannot_apply(shared, replica, &error.to_string());
            }
            self.applied = applied.last;
            self.events.push(applied.last.seq, applied.changes.iter().filter_map(Event::of));
            // The child takes the parent's events along: all of them.
            if let Some(split) = split {
                self.make_child(shared, replica, split, applied.last);
            }
            let answered = tokens[done..].iter().zip(applied.outcomes);
            for (token, outcome) in answered {
                done += 1;
                if let Some(pending) = token.and_then(|token| self.pending.remove(&token)) {
                    self.answer(pending, outcome);
                }
            }
        }
    }

    fn answer(&mut self, pending: Pending, outcome: Outcome) {
        match pending {
            Pending::Client(_, responder) => responder.answer(match outcome {
                Outcome::Applied { .. } => Ok(Reply::Written(outcome)),
                Outcome::RevisionMismatch { key, actual } => Err(Failure::Mismatch { key, actual }),
                Outcome::SessionExpired => Err(Failure::SessionExpired),
                Outcome::SessionOpened(session) => Ok(Reply::Session(session)),
                Outcome::Nothing => Err(Failure::Fault("a client's entry had no outcome".into())),
            }),
            Pending::Expiry => self.expiring = false,
            Pending::Transfer(_) => {}
        }
    }

    /// This copy can't go on: it is made anew from another one.
    fn cannot_apply(&mut self, shared: &Arc<Shared>, replica: &Arc<Replica>, why: &str) {
        error!(shard = %replica.shard, folder = %replica.volume.folder, why, "copy is damaged and will be rebuilt");
        self.broken = Some(why.to_owned());
        replica.set_leads(false);
        for (_, pending) in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Client(_, responder) => responder.answer(Err(Failure::Unknown("the copy is damaged".into()))),
                Pending::Transfer(done) => drop(done.send(Err(Failure::Fault("the copy is damaged".into())))),
                Pending::Expiry => {}
            }
        }
        shared.rebuild(replica, why);
    }

    fn write_change(&self, replica: &Arc<Replica>, change: &Change, batch: &mut Batch) {
        let (shard, space) = (replica.shard, self.space);
        match change {
            Change::Put { key, value } => {
                let Value { value, revision, expires_at_millis } = value.clone();
                let row = rows::ValueRow { value, revision, expires_at_millis };
                batch.put(rows::data_key(space, key), row.encode_to_vec());
            }
            Change::Delete { key, .. } => batch.delete(rows::data_key(space, key)),
            Change::NoteDeadline { key, expires_at_millis } => {
                batch.put(rows::ttl_key(space, *expires_at_millis, key), Bytes::new());
            }
            Change::ForgetDeadline { key, expires_at_millis } => {
                batch.delete(rows::ttl_key(space, *expires_at_millis, key));
            }
            Change::OpenSession(_) | Change::PutResult { .. } | Change::DropResult { .. } => {
                write_session_change(space, shard, change, batch);
            }
            Change::CloseSession(session) => {
                batch.delete(rows::session_key(space, shard, *session));
                let results = rows::result_range(space, shard, Some(*session));
                for row in replica.volume.volume.table().scan(&results, Direction::Forward).flatten() {
                    batch.delete(row.0);
                }
            }
        }
    }

    /// The child of a split begins here, on every copy that applies the parent's last entry before the split: with the
    /// parent's rows, log position and sessions. It is nobody's until ZooKeeper holds its configuration.
    fn write_child(&self, table: &dyn Table, split: &Split, base: EntryId, batch: &mut Batch) {
        // In the parent's space: what a split that was called off has left there of a child of the same id goes.
        for range in rows::duplicate_table(self.space, split.child) {
            for row in table.scan(&range, Direction::Forward).flatten() {
                batch.delete(row.0);
            }
        }
        for change in self.machine.sessions().copy() {
            write_session_change(self.space, split.child, &change, batch);
        }
        batch.put(rows::applied_key(split.child), rows::encode_applied(base, self.space));
    }

    fn make_child(&self, shared: &Arc<Shared>, replica: &Arc<Replica>, split: &Split, base: EntryId) {
        let mut history = self.core.applied_history();
        history.truncate(base.seq);
        let (lineage, sessions, events) = (self.core.lineage(), self.machine.sessions().clone(), self.events.clone());
        let made = shared.make_child(replica, split, self.space, base, lineage, history, sessions, events);
        if let Err(error) = made {
            warn!(shard = %split.child, %error, "child of a split could not be made");
        }
    }

    /// Empties the copy: new rows go to a new space, the old ones are deleted in the background.
    pub(super) fn start_over(&mut self, shared: &Arc<Shared>, replica: &Arc<Replica>) {
        self.space = replica.volume.new_space();
        self.machine = Machine::new(replica.shard, shared.limits, Sessions::default());
        self.applied = EntryId::ZERO;
        self.unapplied = Unapplied::default();
        self.events.restart(kv_types::Seq(0));
        self.led_until = kv_types::Seq(0);
        let mut batch = Batch::default();
        batch.delete(rows::applied_key(replica.shard));
        if let Err(error) = replica.volume.volume.table().write(batch) {
            shared.fatal(format!("the table took no batch: {error}"));
        }
        delete_rows(shared, replica);
        let (_, range) = replica.rows();
        replica.set_rows(self.space, range);
        self.persist_state(shared, replica);
    }
}

/// Waits for a disk where the runtime has another thread to go on with.
fn waiting<T>(wait: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(wait),
        _ => wait(),
    }
}

/// Deletes a copy's rows: those of the duplicate table at once, since the next copy of the shard may be the child of another
/// split, in the same space; the data in the background. A split leaves several shards in one space, so what another copy in it has stays.
pub(super) fn delete_rows(shared: &Shared, replica: &Arc<Replica>) {
    let (space, range) = replica.rows();
    let mut ranges = vec![range];
    for ((shard, volume), other) in shared.replicas().iter() {
        let (of_other, kept) = other.rows();
        if *shard != replica.shard && *volume == replica.volume.id && of_other == space {
            ranges = ranges.iter().flat_map(|range| range.without(&kept)).collect();
        }
    }
    for range in rows::duplicate_table(space, replica.shard) {
        if let Err(error) = replica.volume.volume.table().delete_range(&range) {
            shared.fatal(format!("the duplicate table of an emptied copy could not be deleted: {error}"));
        }
    }
    let replica = Arc::clone(replica);
    tokio::task::spawn_blocking(move || {
        for range in ranges {
            let deleted = replica.volume.volume.table().delete_range(&rows::data_range(space, &range));
            if let Err(error) = deleted {
                warn!(shard = %replica.shard, %error, "rows of an emptied copy were not deleted");
            }
        }
    });
}

fn write_session_change(space: Space, shard: ShardId, change: &Change, batch: &mut Batch) {
    match change {
        Change::OpenSession(session) => batch.put(rows::session_key(space, shard, *session), Bytes::new()),
        Change::PutResult { session, number, result } => {
            batch.put(rows::result_key(space, shard, *session, *number), encode_result(result));
        }
        // Kept once: a number that was dropped is not taken again.
        Change::DropResult { session, number } => batch.delete_only(rows::result_key(space, shard, *session, *number)),
        _ => {}
    }
}

fn encode_result(result: &SessionResult) -> Vec<u8> {
    let SessionResult { outcome, used, floor } = result.clone();
    ResultRow { outcome: Some(outcome), used, floor }.encode_to_vec()
}

fn decode_result(row: Bytes) -> Result<SessionResult, TableError> {
    let row = ResultRow::decode(row).map_err(|error| TableError::Corrupt(format!("a result row: {error}")))?;
    let ResultRow { outcome, used, floor } = row;
    let outcome = outcome.ok_or_else(|| TableError::Corrupt("a result row without outcome".into()))?;
    Ok(SessionResult { outcome, used, floor })
}

/// Reads a shard's duplicate table.
pub(super) fn load_sessions(table: &dyn Table, space: Space, shard: ShardId) -> Result<Sessions, TableError> {
    let corrupt = || TableError::Corrupt("a session row has a malformed key".into());
    let session_of = |row: &Bytes| -> Result<SessionId, TableError> { rows::parse_session(row).ok_or_else(corrupt) };
    let mut sessions = Sessions::default();
    for row in table.scan(&rows::session_range(space, shard), Direction::Forward) {
        sessions.load_session(session_of(&row?.0)?);
    }
    for row in table.scan(&rows::result_range(space, shard, None), Direction::Forward) {
        let (key, value) = row?;
        let number = rows::parse_result_number(&key).ok_or_else(corrupt)?;
        sessions.load_result(session_of(&key)?, number, decode_result(value)?);
    }
    Ok(sessions)
}

#[cfg(test)]
mod tests {
    use kv_replication::core::{Committed, Input};
    use kv_types::{Command, Entry, Epoch, KeyRange, Lineage, Operation, RequestId, ShardConfig, Write};

    use super::*;
    use crate::driver::fixture::{self, SHARD};

    fn apply(shared: &Arc<Shared>, replica: &Arc<Replica>, commands: impl IntoIterator<Item = (u64, Command)>) {
        let committed = |(seq, command): (u64, Command)| Committed {
            entry: Entry { id: EntryId::new(1, seq), payload: command.encode() },
            token: None,
        };
        let committed = commands.into_iter().map(committed).collect();
        let mut state = replica.lock();
        let _due = state.unapplied.take(committed);
        state.apply(shared, replica);
    }

    #[tokio::test]
    async fn a_copy_that_starts_over_does_not_take_entries_for_those_that_it_had_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let (shared, _) = fixture::open(folder.path());
        let replica = shared.make_empty(SHARD, &shared.volumes[0], false);
        let session = SessionId::opened_by(SHARD, EntryId::new(1, 1));
        let write = Write {
            request: Some(RequestId { session, number: 1, lowest_unanswered: 1 }),
            operations: vec![Operation::put("key", "value")],
            ..Write::default()
        };
        let log = [(1, Command::OpenSession), (2, Command::Write(write))];
        apply(&shared, &replica, log.clone());
        assert_eq!(replica.lock().machine.sessions().len(), 1);
        // Killed while it was emptied: the applied row is gone from the disk, and the duplicate table is not yet.
        let mut batch = Batch::default();
        batch.delete(rows::applied_key(SHARD));
        replica.volume.volume.table().write(batch).expect("is written");
        replica.volume.volume.table().flush().expect("is flushed");
        drop((replica, shared));

        let (shared, _) = fixture::open(folder.path());
        let replica = shared.replica(SHARD, shared.volumes[0].id).expect("is taken up");
        assert!(replica.lock().machine.sessions().is_empty());
        apply(&shared, &replica, log);
        let state = replica.lock();
        let keys = Keys { table: &**replica.volume.volume.table(), space: state.space };
        assert!(keys.value(b"key").expect("is read").is_some(), "the write was taken for one that was applied");
    }

    #[tokio::test]
    async fn the_child_of_a_split_has_no_session_of_one_that_was_called_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let (shared, _) = fixture::open(folder.path());
        let replica = shared.make_empty(SHARD, &shared.volumes[0], false);
        let (child, space) = (ShardId(2), replica.lock().space);
        apply(&shared, &replica, [(1, Command::OpenSession)]);
        let called_off = SessionId::opened_by(child, EntryId::new(1, 9));
        let mut batch = Batch::default();
        batch.put(rows::session_key(space, child, called_off), Bytes::new());
        replica.volume.volume.table().write(batch).expect("is written");
        apply(&shared, &replica, [(2, Command::Split(Split { child, at: "m".into() }))]);
        let sessions = load_sessions(&**replica.volume.volume.table(), space, child).expect("is read");
        assert_eq!(sessions.copy(), replica.lock().machine.sessions().copy());
    }

    #[tokio::test]
    async fn the_child_that_is_here_already_keeps_its_place_when_the_parent_comes_to_the_split() {
        let folder = tempfile::tempdir().expect("a folder");
        let (shared, _) = fixture::open(folder.path());
        let (parent, volume) = (shared.make_empty(SHARD, &shared.volumes[0], false), &shared.volumes[0]);
        let child = shared.make_empty(ShardId(2), volume, false);
        let range = KeyRange { start: "m".into(), end: None };
        let (epoch, lineage) = (Epoch(3), Lineage(1));
        let config = ShardConfig { epoch, lineage, range, primary: volume.id, isr: vec![volume.id] };
        child.step(&shared, Input::Config { config, quorum: false });
        apply(&shared, &child, [(1, Command::OpenSession), (2, Command::OpenSession)]);
        let applied_row = || volume.volume.table().get(&rows::applied_key(child.shard)).expect("is read");
        let before = applied_row();
        apply(&shared, &parent, [(1, Command::Split(Split { child: child.shard, at: "m".into() }))]);
        assert_eq!((before.is_some(), applied_row()), (true, before));
        assert!(shared.replica(child.shard, volume.id).is_some_and(|there| Arc::ptr_eq(&there, &child)));
    }
}
