use kv_corpus::Seed;
use kv_types::{Entry, EntryId, Epoch, EpochHistory, KeyRange, Lineage, Seq, ShardConfig, ShardId, VolumeId};
use uuid::Uuid;

use super::*;
use crate::{
    disk::{Disk as _, simulated::SimulatedDisk},
    log::{Birth, ReplicaState, crash_tests::Running, crash_tests::entry, record::HEADER},
};

const A: ShardId = ShardId(1);
const B: ShardId = ShardId(2);
const C: ShardId = ShardId(3);

fn history() -> EpochHistory {
    EpochHistory::new(vec![EntryId::new(1, 1), EntryId::new(4, 7)], Seq(9)).unwrap()
}

fn state() -> ReplicaState {
    let volume = VolumeId(Uuid::from_u128(3));
    let range = KeyRange { start: "a".into(), end: Some("m".into()) };
    let config =
        ShardConfig { epoch: Epoch(4), lineage: Lineage(1), range: range.clone(), primary: volume, isr: vec![volume] };
    let birth = Some(Birth { parent: A, epoch: Epoch(3), range });
    ReplicaState { promised: Epoch(4), torn: true, config: Some(config), birth, ..ReplicaState::default() }
}

#[test]
fn damaged_records_are_refused_or_understood() {
    let records = [
        Record::Entry(A, Entry { id: EntryId::new(3, 9), payload: "payload".into() }),
        Record::Truncate(A, Seq(3)),
        Record::State(A, state()),
        Record::Reset(A, history()),
        Record::Forget(A),
        Record::Checkpoints { count: 3, rewritten: 8, previous_end: 99 },
        Record::Checkpoint(A, state(), history()),
    ];
    let seed = |(at, record): (usize, &Record)| {
        let mut bytes = vec![at as u8 & 1];
        let mut encoded = Vec::new();
        record.encode(SEGMENT, 64, &mut encoded);
        bytes.extend(encoded);
        Seed::from(bytes)
    };
    let seeds: Vec<_> = records.iter().enumerate().map(seed).collect();
    kv_corpus::check("log_record", &seeds, log_record);
}

/// What `steps` leave on the disk, one run of the process for each.
fn segments(steps: &[&dyn Fn(&Running)]) -> Vec<Vec<u8>> {
    let disk = SimulatedDisk::new(1);
    for step in steps {
        let running = Running::open(&disk).unwrap();
        // Or old segments would go, and when is a matter of luck.
        for shard in [A, B, C] {
            running.log.retain_from(shard, Some(Seq(1)));
        }
        running.start();
        step(&running);
        running.log.close();
    }
    // What was prepared for records to come is left out.
    let files = disk.list().unwrap().into_iter().map(|name| disk.content(&name));
    files.filter(|file| file[BLOCK..].iter().any(|byte| *byte != 0)).collect()
}

/// Of one group: what is handed over while another is written would be of one by chance.
fn append(running: &Running, shard: ShardId, epoch: u64, seqs: std::ops::RangeInclusive<u64>) {
    let entries: Vec<_> = seqs.map(|seq| entry(epoch, seq, 3 + seq as usize % 5)).collect();
    assert!(running.durable(running.log.append(shard, &entries).unwrap()));
}

/// Logs of several segments, with records of all kinds.
fn logs() -> Vec<Vec<Vec<u8>>> {
    let entries = |running: &Running| {
        append(running, A, 1, 1..=3);
        append(running, A, 1, 4..=5);
        append(running, B, 1, 1..=4);
    };
    let replaced = |running: &Running| {
        append(running, A, 2, 4..=8);
        assert!(running.durable(running.log.truncate(A, Seq(6)).unwrap()));
        assert!(running.durable(running.log.put_state(B, state()).unwrap()));
    };
    let started_over = |running: &Running| {
        assert!(running.durable(running.log.reset(C, EntryId::new(4, 9), &history()).unwrap()));
        append(running, C, 5, 10..=12);
        assert!(running.durable(running.log.forget(B).unwrap()));
    };
    vec![
        segments(&[&entries]),
        segments(&[&entries, &replaced]),
        segments(&[&entries, &started_over]),
        segments(&[&entries, &replaced, &started_over, &|running| append(running, A, 7, 7..=9)]),
    ]
}

/// The last record says that its group begins 4 GiB behind it: a start once filled the segment with zeros up to there.
fn false_group_start(mut files: Vec<Vec<u8>>) -> Vec<u8> {
    let written = files.last_mut().unwrap();
    let last = (BLOCK..written.len()).step_by(ALIGNMENT).rfind(|at| written[*at] == BEGIN).unwrap();
    written[last + 32..last + 36].fill(0xff);
    files::input(files::SEALED, &files)
}

/// An entry of the highest seq: a start once took it, and wrote a history that the next one could not read.
fn highest_seq() -> Vec<u8> {
    let before = EpochHistory::new(vec![EntryId::new(1, 1)], Seq(u64::MAX - 1)).unwrap();
    let entry = Entry { id: EntryId::new(1, u64::MAX), payload: "last".into() };
    one_segment(&[Record::Reset(A, before), Record::Entry(A, entry)])
}

/// The checkpoint and `records`, in one segment.
fn one_segment(records: &[Record]) -> Vec<u8> {
    let mut file = vec![0; BLOCK];
    let checkpoint = Record::Checkpoints { count: 0, rewritten: 0, previous_end: BLOCK as u32 };
    for record in std::iter::once(&checkpoint).chain(records) {
        record.encode(1, BLOCK as u32, &mut file);
    }
    files::input(0, &[file])
}

/// A record says that its group begins within the one before it: a start once cut that one there.
fn group_within_a_record() -> Vec<u8> {
    let entries = [3, 4].map(|len: u64| Record::Entry(A, entry(1, len - 2, len as usize)));
    let mut input = one_segment(&entries);
    let second = input.len() - (HEADER + 5);
    input[0] = files::SEALED;
    input[second + 32] = input[second + 32].wrapping_add(HEADER as u8 + 8 + 1);
    input
}

/// The last record that was written again is longer than it would be if it were written once more, as one of another
/// version may be, and lies behind a segment that can't be read: a start once cut it short.
fn longer_record() -> Vec<u8> {
    let entries = [Record::Entry(A, Entry { id: EntryId::new(1, 1), payload: vec![7; 49].into() })];
    let mut segment = one_segment(&entries);
    let checkpoint = 3;
    segment[0] = files::SEALED;
    // One record was written again.
    segment[checkpoint + 8] = 1;
    // It is no entry, which holds nothing that is not used.
    segment[checkpoint + HEADER + 8 + 1] = 2;
    let unreadable = [BEGIN; 8];
    let mut input = vec![0, unreadable.len() as u8, 0];
    input.extend(unreadable);
    input.extend(segment);
    input
}

/// An entry of no epoch, and a log that was cut below its base: a start once took both, and the next one missed them.
fn no_epoch() -> Vec<u8> {
    let entry = Entry { id: EntryId::new(0, 1), payload: "none".into() };
    let base = EpochHistory::new(vec![EntryId::new(4, 7)], Seq(9)).unwrap();
    one_segment(&[Record::Entry(A, entry), Record::Reset(B, base), Record::Truncate(B, Seq(5))])
}

/// A start was interrupted when it had written the last group again, and had not yet cut the torn write behind it. The next
/// one once left a beginning that was not whole, so that the one after it took the torn write for damage.
fn interrupted_start() -> Vec<u8> {
    let mut files = segments(&[&|running| append(running, A, 1, 1..=3), &|_| ()]);
    let (first, torn) = (&mut files[0], [BEGIN; 24]);
    first.extend(torn);
    files::input(0, &files)
}

#[test]
fn damaged_segments_never_make_a_start_panic_or_make_entries_up() {
    let logs = logs();
    let mut seeds = vec![
        Seed::find("false-group-start", false_group_start(logs[1].clone())),
        Seed::find("highest-seq", highest_seq()),
        Seed::find("group-within-a-record", group_within_a_record()),
        Seed::find("longer-record", longer_record()),
        Seed::find("no-epoch", no_epoch()),
        Seed::find("interrupted-start", interrupted_start()),
    ];
    for files in &logs {
        // The numbers of those files ascend from where the log has come to, those of an input from 1.
        seeds.push(files::input(files::SEALED, files).into());
    }
    seeds.push(files::input(0, &logs[0]).into());
    kv_corpus::check("log_segments", &seeds, log_segments);
}
