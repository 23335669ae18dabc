//! Faults of the disk under a whole volume: the power fails at every write, sync and change of a name, calls fail, bits flip.
//!
//! The process under test runs on real files, with `recorder.c` between it and the C library: so the table is covered too,
//! whose crate opens its files by itself. What was recorded is then laid out as a disk may hold it after a power failure,
//! and opened. `KV_STORAGE_FULL=1` tries every point and every call, instead of a sample.

mod check;
mod plan;
mod process;
mod replay;
mod workload;

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use bytes::Bytes;
use kv_storage::{Space, rows};
use kv_types::EntryId;
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

use check::{Said, check};
use plan::Plan;
use process::{folder, recorder, run};
use replay::{FileSystem, Image, Survivors, lay_out};

const STEPS: usize = 160;

fn is_full() -> bool {
    std::env::var_os("KV_STORAGE_FULL").is_some()
}

fn applied_value(id: EntryId, _space: Space) -> Bytes {
    rows::encode_entry_id(id)
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
