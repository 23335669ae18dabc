use std::collections::BTreeMap;

use kv_types::{Limits, RequestId, SessionId, StoredOutcome};

use super::Change;

/// What is kept of a request, so that a retry finds its outcome.
#[derive(Clone, PartialEq, Debug)]
pub struct SessionResult {
    /// What it came to.
    pub outcome: StoredOutcome,
    /// The seq of its entry: when the session was last used.
    pub used: u64,
    /// Results of numbers below were forgotten by then.
    pub floor: u64,
}

/// The duplicate table of one shard: replicated state, the same on every copy.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    sessions: BTreeMap<SessionId, Session>,
    /// Sessions by last use; the first is the one to evict.
    by_use: BTreeMap<(u64, SessionId), ()>,
    batch: Batch,
}

/// The entries that are being applied. A result that comes and goes with them is never written.
#[derive(Clone, Debug, Default)]
struct Batch {
    /// Seq of the first one: results of earlier entries are in the table.
    first: u64,
    /// Results that are not written yet, and perhaps forgotten again.
    kept: Vec<(SessionId, u64)>,
}

#[derive(Clone, Debug, Default)]
struct Session {
    used: u64,
    floor: u64,
    results: BTreeMap<u64, SessionResult>,
}

/// What the table knows of a request.
pub(super) enum Seen {
    Never,
    Before(StoredOutcome),
    /// The session is unknown, or has forgotten whether it has seen the request.
    Unknown,
}

impl Sessions {
    /// Takes up a session found in the table, before its results.
    pub fn load_session(&mut self, session: SessionId) {
        self.touch(session, session.entry.seq.0);
    }

    /// Takes up a result found in the table.
    pub fn load_result(&mut self, session: SessionId, number: u64, result: SessionResult) {
        self.touch(session, result.used);
        if let Some(known) = self.sessions.get_mut(&session) {
            known.floor = known.floor.max(result.floor);
            known.results.insert(number, result);
        }
    }

    /// How many sessions are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether no session is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Everything there is, as the changes that would make it anew: a split copies it to the child.
    #[must_use]
    pub fn copy(&self) -> Vec<Change> {
        let of_session = |(id, session): (&SessionId, &Session)| {
            let id = *id;
            let results = session.results.clone().into_iter();
            let results = results.map(move |(number, result)| Change::PutResult { session: id, number, result });
            std::iter::once(Change::OpenSession(id)).chain(results).collect::<Vec<_>>()
        };
        self.sessions.iter().flat_map(of_session).collect()
    }

    pub(super) fn open(&mut self, session: SessionId, limits: &Limits, changes: &mut Vec<Change>) {
        while self.sessions.len() >= limits.sessions.max(1) {
            let Some(((_, oldest), ())) = self.by_use.pop_first() else {
                break;
            };
            self.sessions.remove(&oldest);
            changes.push(Change::CloseSession(oldest));
        }
        self.touch(session, session.entry.seq.0);
        changes.push(Change::OpenSession(session));
    }

    pub(super) fn seen(&self, session: SessionId, number: u64) -> Seen {
        let Some(known) = self.sessions.get(&session) else {
            return Seen::Unknown;
        };
        match known.results.get(&number) {
            Some(result) => Seen::Before(result.outcome.clone()),
            None if number < known.floor => Seen::Unknown,
            None => Seen::Never,
        }
    }

    /// Keeps the outcome of a request, and forgets those that the client has said it has.
    pub(super) fn keep(
        &mut self,
        request: RequestId,
        outcome: StoredOutcome,
        used: u64,
        limits: &Limits,
        changes: &mut Vec<Change>,
    ) {
        let RequestId { session, number, lowest_unanswered } = request;
        self.touch(session, used);
        let Some(known) = self.sessions.get_mut(&session) else {
            return;
        };
        // A client that says it waits for nothing below a number that it still asks for is taken at its lower word.
        known.floor = known.floor.max(lowest_unanswered.min(number));
        while known.results.len() >= limits.session_results.max(1) {
            let Some((oldest, result)) = known.results.pop_first() else {
                break;
            };
            known.floor = known.floor.max(oldest + 1);
            changes.extend(self.batch.forget(session, oldest, &result));
        }
        while let Some(first) = known.results.first_entry().filter(|first| *first.key() < known.floor) {
            let (number, result) = first.remove_entry();
            changes.extend(self.batch.forget(session, number, &result));
        }
        known.results.insert(number, SessionResult { outcome, used, floor: known.floor });
        self.batch.kept.push((session, number));
    }

    /// Entries from seq `first` on are applied from here to [`Self::end_batch`].
    pub(super) fn begin_batch(&mut self, first: u64) {
        self.batch.first = first;
    }

    /// Writes the results that are left of the batch.
    pub(super) fn end_batch(&mut self, changes: &mut Vec<Change>) {
        let Self { sessions, batch, .. } = self;
        changes.extend(batch.kept.drain(..).filter_map(|(session, number)| {
            let result = sessions.get(&session)?.results.get(&number)?.clone();
            Some(Change::PutResult { session, number, result })
        }));
    }

    fn touch(&mut self, id: SessionId, used: u64) {
        let session = self.sessions.entry(id).or_default();
        let used = used.max(session.used);
        self.by_use.remove(&(session.used, id));
        self.by_use.insert((used, id), ());
        session.used = used;
    }
}

impl Batch {
    /// What a result that is forgotten changes in the table.
    fn forget(&self, session: SessionId, number: u64, result: &SessionResult) -> Option<Change> {
        (result.used < self.first).then_some(Change::DropResult { session, number })
    }
}
