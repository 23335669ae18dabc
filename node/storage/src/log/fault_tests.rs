//! Every call to the disk fails in turn: that is told, and what was said to be durable stays.

use std::io::ErrorKind;

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

use super::crash_tests::{Models, Running, Step, holds};
use crate::{
    VolumeEvent,
    disk::simulated::{Failing, SimulatedDisk},
    lock,
};

/// Goes through the workload of `seed`. The states of the log in their order, and which of them is durable.
fn work(disk: &SimulatedDisk, seed: u64) -> (Vec<Models>, usize) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let (mut states, mut ends) = (vec![Models::new()], vec![0]);
    let Ok(running) = Running::open(disk) else { return (states, 0) };
    running.start();
    'steps: for _ in 0..24 {
        let mut last = None;
        for _ in 0..random.random_range(1..5) {
            let mut models = states.last().unwrap().clone();
            let step = Step::random(&models, &mut random);
            let Ok(ticket) = step.submit(&running.log) else { break 'steps };
            for step in step.records() {
                step.apply(&mut models);
                states.push(models.clone());
            }
            ends.push(states.len() - 1);
            last = Some(ticket);
        }
        let stopped = |told: &VolumeEvent| matches!(told, VolumeEvent::Fatal(_) | VolumeEvent::Full);
        running.wait(|told| last.is_none_or(|last| told.durable >= last) || told.events.iter().any(stopped));
        if last.is_some_and(|last| lock(&running.told.0).durable < last) {
            break;
        }
    }
    running.log.close();
    let durable = ends[lock(&running.told.0).durable.0 as usize];
    (states, durable)
}

#[test]
fn a_call_that_fails_once_or_for_good_takes_nothing_that_was_durable() {
    let mut runs = 0;
    for seed in 0..3 {
        let whole = SimulatedDisk::new(seed);
        let (states, durable) = work(&whole, seed);
        assert_eq!(durable + 1, states.len(), "without a fault all is durable");
        for (kind, always) in [
            (ErrorKind::Other, false),
            (ErrorKind::Other, true),
            (ErrorKind::StorageFull, false),
            (ErrorKind::StorageFull, true),
        ] {
            for call in 1..=whole.calls() {
                runs += 1;
                let disk = SimulatedDisk::new(seed * 10_000 + call);
                let failing = Failing { call, kind, always };
                disk.fail_at(failing);
                let (states, durable) = work(&disk, seed);
                for after in [disk.restart_machine(), disk.restart_process()] {
                    let running = Running::open(&after).unwrap();
                    let found = states[durable..].iter().any(|models| holds(&running.log, models));
                    assert!(found, "seed {seed}, {failing:?}: none of the states from {durable} on");
                }
            }
        }
    }
    println!("calls of the log that failed: {runs}");
}
