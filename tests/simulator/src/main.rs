//! `kv-sim`: plays seeds, and shows what led to a violation.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use kv_simulator::{RULES, Rule, hunt, run, run_range, trace};

/// Plays a cluster in one thread, from a seed.
#[derive(Debug, Parser)]
#[command(name = "kv-sim")]
struct Options {
    /// Play one seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Play the seeds from A up to and without B.
    #[arg(long, value_name = "A..B", value_parser = range)]
    seeds: Option<(u64, u64)>,
    /// Break a rule of the protocol ("all": one after the other).
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Tell everything that happens in --seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Stop after so many violations.
    #[arg(long, default_value_t = 5)]
    at_most: usize,
    /// Threads to play seeds on.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text:?} is not two numbers with '..' between them, such as 0..1000");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    Ok((from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?))
}

fn main() -> ExitCode {
    // A violated assertion of the core is reported as a violation; its message would only come twice.
    std::panic::set_hook(Box::new(|_| {}));
    match play(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing can be said any more if even this fails.
            let _ = writeln!(io::stderr(), "kv-sim: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether no invariant was violated.
fn play(options: &Options) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let rule = match options.rule.as_deref() {
        None => None,
        Some("all") => return break_all(options, &mut out),
        Some(name) => match RULES.into_iter().find(|rule| format!("{rule:?}") == name) {
            Some(rule) => Some(rule),
            None => {
                let names: Vec<_> = RULES.iter().map(|rule| format!("{rule:?}")).collect();
                let text = format!("there is no rule {name:?}; there are {}", names.join(", "));
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        },
    };
    if let Some(seed) = options.seed {
        if options.trace {
            for line in trace(seed, rule, true) {
                writeln!(out, "{line}")?;
            }
        }
        return match run(seed, rule) {
            Ok((steps, coverage)) => {
                write!(out, "{coverage}")?;
                writeln!(out, "seed {seed}: no violation in {steps} steps")?;
                Ok(true)
            }
            Err(violation) => {
                writeln!(out, "{violation}")?;
                Ok(false)
            }
        };
    }
    let (from, to) = options.seeds.unwrap_or((0, 1000));
    let begun = Instant::now();
    let report = run_range(from..to, rule, options.threads, options.at_most);
    let took = begun.elapsed().as_secs_f64();
    writeln!(out, "{}", report.coverage)?;
    for violation in &report.violations {
        writeln!(out, "{violation}")?;
    }
    if let Some(first) = report.violations.first() {
        writeln!(out, "\nThe last that happened in seed {}:", first.seed)?;
        for line in trace(first.seed, rule, false) {
            writeln!(out, "{line}")?;
        }
    }
    let (seeds, steps) = (report.seeds, report.steps);
    let rate = seeds as f64 / took;
    let found = report.violations.len();
    writeln!(out, "{seeds} seeds, {steps} steps in {took:.1} s ({rate:.0} seeds/s): {found} violations")?;
    Ok(report.violations.is_empty())
}

/// A table of rules, each with the first seed that finds it broken. Whether all were found.
fn break_all(options: &Options, out: &mut impl io::Write) -> io::Result<bool> {
    let (from, to) = options.seeds.unwrap_or((0, 20_000));
    let mut all = true;
    for rule in RULES {
        let begun = Instant::now();
        let found: Option<kv_simulator::Violation> = find(rule, from, to, options.threads);
        all &= found.is_some();
        let took = begun.elapsed().as_secs_f64();
        let name = format!("{rule:?}");
        match found {
            Some(violation) => {
                let (seed, invariant) = (violation.seed, violation.invariant.to_string());
                writeln!(out, "{name:<24} seed {seed:<8} {invariant:<14} {took:>6.1} s")?;
            }
            None => writeln!(out, "{name:<24} NOT FOUND in {from}..{to} {took:>6.1} s")?,
        }
    }
    Ok(all)
}

fn find(rule: Rule, from: u64, to: u64, threads: usize) -> Option<kv_simulator::Violation> {
    hunt(rule, from..to, threads)
}
