use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use kv_checker::{Action, Expected, Operation, Outcome, Versioned};
use kv_client::{Batch, Client, Delete, Entry, Error, Get, Put};
use serde::Serialize;

/// Failures whose text is kept.
const KEPT_FAILURES: usize = 200;

/// What all clients asked for and were told, by one clock.
#[derive(Debug)]
pub struct History {
    zero: Instant,
    log: Mutex<Log>,
}

/// What a history holds.
#[derive(Debug, Default)]
pub struct Log {
    /// For the checker.
    pub operations: Vec<Operation>,
    /// Writes that were acknowledged, deletes that found nothing not among them.
    pub told: Vec<Told>,
    /// How many operations of each kind came to what.
    pub counts: BTreeMap<&'static str, Counts>,
    /// The first failures, for people.
    pub failures: Vec<String>,
    /// What contradicts the API whatever else has happened.
    pub contradictions: Vec<String>,
}

/// An acknowledged write.
#[derive(Clone, Debug)]
pub struct Told {
    /// The key.
    pub key: Bytes,
    /// The new value; `None`: it was deleted.
    pub value: Option<Bytes>,
    /// The revision of the change.
    pub revision: u64,
    /// When it was asked for, in nanoseconds since the beginning.
    pub call: u64,
    /// When it was acknowledged.
    pub ret: u64,
}

/// How many operations came to what.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// That were done.
    pub done: usize,
    /// Whose condition did not hold.
    pub mismatch: usize,
    /// That certainly have not happened.
    pub failed: usize,
    /// That may have happened.
    pub unknown: usize,
}

/// A client of the history.
#[derive(Clone, Debug)]
pub struct Of {
    /// Its number.
    pub number: u64,
    /// Through which it asks.
    pub client: Client,
}

impl Default for History {
    fn default() -> Self {
        Self { zero: Instant::now(), log: Mutex::default() }
    }
}

impl History {
    /// Reads a key. Returns its revision (0: it does not exist), if it was told.
    pub async fn get(&self, of: &Of, key: &Bytes, confirmed: bool) -> Option<u64> {
        let (kind, get) = if confirmed {
            ("confirmed get", Get::new(key.clone()).confirmed())
        } else {
            ("get", Get::new(key.clone()))
        };
        let call = self.now();
        let answer = of.client.get(get).await;
        let (outcome, revision) = match answer {
            Ok(entry) => (found(entry.as_ref()), Some(entry.map_or(0, |entry| entry.revision))),
            Err(error) => {
                self.failed(kind, key, &error);
                (Outcome::Failed, None)
            }
        };
        self.record(kind, of, key, Action::Get, None, call, outcome);
        revision
    }

    /// Sets a key to a value that no other operation sets. Returns the key's revision, if it was told.
    pub async fn put(&self, of: &Of, key: &Bytes, value: Bytes, expected: Option<u64>) -> Option<u64> {
        let kind = if expected.is_some() { "compare-and-set" } else { "put" };
        let mut put = Put::new(key.clone(), value.clone());
        if let Some(revision) = expected {
            put = put.expected_revision(revision);
        }
        let call = self.now();
        let answer = of.client.put(put).await;
        if let Ok(answer) = &answer {
            self.tell(key, Some(&value), answer.revision, call);
        }
        let (outcome, revision) = self.written(kind, key, answer.map(|answer| (answer.revision, None)));
        self.record(kind, of, key, Action::Put(value.to_vec()), expected, call, outcome);
        revision
    }

    /// Deletes a key. Returns its revision, if it was told.
    pub async fn delete(&self, of: &Of, key: &Bytes, expected: Option<u64>) -> Option<u64> {
        let mut delete = Delete::new(key.clone());
        if let Some(revision) = expected {
            delete = delete.expected_revision(revision);
        }
        let call = self.now();
        let answer = of.client.delete(delete).await;
        if let Ok(answer) = &answer
            && answer.existed
        {
            self.tell(key, None, answer.revision, call);
        }
        let (outcome, revision) = self.written("delete", key, answer.map(|answer| (0, Some(answer.existed))));
        self.record("delete", of, key, Action::Delete, expected, call, outcome);
        revision
    }

    /// Sets several keys of one shard to one value that no other operation sets.
    pub async fn batch(&self, of: &Of, keys: &[Bytes], value: &Bytes) {
        let batch = keys.iter().fold(Batch::new(), |batch, key| batch.put((key.clone(), value.clone())));
        let call = self.now();
        let answer = of.client.batch(batch).await.map(|answer| answer.revision);
        for (at, key) in keys.iter().enumerate() {
            if let Ok(revision) = answer {
                self.tell(key, Some(value), revision, call);
            }
            let (outcome, _) = self.written("batch", key, answer.clone().map(|revision| (revision, None)));
            let kind = if at == 0 { "batch" } else { "further put of a batch" };
            self.record(kind, of, key, Action::Put(value.to_vec()), None, call, outcome);
        }
    }

    /// Takes in what a scan has found: a read of each key that it went over, some time between its beginning and now. Of keys
    /// among `absent` it says that they are not there.
    pub fn scanned(&self, of: &Of, call: u64, entries: &BTreeMap<Bytes, Entry>, absent: &BTreeSet<Bytes>) {
        for (key, entry) in entries {
            self.record("key in a scan", of, key, Action::Get, None, call, found(Some(entry)));
        }
        for key in absent.iter().filter(|key| !entries.contains_key(*key)) {
            self.record("key not in a scan", of, key, Action::Get, None, call, Outcome::Found(None));
        }
    }

    /// Counts an operation that is no read or write of one key.
    pub fn count(&self, kind: &'static str, outcome: Result<(), &Error>) {
        if let Err(error) = outcome {
            self.failed(kind, &Bytes::new(), error);
        }
        let mut log = self.log();
        let counts = log.counts.entry(kind).or_default();
        *(if outcome.is_ok() { &mut counts.done } else { &mut counts.failed }) += 1;
    }

    /// Takes note of an answer that contradicts the API.
    pub fn contradiction(&self, what: String) {
        self.log().contradictions.push(what);
    }

    /// Nanoseconds since the beginning.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    /// Nanoseconds from the beginning to this time.
    #[must_use]
    pub fn at(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.zero).as_nanos()).unwrap_or(u64::MAX)
    }

    /// How many operations there are so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.log().operations.len()
    }

    /// Whether nothing was asked for yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it, taken out.
    #[must_use]
    pub fn take(&self) -> Log {
        std::mem::take(&mut self.log())
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, key: &Bytes, value: Option<&Bytes>, revision: u64, call: u64) {
        let told = Told { key: key.clone(), value: value.cloned(), revision, call, ret: self.now() };
        self.log().told.push(told);
    }

    fn written(
        &self,
        kind: &'static str,
        key: &Bytes,
        answer: Result<(u64, Option<bool>), Error>,
    ) -> (Outcome, Option<u64>) {
        match answer {
            // The checker means the revision of what is there afterwards, which after a delete is nothing.
            Ok((revision, existed)) => {
                (Outcome::Done { revision: (revision > 0).then_some(revision), existed }, Some(revision))
            }
            Err(Error::RevisionMismatch { actual }) => (Outcome::Mismatch { actual: Some(actual) }, Some(actual)),
            Err(error) => {
                self.failed(kind, key, &error);
                (if error.is_definite() { Outcome::Failed } else { Outcome::Unknown }, None)
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of an operation, and its kind")]
    fn record(
        &self,
        kind: &'static str,
        of: &Of,
        key: &Bytes,
        action: Action,
        expected: Option<u64>,
        call: u64,
        outcome: Outcome,
    ) {
        let ret = (outcome != Outcome::Unknown).then(|| self.now());
        let mut log = self.log();
        let counts = log.counts.entry(kind).or_default();
        *match outcome {
            Outcome::Unknown => &mut counts.unknown,
            Outcome::Failed => &mut counts.failed,
            Outcome::Mismatch { .. } => &mut counts.mismatch,
            Outcome::Found(_) | Outcome::Done { .. } => &mut counts.done,
        } += 1;
        let (client, key, expected) = (of.number, key.to_vec(), expected.map(Expected::Revision));
        log.operations.push(Operation { client, key, action, expected, call, ret, outcome });
    }

    fn failed(&self, kind: &str, key: &Bytes, error: &Error) {
        let at = Duration::from_nanos(self.now());
        let mut log = self.log();
        if log.failures.len() < KEPT_FAILURES {
            log.failures.push(format!("after {at:.3?}: {kind} {}: {error}", key.escape_ascii()));
        }
    }
}

fn found(entry: Option<&Entry>) -> Outcome {
    Outcome::Found(entry.map(|entry| Versioned { value: entry.value.to_vec(), revision: Some(entry.revision) }))
}
