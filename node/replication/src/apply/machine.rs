use kv_types::{
    Change as KeyChange, Command, DecodeError, Entry, EntryId, Limits, Operation, Outcome, Previous, Seq, SessionId,
    ShardId, Split, StoredOutcome, Write,
};

use super::{Change, Sessions, State, Value, overlay::Overlay, sessions::Seen};

/// Applies the entries of one shard.
#[derive(Debug)]
pub struct Machine {
    shard: ShardId,
    limits: Limits,
    sessions: Sessions,
}

/// What a run of entries comes to.
#[derive(Debug, Default)]
pub struct Applied {
    /// One outcome for each entry that was applied.
    pub outcomes: Vec<Outcome>,
    /// To be written in one batch together with `last`.
    pub changes: Vec<Change>,
    /// The last entry that was applied.
    pub last: EntryId,
    /// That last entry was a split: the child begins with the state as it is now. Later entries were left.
    pub split: Option<Split>,
}

/// Why an entry can't be applied. The copy can't go on.
#[derive(Debug, PartialEq, Eq)]
pub enum ApplyError<E> {
    /// The table can't be read.
    State(E),
    /// The entry can't be read: corrupt, or of a newer version.
    Decode(EntryId, DecodeError),
}

impl Machine {
    /// A machine that goes on from the sessions found in the table. The limits must be those of every copy.
    #[must_use]
    pub const fn new(shard: ShardId, limits: Limits, sessions: Sessions) -> Self {
        Self { shard, limits, sessions }
    }

    /// The duplicate table as it is now.
    #[must_use]
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Applies `entries` in order, up to and including the first split.
    ///
    /// # Errors
    /// [`ApplyError`]; the machine is not to be used any more then, as its sessions may be ahead of the table.
    pub fn apply<S: State>(&mut self, entries: &[Entry], state: &S) -> Result<Applied, ApplyError<S::Error>> {
        let mut overlay = Overlay::new(state);
        let mut applied = Applied::default();
        self.sessions.begin_batch(entries.first().map_or(0, |first| first.id.seq.0));
        for entry in entries {
            let command =
                Command::decode(entry.payload.clone()).map_err(|error| ApplyError::Decode(entry.id, error))?;
            applied.last = entry.id;
            let outcome = match command {
                Command::Barrier => Outcome::Nothing,
                Command::OpenSession => {
                    let session = SessionId::opened_by(self.shard, entry.id);
                    self.sessions.open(session, &self.limits, &mut applied.changes);
                    Outcome::SessionOpened(session)
                }
                Command::Write(write) => {
                    self.write(entry.id, write, &mut overlay, &mut applied.changes).map_err(ApplyError::State)?
                }
                Command::Expire(keys) => {
                    for expiry in keys {
                        let value = overlay.value(&expiry.key).map_err(ApplyError::State)?;
                        let deadline = expiry.expires_at_millis;
                        if value.is_some_and(|value| value.expires_at_millis == deadline) {
                            overlay.set(expiry.key.clone(), None);
                            let revision = entry.id.seq.0;
                            let key = expiry.key.clone();
                            applied.changes.push(Change::Delete { key, revision, expired: true });
                        }
                        let forget = Change::ForgetDeadline { key: expiry.key, expires_at_millis: deadline };
                        applied.changes.push(forget);
                    }
                    Outcome::Nothing
                }
                Command::Split(split) => {
                    applied.outcomes.push(Outcome::Nothing);
                    applied.split = Some(split);
                    break;
                }
            };
            applied.outcomes.push(outcome);
        }
        self.sessions.end_batch(&mut applied.changes);
        Ok(applied)
    }

    /// A write that was seen before, committed or in this very batch, is not applied again.
    fn write<S: State>(
        &mut self,
        id: EntryId,
        write: Write,
        overlay: &mut Overlay<'_, S>,
        changes: &mut Vec<Change>,
    ) -> Result<Outcome, S::Error> {
        let Some(request) = write.request else {
            return operate(id.seq, write, overlay, changes);
        };
        match self.sessions.seen(request.session, request.number) {
            Seen::Before(stored) => return Ok(stored.into()),
            Seen::Unknown => return Ok(Outcome::SessionExpired),
            Seen::Never => {}
        }
        let outcome = operate(id.seq, write, overlay, changes)?;
        if let Some(stored) = StoredOutcome::of(&outcome) {
            self.sessions.keep(request, stored, id.seq.0, &self.limits, changes);
        }
        Ok(outcome)
    }
}

/// All operations or none.
fn operate<S: State>(
    seq: Seq,
    write: Write,
    overlay: &mut Overlay<'_, S>,
    changes: &mut Vec<Change>,
) -> Result<Outcome, S::Error> {
    let Write { operations, return_previous, .. } = write;
    let mut before = Vec::with_capacity(if return_previous { operations.len() } else { 0 });
    let mut existed = 0;
    let mut found = Vec::with_capacity(operations.len());
    for operation in &operations {
        let reads = return_previous
            || operation.expected_revision.is_some()
            || !matches!(operation.change, Some(KeyChange::Put(_)));
        let value = if reads { overlay.value(&operation.key)? } else { None };
        let actual = value.as_ref().map_or(0, |value| value.revision);
        if operation.expected_revision.is_some_and(|expected| expected != actual) {
            return Ok(Outcome::RevisionMismatch { key: operation.key.clone(), actual });
        }
        if matches!(operation.change, Some(KeyChange::Delete(_))) {
            existed += u32::from(value.is_some());
        }
        found.push(value.is_some());
        if return_previous {
            before.push(value.map(|Value { value, revision, expires_at_millis }| Previous {
                value,
                revision,
                expires_at_millis,
            }));
        }
    }
    for (Operation { key, change, .. }, found) in operations.into_iter().zip(found) {
        match change {
            Some(KeyChange::Put(put)) => {
                let expires_at_millis = put.expires_at_millis;
                let value = Value { value: put.value, revision: seq.0, expires_at_millis };
                overlay.set(key.clone(), Some(value.clone()));
                if expires_at_millis != 0 {
                    changes.push(Change::NoteDeadline { key: key.clone(), expires_at_millis });
                }
                changes.push(Change::Put { key, value });
            }
            Some(KeyChange::Delete(_)) if found => {
                overlay.set(key.clone(), None);
                changes.push(Change::Delete { key, revision: seq.0, expired: false });
            }
            Some(KeyChange::Delete(_)) | None => {}
        }
    }
    Ok(Outcome::Applied { revision: seq, previous: before, existed })
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, HashMap},
        convert::Infallible,
    };

    use bytes::Bytes;
    use kv_types::RequestId;

    use super::*;
    use crate::apply::SessionResult;

    #[derive(Default)]
    struct Keys(HashMap<Bytes, Value>);

    impl State for Keys {
        type Error = Infallible;

        fn value(&self, key: &[u8]) -> Result<Option<Value>, Infallible> {
            Ok(self.0.get(key).cloned())
        }
    }

    struct Shard {
        machine: Machine,
        keys: Keys,
        seq: u64,
    }

    impl Shard {
        fn new() -> Self {
            let limits = Limits { sessions: 2, session_results: 3, ..Limits::default() };
            let machine = Machine::new(ShardId(1), limits, Sessions::default());
            Self { machine, keys: Keys::default(), seq: 0 }
        }

        fn apply(&mut self, commands: &[Command]) -> Vec<Outcome> {
            self.changes(commands).0
        }

        fn changes(&mut self, commands: &[Command]) -> (Vec<Outcome>, Vec<Change>) {
            let entry = |(at, command): (usize, &Command)| Entry {
                id: EntryId::new(1, self.seq + at as u64 + 1),
                payload: command.encode(),
            };
            let entries: Vec<_> = commands.iter().enumerate().map(entry).collect();
            self.seq += entries.len() as u64;
            let applied = self.machine.apply(&entries, &self.keys).expect("state can't fail");
            for change in &applied.changes {
                match change {
                    Change::Put { key, value } => drop(self.keys.0.insert(key.clone(), value.clone())),
                    Change::Delete { key, .. } => drop(self.keys.0.remove(key)),
                    _ => {}
                }
            }
            (applied.outcomes, applied.changes)
        }

        fn open(&mut self) -> SessionId {
            match self.apply(&[Command::OpenSession])[..] {
                [Outcome::SessionOpened(session)] => session,
                ref other => panic!("{other:?}"),
            }
        }
    }

    fn put(request: Option<(SessionId, u64, u64)>, operation: Operation) -> Command {
        let request =
            request.map(|(session, number, lowest_unanswered)| RequestId { session, number, lowest_unanswered });
        Command::Write(Write { request, operations: vec![operation], return_previous: false })
    }

    fn applied(revision: u64) -> Outcome {
        Outcome::Applied { revision: Seq(revision), previous: Vec::new(), existed: 0 }
    }

    #[test]
    fn a_request_is_applied_once_even_within_a_batch() {
        let mut shard = Shard::new();
        let session = shard.open();
        let write = put(Some((session, 1, 1)), Operation::put("k", "v").expecting(0));
        assert_eq!(shard.apply(&[write.clone(), write.clone()]), [applied(2), applied(2)]);
        assert_eq!(shard.apply(&[write]), [applied(2)]);
    }

    #[test]
    fn a_forgotten_result_is_never_applied_again() {
        let mut shard = Shard::new();
        let session = shard.open();
        for number in 1..=5 {
            shard.apply(&[put(Some((session, number, 1)), Operation::put("k", "v"))]);
        }
        let late = put(Some((session, 2, 1)), Operation::put("k", "old"));
        assert_eq!(shard.apply(&[late]), [Outcome::SessionExpired]);
        shard.apply(&[put(Some((session, 9, 9)), Operation::put("k", "v"))]);
        assert_eq!(shard.apply(&[put(Some((session, 8, 1)), Operation::put("k", "old"))]), [Outcome::SessionExpired]);
    }

    #[test]
    fn the_session_that_was_unused_for_longest_is_evicted() {
        let mut shard = Shard::new();
        let (first, second) = (shard.open(), shard.open());
        shard.apply(&[put(Some((first, 1, 1)), Operation::put("k", "v"))]);
        let _third = shard.open();
        assert_eq!(shard.apply(&[put(Some((second, 1, 1)), Operation::put("k", "v"))]), [Outcome::SessionExpired]);
        assert_eq!(shard.apply(&[put(Some((first, 2, 1)), Operation::put("k", "v"))]), [applied(6)]);
    }

    #[test]
    fn sessions_are_the_same_after_loading() {
        let mut shard = Shard::new();
        let session = shard.open();
        shard.apply(&[put(Some((session, 4, 3)), Operation::put("k", "v"))]);
        let mut loaded = Sessions::default();
        for change in shard.machine.sessions().copy() {
            match change {
                Change::OpenSession(session) => loaded.load_session(session),
                Change::PutResult { session, number, result } => loaded.load_result(session, number, result),
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(loaded.seen(session, 4), Seen::Before(_)));
        assert!(matches!(loaded.seen(session, 2), Seen::Unknown));
        assert!(matches!(loaded.seen(session, 3), Seen::Never));
    }

    /// The rows of results, as the changes of one batch after another make them.
    fn rows(of: SessionId, commands: &[Command], batches: &[usize]) -> BTreeMap<u64, SessionResult> {
        let mut shard = Shard::new();
        assert_eq!(shard.open(), of);
        let mut rows = BTreeMap::new();
        let mut left = commands;
        for entries in batches {
            let (batch, rest) = left.split_at(*entries);
            left = rest;
            for change in shard.changes(batch).1 {
                match change {
                    Change::PutResult { number, result, .. } => assert_eq!(rows.insert(number, result), None),
                    Change::DropResult { number, .. } => {
                        assert!(rows.remove(&number).is_some(), "{number} was written")
                    }
                    _ => {}
                }
            }
        }
        assert!(left.is_empty());
        rows
    }

    #[test]
    fn however_entries_are_batched_the_same_results_are_left() {
        let session = SessionId::opened_by(ShardId(1), EntryId::new(1, 1));
        let write = |(number, lowest)| put(Some((session, number, lowest)), Operation::put("k", "v"));
        let commands: Vec<_> =
            [(1, 1), (2, 1), (3, 2), (4, 4), (5, 4), (7, 4), (6, 4), (8, 4), (6, 6), (9, 9)].map(write).into();
        let one_by_one = rows(session, &commands, &[1; 10]);
        assert_eq!(one_by_one.keys().copied().collect::<Vec<_>>(), [9]);
        for batches in [&[10][..], &[5, 5], &[3, 3, 4], &[1, 8, 1], &[4, 2, 2, 2]] {
            assert_eq!(rows(session, &commands, batches), one_by_one, "{batches:?}");
        }
    }

    #[test]
    fn a_result_that_comes_and_goes_within_a_batch_is_never_written() {
        let mut shard = Shard::new();
        let session = shard.open();
        let writes: Vec<_> =
            (1..=5).map(|number| put(Some((session, number, number)), Operation::put("k", "v"))).collect();
        let results = shard.changes(&writes).1.into_iter().filter(|change| !matches!(change, Change::Put { .. }));
        let numbers: Vec<_> = results
            .map(|change| match change {
                Change::PutResult { number, .. } => number,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(numbers, [5]);
    }

    #[test]
    fn a_batch_is_all_or_nothing_and_sees_itself() {
        let mut shard = Shard::new();
        let both = |expected| {
            Command::Write(Write {
                operations: vec![Operation::put("a", "1"), Operation::put("b", "1").expecting(expected)],
                ..Write::default()
            })
        };
        let outcomes = shard.apply(&[both(7), both(0), both(2)]);
        assert_eq!(outcomes[0], Outcome::RevisionMismatch { key: "b".into(), actual: 0 });
        assert_eq!(outcomes[1..], [applied(2), applied(3)]);
    }

    #[test]
    fn expiry_spares_a_key_with_another_deadline() {
        let mut shard = Shard::new();
        let with_deadline = |millis| {
            let put = kv_types::Put { value: "v".into(), expires_at_millis: millis };
            let change = Some(KeyChange::Put(put));
            Operation { key: "k".into(), expected_revision: None, change }
        };
        shard.apply(&[put(None, with_deadline(10)), put(None, with_deadline(20))]);
        let expire = |millis| Command::Expire(vec![kv_types::Expiry { key: "k".into(), expires_at_millis: millis }]);
        shard.apply(&[expire(10)]);
        assert_eq!(shard.keys.0.len(), 1);
        shard.apply(&[expire(20)]);
        assert_eq!(shard.keys.0.len(), 0);
    }
}
