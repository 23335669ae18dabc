//! The mutation gate's table, and the page that keeps it.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use kv_simulator::{Hardness, RULES, measure, words};

use crate::Options;

const DEFAULT_SEEDS: (u64, u64) = (0, 20_000);

/// Breaks each rule. Whether all were found in all ranges.
pub(crate) fn run(options: &Options) -> io::Result<bool> {
    let (from, to) = options.seeds.unwrap_or(DEFAULT_SEEDS);
    let length = to.saturating_sub(from);
    let ranges: Vec<_> = (0..options.ranges).map(|at| from + at * length..to + at * length).collect();
    let mut all = Vec::new();
    for rule in RULES {
        let found = measure(rule, &ranges, options.threads());
        writeln!(
            io::stdout(),
            "{:<24} {:<46} median {:>6}, max {:>6}  {}",
            format!("{rule:?}"),
            words(rule),
            number(found.median(), length),
            number(found.max(), length),
            invariants(&found)
        )?;
        all.push(found);
    }
    if let Some(path) = &options.write {
        fs::write(path, page(&all, options.ranges, length))?;
    }
    let missed: Vec<_> = all.iter().filter(|found| !found.is_found()).map(|found| found.rule).collect();
    if !missed.is_empty() {
        writeln!(io::stdout(), "======== NOT FOUND in each range of {length} seeds: {missed:?}")?;
    }
    Ok(missed.is_empty())
}

fn number(seeds: Option<u64>, length: u64) -> String {
    seeds.map_or_else(|| format!("> {length}"), |seeds| seeds.to_string())
}

fn invariants(found: &Hardness) -> String {
    found.invariants().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn page(all: &[Hardness], ranges: u64, length: u64) -> String {
    let rows = all.iter().map(|found| {
        let (median, max) = (number(found.median(), length), number(found.max(), length));
        format!("| `{:?}` | {} | {median} | {max} | {} |\n", found.rule, words(found.rule), invariants(found))
    });
    let rows: String = rows.collect();
    format!(
        "# Broken rules, and how soon they are found\n\n\
         Written by `make mutants`. Each rule of [the protocol](protocol.md#9-what-happens-without-a-rule) is switched off in the \
         simulator, which plays seeds until an invariant fails: in {ranges} ranges of {length} seeds, none twice. The numbers say \
         how many seeds that took, the middle and the worst of the ranges. Invariants are named in \
         [section 10](protocol.md#10-how-it-is-checked) and `tests/simulator/src/invariants.rs`; several are named where ranges \
         differ.\n\n\
         | rule | switched off | seeds: median | max | caught by |\n|---|---|---|---|---|\n{rows}"
    )
}

/// Whether the page has one row for each rule, in its words; its figures are as old as it is.
pub(crate) fn check(path: &Path) -> io::Result<bool> {
    let text = fs::read_to_string(path)?;
    let mut rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
    let mut out = io::stdout().lock();
    let mut good = true;
    for rule in RULES {
        let row = format!("| `{rule:?}` | {} |", words(rule));
        let before = rows.len();
        rows.retain(|line| !line.starts_with(&row));
        if before != rows.len() + 1 {
            good = false;
            writeln!(out, "{}: {} rows begin with {row:?}: run `make mutants`", path.display(), before - rows.len())?;
        }
    }
    for row in &rows {
        writeln!(out, "{}: there is no such rule: {row}", path.display())?;
    }
    Ok(good && rows.is_empty())
}
