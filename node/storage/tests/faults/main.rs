//! Faults of the disk under a whole volume: the power fails at every write, sync and change of a name, calls fail, bits flip.
//!
//! The process under test runs on real files, with `recorder.c` between it and the C library: so the table is covered too,
//! whose crate opens its files by itself. What was recorded is then laid out as a disk may hold it after a power failure,
//! and opened. `KV_STORAGE_FULL=1` tries every point and every call, instead of a sample.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod check;
mod flips;
mod plan;
mod process;
mod replay;
mod workload;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use rustix::io::Errno;

use check::{Outcome, Said, check};
use flips::flips;
use plan::Plan;
use process::{Fault, folder, recorder, run};
use replay::{FileSystem, Image, Survivors, lay_out, take_up};
use workload::TOLD;

const STEPS: usize = 160;
/// Of the workload that is run once for each call that fails.
const FEW_STEPS: usize = 60;

fn is_full() -> bool {
    std::env::var_os("KV_STORAGE_FULL").is_some()
}

#[test]
#[ignore = "it is what the others start"]
fn the_process_under_test() {
    process::main();
}

#[test]
fn a_power_failure_at_every_write_sync_and_rename_leaves_what_was_durable() {
    if recorder().is_none() {
        return;
    }
    let (seeds, every) = if is_full() { (0..6, 1) } else { (0..2, 4) };
    let (mut points, mut images, mut failures) = (0, 0, Vec::new());
    for seed in seeds {
        let root = folder();
        let plan = Plan::new(seed, STEPS);
        let ran = run(root.path(), seed, STEPS, None, &Image::new());
        assert_eq!(ran.code, Some(0), "seed {seed}: {:?}\n{}", ran.said, ran.output);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (mut system, mut said, mut seen) =
            (FileSystem::new(root.path(), &Image::new()), Said::default(), BTreeSet::new());
        for (at, item) in ran.items.iter().enumerate() {
            system.apply(item);
            if item.kind == b'M' {
                said.hear(item);
            }
            if !item.has_effect() || !random.random_ratio(1, every) {
                continue;
            }
            points += 1;
            for survivors in [Survivors::None, Survivors::AllButTorn, Survivors::Random] {
                let image = system.image(survivors, &mut random);
                let mut hasher = DefaultHasher::new();
                (&image, said.durable, said.tried).hash(&mut hasher);
                if !seen.insert(hasher.finish()) {
                    continue;
                }
                images += 1;
                let there = folder();
                lay_out(&image, there.path()).unwrap();
                if let Err(why) = check(there.path(), &plan, &said, false) {
                    failures.push(format!("seed {seed}, item {at} ({:?}), {survivors:?}: {why}", item.kind as char));
                }
            }
        }
    }
    println!("power failures: {points} points, {images} disks tried, {} not recovered", failures.len());
    let first: Vec<_> = failures.iter().take(10).collect();
    assert!(failures.is_empty(), "{first:#?}");
    assert!(points > 200, "the workload is too small");
}

/// A call fails: that is told or borne, nothing is read wrongly, and what was durable is there at the next start, be it after
/// a power failure too.
#[test]
fn a_call_that_fails_is_told_and_what_was_durable_stays() {
    if recorder().is_none() {
        return;
    }
    let (seed, plan) = (1, Plan::new(1, FEW_STEPS));
    let mut failures = Vec::new();
    let (mut by_call, mut told) = (BTreeMap::<String, usize>::new(), 0);
    for (errno, always) in [(Errno::IO, false), (Errno::IO, true), (Errno::NOSPC, false), (Errno::NOSPC, true)] {
        let never = Fault { at: usize::MAX >> 1, errno, always };
        let root = folder();
        let without = run(root.path(), seed, FEW_STEPS, Some(never), &Image::new());
        let calls: Vec<_> = without.calls().collect();
        let step = if is_full() { 1 } else { calls.len() / 24 };
        // The first of each kind too: a sample may miss those that are rare.
        let first_of_kinds = calls.iter().collect::<BTreeSet<_>>();
        let first_of_kinds = first_of_kinds.iter().filter_map(|kind| calls.iter().position(|call| call == *kind));
        let sample = (1..=calls.len()).step_by(step).chain(first_of_kinds.map(|before| before + 1));
        for at in sample.collect::<BTreeSet<_>>() {
            let root = folder();
            let fault = Fault { at, errno, always };
            let ran = run(root.path(), seed, FEW_STEPS, Some(fault), &Image::new());
            let Some(failed) = ran.items.iter().find(|item| item.kind == b'F') else { continue };
            let place = String::from_utf8_lossy(&failed.data).replace(&*root.path().to_string_lossy(), "");
            *by_call.entry(failed.text.clone()).or_default() += 1;
            told += usize::from(ran.code == Some(TOLD));
            let mut fail = |why: String| failures.push(format!("{fault:?}, {} {place}: {why}", failed.text));
            if !matches!(ran.code, Some(0 | TOLD)) || ran.output.contains("panicked") {
                fail(format!("ended with {:?} {:?}: {}", ran.code, ran.said, ran.output));
                continue;
            }
            let mut system = FileSystem::new(root.path(), &Image::new());
            ran.items.iter().for_each(|item| system.apply(item));
            let mut random = Xoshiro256PlusPlus::seed_from_u64(at as u64);
            for survivors in [Survivors::None, Survivors::Random] {
                let there = folder();
                lay_out(&system.image(survivors, &mut random), there.path()).unwrap();
                if let Err(why) = check(there.path(), &plan, &ran.said, false) {
                    fail(format!("then the power failed, {survivors:?}: {why}"));
                }
            }
            if let Err(why) = check(root.path(), &plan, &ran.said, false) {
                fail(format!("at the next start: {why}"));
            }
        }
    }
    let runs: usize = by_call.values().sum();
    println!("calls that failed: {runs}, {told} told, the others borne: {by_call:?}");
    let first: Vec<_> = failures.iter().take(10).collect();
    assert!(failures.is_empty(), "{} of {runs}: {first:#?}", failures.len());
    assert!(by_call.len() >= 6, "the workload makes too few kinds of calls: {by_call:?}");
}

#[test]
fn a_flipped_bit_of_any_file_is_told_or_does_not_matter() {
    if recorder().is_none() {
        return;
    }
    let (seed, plan, root) = (1, Plan::new(1, STEPS), folder());
    let ran = run(root.path(), seed, STEPS, None, &Image::new());
    assert_eq!(ran.code, Some(0), "{:?}\n{}", ran.said, ran.output);
    let mut image = take_up(root.path()).unwrap();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut failures = Vec::new();
    let (mut outcomes, mut flipped) = (BTreeMap::<(String, Outcome), usize>::new(), BTreeMap::<String, usize>::new());
    for path in image.keys().cloned().collect::<Vec<_>>() {
        let Some(Some(content)) = image.get(&path).filter(|content| content.as_ref().is_some_and(|c| !c.is_empty()))
        else {
            continue;
        };
        let kind = path.components().nth(1).map(|part| part.as_os_str().to_string_lossy().into_owned());
        let kind = kind.unwrap_or_default();
        for flip in flips(&path, content, is_full(), &mut random) {
            let toggle = |image: &mut Image| {
                if let Some(Some(content)) = image.get_mut(&path) {
                    flip.apply(content);
                }
            };
            toggle(&mut image);
            let there = folder();
            lay_out(&image, there.path()).unwrap();
            toggle(&mut image);
            *flipped.entry(kind.clone()).or_default() += 1;
            match check(there.path(), &plan, &ran.said, true) {
                Ok(outcome) => *outcomes.entry((kind.clone(), outcome)).or_default() += 1,
                Err(why) => failures.push(format!("{}, {flip:?}: {why}", path.display())),
            }
        }
    }
    println!("flipped bits: {flipped:?}: {outcomes:?}, {} wrong", failures.len());
    let first: Vec<_> = failures.iter().take(10).collect();
    assert!(failures.is_empty(), "{first:#?}");
}
