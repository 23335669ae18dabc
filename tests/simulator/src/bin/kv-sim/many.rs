//! Many seeds: a range of them, or as many as some minutes allow.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::{self, Write as _},
    time::{Duration, Instant},
};

use kv_simulator::{News, Report, Soak, Violation, soak, trace};

use crate::Options;

/// Seeds after which every situation should have come up: fewer may miss some by chance.
const ENOUGH_FOR_ALL: u64 = 20_000;
const TELL_EVERY: Duration = Duration::from_secs(30);
/// Random first seeds are below it, so that they can be typed.
const FIRST_BELOW: u64 = 1_000_000_000_000;
const DEFAULT_SEEDS: (u64, u64) = (0, 1000);

/// Whether no invariant was violated, and enough seeds came through every situation.
pub(crate) fn run(options: &Options) -> io::Result<bool> {
    let begun = Instant::now();
    let (first, end) = match options.minutes {
        None => options.seeds.unwrap_or(DEFAULT_SEEDS),
        Some(_) => (options.first.unwrap_or_else(random), u64::MAX),
    };
    let minutes = options.minutes.filter(|minutes| minutes.is_finite() && *minutes > 0.0);
    let until = minutes.map(|minutes| begun + Duration::from_secs_f64(minutes * 60.0));
    let threads = options.threads();
    let what = Soak {
        seeds: first..end,
        until,
        broken: options.rule,
        threads,
        at_most: options.at_most,
        tell_every: TELL_EVERY,
    };
    writeln!(io::stdout(), "from seed {first} on, on {threads} threads")?;
    let mut told = Ok(());
    let report = soak(&what, |news| {
        let mut out = io::stdout().lock();
        let new = match news {
            News::Progress(report) => writeln!(out, "{}", figures(report, begun)),
            News::Found(violation) => writeln!(out, "{violation}\n  again: {}", again(violation, options)),
        };
        told = std::mem::replace(&mut told, Ok(())).and(new).and_then(|()| out.flush());
    });
    told?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", report.coverage)?;
    if let Some(first) = report.violations.first() {
        writeln!(out, "The last that happened in seed {}:", first.seed)?;
        for line in trace(first.seed, options.rule, false) {
            writeln!(out, "{line}")?;
        }
        writeln!(out)?;
    }
    for violation in &report.violations {
        writeln!(out, "{violation}\n  again: {}", again(violation, options))?;
    }
    writeln!(out, "{}", figures(&report, begun))?;
    let missing: Vec<_> = report.coverage.missing().collect();
    let tame = !missing.is_empty() && report.seeds > ENOUGH_FOR_ALL && options.rule.is_none();
    if !missing.is_empty() {
        let loud = if tame { "======== NEVER REACHED" } else { "not reached by so few" };
        writeln!(out, "{loud}: {missing:?}")?;
    }
    Ok(report.violations.is_empty() && !tame)
}

fn figures(report: &Report, begun: Instant) -> String {
    let took = begun.elapsed().as_secs_f64();
    let (seeds, steps) = (report.seeds, report.steps);
    let rate = seeds as f64 / took;
    let found = report.violations.len();
    format!("{seeds} seeds, {steps} steps in {took:.0} s ({rate:.0} seeds/s): {found} violations")
}

/// The command that plays it again.
fn again(violation: &Violation, options: &Options) -> String {
    let rule = options.rule.map_or_else(String::new, |rule| format!(" --rule {rule:?}"));
    format!("cargo run --profile soak -p kv-simulator --bin kv-sim -- --seed {} --trace{rule}", violation.seed)
}

/// Of the keys that the standard library draws for its maps.
fn random() -> u64 {
    RandomState::new().build_hasher().finish() % FIRST_BELOW
}
