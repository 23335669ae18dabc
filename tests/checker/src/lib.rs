//! Judges histories of a key-value store, from the simulator and from real processes alike.
//!
//! - [`check`]: is there, for each key, one order of its operations that explains every answer and keeps to real time?
//! - [`porcupine`]: what a checker of others says of the same histories.
//! - [`lost`] and [`applied_twice`]: cheaper questions about runs in which every write has a value of its own.

mod explain;
mod history;
mod model;
pub mod porcupine;
mod search;
mod writes;

use std::{collections::BTreeMap, fmt};

pub use history::{Action, Expected, Operation, Outcome, Versioned};
pub use writes::{applied_twice, lost};

/// Steps that the search may take for one key before it gives up.
pub const DEFAULT_BUDGET: u64 = 5_000_000;

/// What a history was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every key has an order that explains all answers.
    Linearizable,
    /// A key has none.
    Violation(Violation),
    /// The search for this key ran out of its budget.
    Undecided(Vec<u8>),
}

/// A few operations of one key that no order explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The key.
    pub key: Vec<u8>,
    /// As few as were found, by time of call.
    pub operations: Vec<Operation>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "key {}: no order explains these {} operations:", self.key.escape_ascii(), self.operations.len())?;
        for operation in &self.operations {
            writeln!(f, "  {operation}")?;
        }
        Ok(())
    }
}

/// Whether each key's operations can be put into one order that keeps to real time and explains every answer.
///
/// Keys are independent, so each is searched by itself. An operation of unknown outcome may take effect at any time
/// after its call, or never.
#[must_use]
pub fn check(history: &[Operation]) -> Verdict {
    check_within(history, DEFAULT_BUDGET)
}

/// [`check`] with a bound of one's own on the steps of the search for each key.
#[must_use]
pub fn check_within(history: &[Operation], budget: u64) -> Verdict {
    let mut keys: BTreeMap<&[u8], Vec<&Operation>> = BTreeMap::new();
    for operation in history.iter().filter(|operation| operation.outcome != Outcome::Failed) {
        keys.entry(&operation.key).or_default().push(operation);
    }
    let mut undecided = None;
    for (key, operations) in keys {
        match search::search(&operations, budget) {
            search::Found::Order => {}
            search::Found::Nothing => {
                let operations = explain::smallest(&operations, budget).into_iter().cloned().collect();
                return Verdict::Violation(Violation { key: key.to_vec(), operations });
            }
            search::Found::OutOfBudget => undecided = undecided.or(Some(key.to_vec())),
        }
    }
    undecided.map_or(Verdict::Linearizable, Verdict::Undecided)
}
