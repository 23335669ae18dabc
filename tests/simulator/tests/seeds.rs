//! The simulator's verdict on the replication core.

use std::time::Instant;

use kv_simulator::{RULES, hunt, run_range};

/// `make soak` plays more.
const SEEDS: u64 = 20_000;
const THREADS: usize = 2;

#[test]
fn twenty_thousand_seeds_violate_nothing() {
    let begun = Instant::now();
    let report = run_range(0..SEEDS, None, THREADS, 10);
    println!("{}", report.coverage);
    println!("{} seeds, {} steps in {:.1} s", report.seeds, report.steps, begun.elapsed().as_secs_f64());
    let found: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "play one again with `kv-sim --seed N --trace`:\n{}", found.join("\n"));
    assert_eq!(report.seeds, SEEDS);
    // Seeds in which a kind of trouble never comes say nothing about it.
    let missing: Vec<_> = report.coverage.missing().collect();
    assert!(missing.is_empty(), "no seed has come through {missing:?}");
}

/// A suite that finds nothing when a rule of the protocol is broken would find nothing when it is broken by accident.
#[test]
fn each_broken_rule_is_found_within_the_same_seeds() {
    let mut unfound = Vec::new();
    for rule in RULES {
        match hunt(rule, 0..SEEDS, THREADS) {
            Some(violation) => println!("{rule:?}: {violation}"),
            None => unfound.push(rule),
        }
    }
    assert!(unfound.is_empty(), "broken, and no seed finds it: {unfound:?}");
}
