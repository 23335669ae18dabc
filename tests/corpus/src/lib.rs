//! The inputs of fuzzers that are kept in `fuzz/corpus`, for ordinary tests: they go through all of a target's inputs,
//! and through damaged ones for a bounded time. So `cargo test` needs no fuzzing engine to find what one has once found.
//!
//! A target is a function that takes any bytes, says whether it has understood them, and panics if something does not
//! hold. It lies in the crate of its decoder; `fuzz/fuzz_targets` hands the same function to libFuzzer.

mod folder;
mod mutate;

use std::{
    panic::{RefUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

use folder::Folder;
use mutate::mutate;

/// How long a target is given damaged inputs, in seconds, unless `KV_FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 2;

/// An input that a test makes out of real encodings.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The name of its file, for an input that once found a fault; others are named by their content.
    pub name: Option<&'static str>,
    /// The input.
    pub bytes: Vec<u8>,
}

impl Seed {
    /// The input that found a fault once.
    #[must_use]
    pub fn find(name: &'static str, bytes: Vec<u8>) -> Self {
        Self { name: Some(name), bytes }
    }
}

impl From<Vec<u8>> for Seed {
    fn from(bytes: Vec<u8>) -> Self {
        Self { name: None, bytes }
    }
}

/// Hands `run` the seeds, all that is kept of `target`, and damaged copies of it until the time is over.
///
/// With `KV_CORPUS_WRITE` set the seeds are written to the kept corpus instead of being compared with it.
///
/// # Panics
/// If `run` panics, with the input in hexadecimal; if a seed is not understood or not kept; if nothing, or everything,
/// that was damaged was understood.
pub fn check(target: &str, seeds: &[Seed], run: impl Fn(&[u8]) -> bool + RefUnwindSafe) {
    let folder = Folder::of(target);
    if std::env::var_os("KV_CORPUS_WRITE").is_some() {
        folder.write(seeds);
    }
    let kept = folder.read();
    for Seed { name, bytes } in seeds {
        assert!(kept.contains(bytes), "{target}: a seed is not in fuzz/corpus: run `make fuzz-corpus`");
        // What was damaged is not to be understood, but to do no harm.
        assert!(name.is_some() || run(bytes), "{target}: a seed is not understood: {}", hex::encode(bytes));
    }
    let run = |what: &str, bytes: &[u8]| {
        let outcome = catch_unwind(|| run(bytes));
        assert!(outcome.is_ok(), "{target}, {what}: {}", hex::encode(bytes));
        outcome.is_ok_and(|understood| understood)
    };
    for bytes in &kept {
        run("kept input", bytes);
    }
    let (mut executions, mut understood) = (0_u64, 0_u64);
    let end = Instant::now() + seconds();
    while Instant::now() < end {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(executions);
        let mut bytes = kept[random.random_range(0..kept.len())].clone();
        let other = &kept[random.random_range(0..kept.len())];
        mutate(&mut bytes, other, &mut random);
        understood += u64::from(run(&format!("execution {executions}"), &bytes));
        executions += 1;
    }
    println!("{target}: {} kept, {executions} executions, {understood} understood", kept.len());
    assert!(understood > 0 && understood < executions, "{target}: {understood} of {executions} were understood");
}

fn seconds() -> Duration {
    let seconds = std::env::var("KV_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(SECONDS))
}
