use std::{
    fmt,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use kv_replication::core::Rule;

use crate::{
    coverage::Coverage,
    invariants::Invariant,
    world::{Trace, World},
};

/// Lines of the trace that a violation is shown with.
const SHOWN: usize = 80;

/// All rules that can be broken.
pub const RULES: [Rule; 24] = [
    Rule::PromisePersisted,
    Rule::TakeoverWaitsForGrant,
    Rule::RestartCountsAsGrant,
    Rule::LeaseEndsBeforeGrant,
    Rule::LeaseFromEveryMember,
    Rule::NoGrantAfterPromise,
    Rule::ValueAndLeaseOfOneTerm,
    Rule::JoinNeedsLease,
    Rule::ShrinkKeepsLeaseNeed,
    Rule::ShrinkKeepsAckNeed,
    Rule::JoinNeedsAck,
    Rule::OnlyPrimaryAdds,
    Rule::JoinAfterBarrier,
    Rule::JoinerCaughtUp,
    Rule::ServeAfterBarrier,
    Rule::AckIsMatched,
    Rule::LateAppendKeepsMatches,
    Rule::CommitNeedsOwnSync,
    Rule::RestartedPrimaryBumps,
    Rule::UnknownStaysInFlight,
    Rule::OnlyInSyncTakesOver,
    Rule::HandoverHolds,
    Rule::ForcePromoteWaits,
    Rule::SessionsInBatch,
];

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
    let (result, steps, coverage, _) = play(seed, broken, Trace::default());
    result.map(|()| (steps, coverage))
}

/// Plays one seed and tells what happened: the last lines before a violation, or with `all` everything.
#[must_use]
pub fn trace(seed: u64, broken: Option<Rule>, all: bool) -> Vec<String> {
    let keep = if all { usize::MAX } else { SHOWN };
    play(seed, broken, Trace { on: true, keep, ..Trace::default() }).3
}

fn play(seed: u64, broken: Option<Rule>, trace: Trace) -> (Result<(), Violation>, u64, Coverage, Vec<String>) {
    let mut world = World::new(seed, broken, trace);
    // The core asserts what must never happen; that is a finding like any other.
    let panicked = catch_unwind(AssertUnwindSafe(|| world.run())).err();
    if let Some(panic) = panicked {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        world.fail(Invariant::Assertion, text);
    }
    let step = world.step;
    let result = match world.failed.take() {
        Some((invariant, text)) => Err(Violation { seed, step, invariant, text }),
        None => Ok(()),
    };
    (result, step, world.coverage, world.trace.lines.into())
}

/// Plays all `seeds` on `threads` threads; stops after `at_most` violations.
#[must_use]
pub fn run_range(seeds: Range<u64>, broken: Option<Rule>, threads: usize, at_most: usize) -> Report {
    let next = AtomicU64::new(seeds.start);
    let report = Mutex::new(Report::default());
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let (result, steps, coverage, _) = play(seed, broken, Trace::default());
                    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                    report.seeds += 1;
                    report.steps += steps;
                    report.coverage.add(&coverage);
                    if let Err(violation) = result {
                        report.violations.push(violation);
                    }
                    if report.violations.len() >= at_most {
                        return;
                    }
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.violations.sort_by_key(|violation| violation.seed);
    report
}

/// The first violation found with `broken` switched off.
#[must_use]
pub fn hunt(broken: Rule, seeds: Range<u64>, threads: usize) -> Option<Violation> {
    run_range(seeds, Some(broken), threads, 1).violations.into_iter().next()
}
