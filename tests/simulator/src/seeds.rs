use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use kv_checker::Operation;

use kv_replication::core::Rule;

use crate::{
    coverage::Coverage,
    invariants::Invariant,
    world::{Trace, World},
};

/// Lines of the trace that a violation is shown with.
const SHOWN: usize = 80;

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Plays it again.
    pub seed: u64,
    /// The event after which it was seen.
    pub step: u64,
    /// What did not hold.
    pub invariant: Invariant,
    /// How.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} step {}: {}: {}", self.seed, self.step, self.invariant, self.text)
    }
}

/// What many runs came to.
#[derive(Debug, Default)]
pub struct Report {
    /// How many seeds were run.
    pub seeds: u64,
    /// How many steps they took.
    pub steps: u64,
    /// Those that failed, by seed.
    pub violations: Vec<Violation>,
    /// What they came through.
    pub coverage: Coverage,
}

/// Plays one seed, with `broken` switched off if any.
///
/// # Errors
/// The violation.
pub fn run(seed: u64, broken: Option<Rule>) -> Result<(u64, Coverage), Violation> {
    let played = play(seed, broken, Trace::default());
    played.result.map(|()| (played.steps, played.coverage))
}

/// Plays one seed and tells what happened: the last lines before a violation, or with `all` everything.
#[must_use]
pub fn trace(seed: u64, broken: Option<Rule>, all: bool) -> Vec<String> {
    let keep = if all { usize::MAX } else { SHOWN };
    play(seed, broken, Trace { on: true, keep, ..Trace::default() }).trace
}

/// What the clients of a seed were told.
#[must_use]
pub fn history(seed: u64, broken: Option<Rule>) -> Vec<Operation> {
    let mut world = World::new(seed, broken, Trace::default());
    // What it came to does not matter here.
    let _ = catch_unwind(AssertUnwindSafe(|| world.run()));
    world.history
}

/// A run that has ended.
pub(crate) struct Played {
    pub(crate) result: Result<(), Violation>,
    pub(crate) steps: u64,
    pub(crate) coverage: Coverage,
    pub(crate) trace: Vec<String>,
}

pub(crate) fn play(seed: u64, broken: Option<Rule>, trace: Trace) -> Played {
    let mut world = World::new(seed, broken, trace);
    // The core asserts what must never happen; that is a finding like any other.
    let panicked = catch_unwind(AssertUnwindSafe(|| world.run())).err();
    if let Some(panic) = panicked {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        world.fail(Invariant::Assertion, text);
    }
    let steps = world.step;
    let result = match world.failed.take() {
        Some((invariant, text)) => Err(Violation { seed, step: steps, invariant, text }),
        None => Ok(()),
    };
    Played { result, steps, coverage: world.coverage, trace: world.trace.lines.into() }
}
