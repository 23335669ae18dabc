//! What concurrent clients asked for and were told, for the checker.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kv_checker::{Action, Expected, Operation, Outcome, Verdict, Versioned, check};
use kv_client::{Client, Delete, Error, Put};

/// Failures whose text is kept.
const KEPT_FAILURES: usize = 20;

/// Carries out operations and records them.
#[derive(Debug)]
pub struct Recorder {
    zero: Instant,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    operations: Vec<Operation>,
    counts: Counts,
    silences: BTreeMap<Vec<u8>, Silence>,
    failures: Vec<String>,
}

/// How long nothing was answered on a key, in nanoseconds since the beginning.
#[derive(Clone, Copy, Debug)]
struct Silence {
    last: u64,
    longest: u64,
}

/// One client among those of a history.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its number in the history.
    pub number: u64,
    /// Through which it asks.
    pub client: Client,
}

/// How many operations came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads and writes that were answered, refused preconditions among them.
    pub answered: usize,
    /// That certainly have not happened.
    pub failed: usize,
    /// That may have happened.
    pub unknown: usize,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { zero: Instant::now(), log: Mutex::default() }
    }
}

impl Recorder {
    /// Reads a key. Returns its revision (0: it does not exist), if it was told.
    pub async fn get(&self, of: &Recorded, key: &[u8]) -> Option<u64> {
        let call = self.now();
        let answer = of.client.get(key.to_vec()).await;
        let (outcome, revision) = match answer {
            Ok(Some(entry)) => {
                let found = Versioned { value: entry.value.to_vec(), revision: Some(entry.revision) };
                (Outcome::Found(Some(found)), Some(entry.revision))
            }
            Ok(None) => (Outcome::Found(None), Some(0)),
            Err(error) => {
                self.failed("get", key, &error);
                (Outcome::Failed, None)
            }
        };
        self.record(of, key, Action::Get, None, call, outcome);
        revision
    }

    /// Sets a key to a value that no other operation sets. Returns the key's revision, if it was told.
    pub async fn put(&self, of: &Recorded, key: &[u8], value: String, expected: Option<u64>) -> Option<u64> {
        let mut put = Put::new(key.to_vec(), value.clone());
        if let Some(revision) = expected {
            put = put.expected_revision(revision);
        }
        let call = self.now();
        let (outcome, revision) = match of.client.put(put).await {
            Ok(answer) => (Outcome::Done { revision: Some(answer.revision), existed: None }, Some(answer.revision)),
            Err(error) => self.refused("put", key, &error),
        };
        self.record(of, key, Action::Put(value.into_bytes()), expected, call, outcome);
        revision
    }

    /// Deletes a key. Returns its revision, if it was told.
    pub async fn delete(&self, of: &Recorded, key: &[u8], expected: Option<u64>) -> Option<u64> {
        let mut delete = Delete::new(key.to_vec());
        if let Some(revision) = expected {
            delete = delete.expected_revision(revision);
        }
        let call = self.now();
        let (outcome, revision) = match of.client.delete(delete).await {
            // The checker means the revision of what is there afterwards: nothing.
            Ok(answer) => (Outcome::Done { revision: None, existed: Some(answer.existed) }, Some(0)),
            Err(error) => self.refused("delete", key, &error),
        };
        self.record(of, key, Action::Delete, expected, call, outcome);
        revision
    }

    /// How many operations there are so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.log().counts
    }

    /// How long no operation on one key was answered, at the longest, from when it was first asked for to now, and which key it was.
    #[must_use]
    pub fn longest_silence(&self) -> Option<(Duration, Vec<u8>)> {
        let now = self.now();
        let log = self.log();
        let silences =
            log.silences.iter().map(|(key, silence)| (silence.longest.max(now.saturating_sub(silence.last)), key));
        silences.max().map(|(longest, key)| (Duration::from_nanos(longest), key.clone()))
    }

    /// The first operations that failed or whose outcome is unknown, for people.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.log().failures.clone()
    }

    /// Whether the history is linearizable.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        check(&self.log().operations)
    }

    /// That the history is linearizable.
    ///
    /// # Panics
    /// If it is not, with the few operations that no order explains.
    pub fn assert_linearizable(&self) {
        match self.verdict() {
            Verdict::Linearizable => {}
            Verdict::Violation(violation) => panic!("not linearizable: {violation}"),
            Verdict::Undecided(key) => panic!("undecided for key {}: too many unknown outcomes", key.escape_ascii()),
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_nanos()).expect("centuries")
    }

    fn record(&self, of: &Recorded, key: &[u8], action: Action, expected: Option<u64>, call: u64, outcome: Outcome) {
        let now = self.now();
        let ret = (outcome != Outcome::Unknown).then_some(now);
        let mut log = self.log();
        let log = &mut *log;
        let silence = log.silences.entry(key.to_vec()).or_insert(Silence { last: call, longest: 0 });
        match outcome {
            Outcome::Unknown => log.counts.unknown += 1,
            Outcome::Failed => log.counts.failed += 1,
            Outcome::Found(_) | Outcome::Done { .. } | Outcome::Mismatch { .. } => {
                log.counts.answered += 1;
                silence.longest = silence.longest.max(now.saturating_sub(silence.last));
                silence.last = silence.last.max(now);
            }
        }
        let (client, key, expected) = (of.number, key.to_vec(), expected.map(Expected::Revision));
        log.operations.push(Operation { client, key, action, expected, call, ret, outcome });
    }

    fn refused(&self, what: &str, key: &[u8], error: &Error) -> (Outcome, Option<u64>) {
        if let Error::RevisionMismatch { actual } = error {
            return (Outcome::Mismatch { actual: Some(*actual) }, Some(*actual));
        }
        self.failed(what, key, error);
        (if error.is_definite() { Outcome::Failed } else { Outcome::Unknown }, None)
    }

    fn failed(&self, what: &str, key: &[u8], error: &Error) {
        let at = self.zero.elapsed().as_millis();
        let mut log = self.log();
        if log.failures.len() < KEPT_FAILURES {
            log.failures.push(format!("after {at} ms: {what} {}: {error}", key.escape_ascii()));
        }
    }
}
