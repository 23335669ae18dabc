//! The simulator's verdict on the replication core.

use std::{collections::BTreeSet, fs, thread, time::Instant};

use kv_simulator::{RULES, hunt, run_range, words};

/// `make soak` plays more.
const SEEDS: u64 = 20_000;

const PROTOCOL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
const MUTANTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/mutants.md");

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn twenty_thousand_seeds_violate_nothing() {
    let begun = Instant::now();
    let report = run_range(0..SEEDS, None, threads(), 10);
    println!("{}", report.coverage);
    println!("{} seeds, {} steps in {:.1} s", report.seeds, report.steps, begun.elapsed().as_secs_f64());
    let found: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "play one again with `kv-sim --seed N --trace`:\n{}", found.join("\n"));
    assert_eq!(report.seeds, SEEDS);
    // Seeds in which a kind of trouble never comes say nothing about it.
    let missing: Vec<_> = report.coverage.missing().collect();
    assert!(missing.is_empty(), "no seed has come through {missing:?}");
}

/// What long runs have found, each mended. A seed plays something else as soon as the simulator draws otherwise: each has a test of its own too.
const FOUND: [u64; 4] = [80_029_004_205, 120_000_129_189, 130_000_925_282, 150_000_086_685];

#[test]
fn seeds_that_found_something_violate_nothing() {
    for seed in FOUND {
        let report = run_range(seed..seed + 1, None, 1, 10);
        assert!(report.violations.is_empty(), "{}", report.violations[0]);
    }
}

/// A suite that finds nothing when a rule of the protocol is broken would find nothing when it is broken by accident.
#[test]
fn each_broken_rule_is_found_within_the_same_seeds() {
    let mut unfound = Vec::new();
    for rule in RULES {
        match hunt(rule, 0..SEEDS, threads()) {
            Some(violation) => println!("{rule:?}: {violation}"),
            None => unfound.push(rule),
        }
    }
    assert!(unfound.is_empty(), "broken, and no seed finds it: {unfound:?}");
}

/// The names in the first column of a page's rows.
fn rows(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | ")).map(|(name, _)| name);
    names.filter(|name| name.chars().all(char::is_alphanumeric)).map(str::to_owned).collect()
}

#[test]
fn each_rule_is_broken_once_and_the_protocol_says_what_happens_then() {
    let names: Vec<_> = RULES.iter().map(|rule| format!("{rule:?}")).collect();
    assert!(RULES.iter().enumerate().all(|(at, rule)| *rule as usize == at), "a rule is missing in {names:?}");
    let all: BTreeSet<_> = names.iter().collect();
    let said = rows(&fs::read_to_string(PROTOCOL).unwrap());
    let without: Vec<_> = names.iter().filter(|name| !said.contains(name)).collect();
    assert!(all.len() == names.len() && without.is_empty(), "docs/protocol.md says nothing of {without:?}");
}

#[test]
fn the_page_of_broken_rules_has_them_all() {
    let text = fs::read_to_string(MUTANTS).unwrap();
    let names: Vec<_> = RULES.iter().map(|rule| format!("{rule:?}")).collect();
    assert_eq!(rows(&text), names, "docs/mutants.md is out of date: run `make mutants`");
    for rule in RULES {
        let row = format!("| `{rule:?}` | {} |", words(rule));
        assert!(text.contains(&row), "docs/mutants.md has no row {row:?}: run `make mutants`");
    }
}
