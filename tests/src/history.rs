//! What concurrent clients asked for and were told, for the checker.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use kv_checker::{Action, Expected, Operation, Outcome, Verdict, Versioned, check};
use kv_client::{Client, Delete, Error, Put};

/// Carries out operations and records them.
#[derive(Debug)]
pub struct Recorder {
    zero: Instant,
    operations: Mutex<Vec<Operation>>,
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
        Self { zero: Instant::now(), operations: Mutex::default() }
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
            Err(_) => (Outcome::Failed, None),
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
            Err(error) => refused(&error),
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
            Err(error) => refused(&error),
        };
        self.record(of, key, Action::Delete, expected, call, outcome);
        revision
    }

    /// How many operations there are so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        operations.iter().fold(Counts::default(), |mut counts, operation| {
            match operation.outcome {
                Outcome::Unknown => counts.unknown += 1,
                Outcome::Failed => counts.failed += 1,
                Outcome::Found(_) | Outcome::Done { .. } | Outcome::Mismatch { .. } => counts.answered += 1,
            }
            counts
        })
    }

    /// That the history is linearizable.
    ///
    /// # Panics
    /// If it is not, with the few operations that no order explains.
    pub fn assert_linearizable(&self) {
        let operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        match check(&operations) {
            Verdict::Linearizable => {}
            Verdict::Violation(violation) => panic!("not linearizable: {violation}"),
            Verdict::Undecided(key) => panic!("undecided for key {}: too many unknown outcomes", key.escape_ascii()),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_nanos()).expect("centuries")
    }

    fn record(&self, of: &Recorded, key: &[u8], action: Action, expected: Option<u64>, call: u64, outcome: Outcome) {
        let ret = (outcome != Outcome::Unknown).then(|| self.now());
        let (client, key, expected) = (of.number, key.to_vec(), expected.map(Expected::Revision));
        let operation = Operation { client, key, action, expected, call, ret, outcome };
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
    }
}

fn refused(error: &Error) -> (Outcome, Option<u64>) {
    match error {
        Error::RevisionMismatch { actual } => (Outcome::Mismatch { actual: Some(*actual) }, Some(*actual)),
        error if error.is_definite() => (Outcome::Failed, None),
        _ => (Outcome::Unknown, None),
    }
}
