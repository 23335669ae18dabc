//! Segments that were damaged at random, and some whose checksums match all the same: a start never panics, never takes
//! an entry for good that nobody appended, and what it has made of it the next start reads.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crc32c::{crc32c, crc32c_append};
use kv_types::{Entry, EntryId, EpochHistory, Seq, ShardId};
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

use std::sync::Arc;

use super::{
    Log, ReadError, Replay, ReplicaState,
    crash_tests::{Running, VOLUME, entry, options},
    record::{HEADER, peek},
    segment::BLOCK,
};
use crate::disk::{Disk as _, simulated::SimulatedDisk};

/// How long it goes on, in seconds, unless `KV_FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 4;

type Files = Vec<(String, Vec<u8>)>;
type Entries = BTreeMap<(ShardId, EntryId), Entry>;

/// A log of several segments with records of all kinds, and all entries that were ever appended.
fn original() -> (Files, Entries) {
    let disk = SimulatedDisk::new(1);
    let running = Running::open(&disk).unwrap();
    running.start();
    let mut appended = Entries::new();
    let mut append = |shard, epoch, seq, len| {
        let entry = entry(epoch, seq, len);
        appended.insert((shard, entry.id), entry.clone());
        running.log.append(shard, &[entry]).unwrap()
    };
    let (a, b, c) = (ShardId(1), ShardId(2), ShardId(3));
    let history = EpochHistory::new(vec![EntryId::new(1, 1)], Seq(40)).unwrap();
    for seq in 1..40 {
        append(a, 1 + seq / 10, seq, 900);
        let ticket = append(b, 1, seq, 100);
        if seq % 3 == 0 {
            running.durable(ticket);
        }
    }
    running.log.put_state(a, ReplicaState { promised: kv_types::Epoch(9), ..ReplicaState::default() }).unwrap();
    running.log.truncate(a, Seq(35)).unwrap();
    running.log.reset(c, EntryId::new(1, 40), &history).unwrap();
    let last = append(c, 2, 41, 2000);
    assert!(running.durable(last));
    running.durable(running.log.forget(b).unwrap());
    running.durable(append(a, 7, 36, 50));
    running.log.close();
    let files = disk.list().unwrap().into_iter().map(|name| (name.clone(), disk.content(&name))).collect();
    (files, appended)
}

/// The number of a segment and the places of its records.
fn records(name: &str, bytes: &[u8]) -> (u64, Vec<usize>) {
    let number = super::segment::number(name).unwrap();
    let (mut at, mut places) = (BLOCK, Vec::new());
    while let Some((len, _)) = bytes.get(at..).and_then(|rest| peek(number, rest)) {
        places.push(at);
        at += len;
    }
    (number, places)
}

/// Changes something; `true` if a checksum was made to match it.
fn mutate(files: &mut Files, random: &mut Xoshiro256PlusPlus) -> bool {
    if files.is_empty() {
        return false;
    }
    let which = random.random_range(0..files.len());
    let other = files[random.random_range(0..files.len())].1.clone();
    let (name, bytes) = &mut files[which];
    if bytes.len() <= BLOCK {
        return false;
    }
    let from = random.random_range(0..bytes.len());
    let to = (from + random.random_range(1..3000)).min(bytes.len());
    match random.random_range(0..10) {
        0..3 => bytes[from] ^= 1 << random.random_range(0..8),
        3 => bytes[from..to].fill(0),
        4 => random.fill(&mut bytes[from..to]),
        5 => {
            let at = random.random_range(0..other.len());
            let len = (to - from).min(other.len() - at);
            bytes[from..from + len].copy_from_slice(&other[at..at + len]);
        }
        6 => bytes.truncate(from),
        7 if random.random_range(0..4) == 0 => drop(files.remove(which)),
        _ => return reseal(name, bytes, random),
    }
    false
}

/// Changes a field or the body of a record, and makes its checksums match.
fn reseal(name: &str, bytes: &mut [u8], random: &mut Xoshiro256PlusPlus) -> bool {
    let (number, places) = records(name, bytes);
    if places.is_empty() {
        return false;
    }
    let at = places[random.random_range(0..places.len())];
    let extreme = [0, 1, 2, u64::MAX, u64::MAX - 1, 1 << 31, random.random(), random.random_range(0..50)];
    let value = extreme[random.random_range(0..extreme.len())].to_le_bytes();
    match random.random_range(0..7) {
        0 => bytes[at + 1] = random.random_range(0..9),
        1 => bytes[at + 4..at + 8].copy_from_slice(&value[..4]),
        field @ 2..5 => {
            let field = at + 8 * (field - 1);
            bytes[field..field + 8].copy_from_slice(&value);
        }
        5 => bytes[at + 32..at + 36].copy_from_slice(&value[..4]),
        _ => {
            let len = peek(number, &bytes[at..]).map_or(0, |(len, _)| len.saturating_sub(HEADER + 8));
            if let Some(body) = bytes.get_mut(at + HEADER..at + HEADER + len).filter(|body| !body.is_empty()) {
                let place = random.random_range(0..body.len());
                body[place] = b"0123456789[]{},\":-e"[random.random_range(0..19)];
            }
        }
    }
    let len = u32::from_le_bytes([bytes[at + 4], bytes[at + 5], bytes[at + 6], bytes[at + 7]]) as usize;
    if let Some(body) = bytes.get(at + HEADER..at.saturating_add(HEADER).saturating_add(len)) {
        let crc = crc32c(body).to_le_bytes();
        bytes[at + 36..at + 40].copy_from_slice(&crc);
    }
    let crc = crc32c_append(crc32c(&number.to_le_bytes()), &bytes[at..at + 40]).to_le_bytes();
    bytes[at + 40..at + 44].copy_from_slice(&crc);
    true
}

/// Opens the log as a start does; what it says of its replicas.
fn start(disk: &SimulatedDisk, appended: Option<&Entries>) -> Option<Vec<(ShardId, EntryId)>> {
    let replay = Replay::read(disk, VOLUME).ok()?;
    let lost: Vec<_> = replay.replicas().into_iter().filter(|replica| replica.lost.is_some()).collect();
    let log = Log::open(Arc::new(disk.clone()), VOLUME, options(), replay, Vec::new()).ok()?;
    for (shard, _) in log.states() {
        if lost.iter().any(|replica| replica.shard == shard) {
            continue;
        }
        let last = log.history(shard).unwrap().last().seq;
        let mut from = log.first_seq(shard);
        while from <= last {
            match log.read(shard, from, 5000) {
                Ok(entries) if entries.is_empty() => break,
                Ok(entries) => {
                    from = entries.last().unwrap().id.seq.next();
                    for entry in entries {
                        let known = appended.is_none_or(|appended| appended.get(&(shard, entry.id)) == Some(&entry));
                        assert!(known, "shard {shard}: {:?} was never appended so", entry.id);
                    }
                }
                Err(ReadError::Io(error)) => panic!("{error}"),
                Err(_) => break,
            }
        }
    }
    Some(log.states().into_iter().map(|(shard, _)| (shard, log.history(shard).unwrap().last())).collect())
}

#[test]
fn damaged_segments_never_make_a_start_panic_or_make_entries_up() {
    let seconds = std::env::var("KV_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (files, appended) = original();
    assert!(files.len() > 2 && start_of(&files, Some(&appended)).is_some());
    let (mut executions, mut opened) = (0_u64, 0_u64);
    while Instant::now() < end {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(executions);
        let (mut damaged, mut sealed) = (files.clone(), false);
        for _ in 0..random.random_range(1..5) {
            sealed |= mutate(&mut damaged, &mut random);
        }
        let appended = (!sealed).then_some(&appended);
        let outcome = std::panic::catch_unwind(|| start_of(&damaged, appended));
        opened += u64::from(outcome.unwrap_or_else(|_| panic!("execution {executions}")).is_some());
        executions += 1;
    }
    println!("damaged logs: {executions} executions, {opened} opened");
    assert!(opened > 0);
}

fn start_of(files: &Files, appended: Option<&Entries>) -> Option<Vec<(ShardId, EntryId)>> {
    let disk = SimulatedDisk::new(1);
    for (name, bytes) in files {
        disk.create(name, bytes, bytes.len() as u64).unwrap();
    }
    let first = start(&disk, appended)?;
    // What the first start wrote is sound. What it said was lost stays as it is: the volume's recovery amends that.
    let second = start(&disk, None).expect("the second start reads what the first has written");
    assert_eq!(first, second);
    Some(first)
}
