use std::{thread, time::Duration};

use kv_types::{EntryId, Epoch, EpochHistory, Seq, ShardId};

use super::{
    Log, ReadError, Refused, Replay, ReplicaState,
    crash_tests::{Running, Told, VOLUME, entry, options},
    replay::ReplayError,
    segment,
};
use crate::{VolumeEvent, disk::simulated::SimulatedDisk};

const A: ShardId = ShardId(1);
const B: ShardId = ShardId(2);

/// Keeps all entries, as for a learner.
fn kept(disk: &SimulatedDisk) -> Running {
    let running = started(disk);
    for shard in [A, B] {
        running.log.retain_from(shard, Some(Seq(1)));
    }
    running
}

fn started(disk: &SimulatedDisk) -> Running {
    let running = Running::open(disk).unwrap();
    running.start();
    running
}

/// Appends entries `seqs` of epoch 1 to the shard, each in a group of its own.
fn fill(running: &Running, shard: ShardId, seqs: std::ops::RangeInclusive<u64>, len: usize) {
    for seq in seqs {
        assert!(running.durable(running.log.append(shard, &[entry(1, seq, len)]).unwrap()));
    }
}

fn lost(disk: &SimulatedDisk) -> Vec<(ShardId, bool)> {
    let replay = Replay::read(disk, VOLUME).unwrap();
    replay.replicas().into_iter().map(|replica| (replica.shard, replica.lost.is_some())).collect()
}

/// Where the payload of the entry lies.
fn payload_at(disk: &SimulatedDisk, number: u64, seq: u64, len: usize) -> usize {
    let content = disk.content(&segment::name(number));
    let payload = entry(1, seq, len).payload;
    content.windows(len).position(|window| window == payload).unwrap()
}

#[test]
fn what_does_not_continue_the_log_is_refused() {
    let running = started(&SimulatedDisk::new(0));
    let log = &running.log;
    assert!(matches!(log.append(A, &[entry(1, 2, 0)]), Err(Refused::Misfit(_))));
    assert!(matches!(log.append(A, &[entry(1, 0, 0)]), Err(Refused::Misfit(_))));
    log.append(A, &[entry(3, 1, 0), entry(3, 2, 0)]).unwrap();
    assert!(matches!(log.append(A, &[entry(2, 3, 0)]), Err(Refused::Misfit(_))));
    assert!(matches!(log.append(A, &[entry(3, 3, 0), entry(3, 5, 0)]), Err(Refused::Misfit(_))));
    assert_eq!(log.history(A).unwrap().last(), EntryId::new(3, 2), "a refused call changes nothing");
    assert!(matches!(log.read(B, Seq(1), 1), Err(ReadError::UnknownShard(B))));
}

#[test]
fn what_is_handed_over_together_is_one_group() {
    const PAUSE: Duration = Duration::from_millis(2);
    let running = started(&SimulatedDisk::new(0));
    let together = (1..=200).any(|seq| {
        // The writer sleeps by now, most of the times.
        thread::sleep(PAUSE);
        let before = running.log.stats();
        let (held, other) = (running.log.hold(), running.log.hold());
        running.log.append(A, &[entry(1, seq, 10)]).unwrap();
        thread::sleep(PAUSE);
        let last = running.log.append(B, &[entry(1, seq, 10)]).unwrap();
        drop(held);
        assert!(running.durable(last), "nobody waits for what another one holds");
        drop(other);
        let after = running.log.stats();
        assert_eq!(after.records - before.records, 2);
        after.syncs - before.syncs == 1
    });
    assert!(together);
}

#[test]
fn entries_are_read_back_from_memory_and_from_segments() {
    let running = kept(&SimulatedDisk::new(0));
    for seq in 1..=60 {
        fill(&running, A, seq..=seq, 500);
        fill(&running, B, seq..=seq, 100);
    }
    let log = &running.log;
    assert!(log.read_cached(A, Seq(60), 10_000).is_some() && log.read_cached(A, Seq(1), 10_000).is_none());
    for from in [1, 7, 31, 59, 60] {
        let entries = log.read(A, Seq(from), 3000).unwrap();
        assert_eq!(entries[0], entry(1, from, 500));
        assert!(entries.is_sorted_by(|a, b| a.id.seq.next() == b.id.seq));
        assert!(entries.len() <= 6 && (entries.len() >= 5 || from > 55), "{} from {from}", entries.len());
    }
    assert_eq!(log.read(A, Seq(30), 0).unwrap().len(), 1, "at least one");
    assert_eq!(log.read(A, Seq(61), 1000).unwrap(), []);
    assert!(log.read(A, Seq(0), 1000).is_err());
    assert_eq!(log.first_seq(A), Seq(1));
}

#[test]
fn cut_and_replaced_entries_are_not_read() {
    let disk = SimulatedDisk::new(0);
    let running = kept(&disk);
    fill(&running, A, 1..=20, 2000);
    running.log.truncate(A, Seq(15)).unwrap();
    let replaced: Vec<_> = (11..=40).map(|seq| entry(2, seq, 2000)).collect();
    assert!(running.durable(running.log.append(A, &replaced).unwrap()));
    let expect = |log: &Log| {
        let mut next = 1;
        while next <= 40 {
            for found in log.read(A, Seq(next), 5000).unwrap() {
                assert_eq!(found, entry(if next <= 10 { 1 } else { 2 }, next, 2000));
                next += 1;
            }
        }
    };
    expect(&running.log);
    running.log.close();
    expect(&Running::open(&disk.restart_machine()).unwrap().log);
}

#[test]
fn old_segments_go_when_the_table_has_them_and_nobody_asks_for_them() {
    let disk = SimulatedDisk::new(0);
    let running = started(&disk);
    let log = &running.log;
    log.retain_from(A, Some(Seq(5)));
    fill(&running, A, 1..=100, 1000);
    assert_eq!(log.first_seq(A), Seq(1), "asked for");
    log.retain_from(A, None);
    log.wake_keeper();
    while log.first_seq(A) == Seq(1) {
        std::thread::yield_now();
    }
    log.close();
    let first = log.first_seq(A);
    assert!(first < Seq(60), "at least {} bytes stay, but {first} is the first", options().retention_bytes);
    assert!(matches!(log.read(A, Seq(1), 10), Err(ReadError::Compacted { first: now, .. }) if now == first));
    assert_eq!(log.read(A, first, 10).unwrap(), [entry(1, first.0, 1000)]);
    let again = Running::open(&disk.restart_process()).unwrap();
    assert_eq!(again.log.first_seq(A), first);
    assert_eq!(again.log.history(A).unwrap().starts(), [EntryId::new(1, 1)], "the history reaches further");
}

#[test]
fn a_full_disk_is_told_and_what_was_accepted_is_written() {
    let disk = SimulatedDisk::new(0);
    let running = started(&disk);
    assert!(running.log.has_room());
    disk.set_full(true);
    let mut seq = 0;
    let mut accept = || {
        seq += 1;
        running.log.append(A, &[entry(1, seq, 1000)]).unwrap()
    };
    let full = |told: &Told| told.events.contains(&VolumeEvent::Full);
    while running.log.has_room() {
        let accepted = accept();
        // At the end of a segment it waits for the next one.
        running.wait(|told| told.durable >= accepted || full(told));
    }
    running.wait(full);
    let last = (0..5).map(|_| accept()).last().unwrap();
    disk.set_full(false);
    running.wait(|told| told.durable >= last && told.events.contains(&VolumeEvent::Room));
    assert!(running.log.has_room());
    fill(&running, A, seq + 1..=seq + 80, 1000);
}

#[test]
fn too_much_at_once_is_refused() {
    let disk = SimulatedDisk::new(0);
    let running = Running::open(&disk).unwrap();
    let mut seq = 0;
    let refused = loop {
        seq += 1;
        if let Err(refused) = running.log.append(A, &[entry(1, seq, 10_000)]) {
            break refused;
        }
    };
    assert!(matches!(refused, Refused::Busy { bound, .. } if bound == options().queue_bytes), "{refused}");
    running.start();
    let last = running.log.truncate(A, Seq(3)).unwrap();
    assert!(running.durable(last));
    fill(&running, A, 4..=4, 10);
}

#[test]
fn an_entry_longer_than_a_segment_has_one_of_its_own() {
    let disk = SimulatedDisk::new(0);
    let running = kept(&disk);
    fill(&running, A, 1..=3, 100_000);
    running.log.close();
    let again = Running::open(&disk.restart_machine()).unwrap();
    assert_eq!(again.log.read(A, Seq(1), 1 << 20).unwrap(), [1, 2, 3].map(|seq| entry(1, seq, 100_000)));
}

#[test]
fn a_flipped_bit_below_a_later_record_is_damage_for_all() {
    let disk = SimulatedDisk::new(0);
    let running = started(&disk);
    fill(&running, A, 1..=3, 100);
    fill(&running, B, 1..=3, 100);
    running.log.close();
    disk.flip(&segment::name(1), payload_at(&disk, 1, 2, 100), 3);
    assert_eq!(lost(&disk), [(A, true)], "what was not read of is not known");
}

#[test]
fn a_flipped_bit_in_the_last_record_is_damage_too() {
    let disk = SimulatedDisk::new(0);
    let running = started(&disk);
    fill(&running, A, 1..=3, 100);
    running.log.close();
    disk.flip(&segment::name(1), payload_at(&disk, 1, 3, 100), 3);
    assert_eq!(lost(&disk), [(A, true)]);
}

#[test]
fn damage_in_an_older_segment_is_that_of_the_shards_that_lost_something() {
    let disk = SimulatedDisk::new(0);
    let running = kept(&disk);
    fill(&running, B, 1..=3, 100);
    fill(&running, A, 1..=60, 1000);
    running.log.close();
    // Segment 1 holds the first of A behind all of B.
    disk.flip(&segment::name(1), payload_at(&disk, 1, 5, 1000), 0);
    assert_eq!(lost(&disk), [(A, true), (B, false)]);
}

#[test]
fn a_lost_segment_is_noticed() {
    use crate::disk::Disk as _;
    let disk = SimulatedDisk::new(0);
    let running = started(&disk);
    running.log.append(B, &[entry(1, 1, 10)]).unwrap();
    fill(&running, A, 1..=45, 1000);
    running.log.close();
    let replay = Replay::read(&disk, VOLUME).unwrap();
    let first = replay.replicas()[0].first_seq;
    disk.remove(&segment::name(2)).unwrap();
    let replay = Replay::read(&disk, VOLUME).unwrap();
    assert!(replay.replicas()[0].first_seq > first, "the log begins behind the gap, which the table does not reach");
}

#[test]
fn other_formats_and_volumes_are_named() {
    let disk = SimulatedDisk::new(0);
    fill(&started(&disk), A, 1..=1, 10);
    let other = kv_types::VolumeId(uuid::Uuid::from_u128(8));
    let error = Replay::read(&disk, other).err().unwrap();
    assert!(matches!(error, ReplayError::Foreign { found: VOLUME, .. }), "{error}");
}

#[test]
fn without_any_checkpoint_nothing_is_made_up() {
    let disk = SimulatedDisk::new(0);
    let running = started(&disk);
    fill(&running, A, 1..=2, 10);
    running.log.close();
    disk.flip(&segment::name(1), segment::BLOCK + 9, 0);
    assert!(matches!(Replay::read(&disk, VOLUME), Err(ReplayError::Unreadable)));
}

#[test]
fn state_and_history_survive_restarts_and_rolls() {
    let disk = SimulatedDisk::new(0);
    let running = started(&disk);
    let state = ReplicaState { promised: Epoch(9), incarnation: 4, void: true, ..ReplicaState::default() };
    running.log.put_state(B, state.clone()).unwrap();
    let history = EpochHistory::new(vec![EntryId::new(2, 1), EntryId::new(5, 40)], Seq(70)).unwrap();
    running.log.reset(B, EntryId::new(5, 70), &history).unwrap();
    fill(&running, A, 1..=100, 1000);
    running.log.close();
    let mut disk = disk;
    for _ in 0..3 {
        disk = disk.restart_machine();
        let running = Running::open(&disk).unwrap();
        assert_eq!(running.log.states()[1], (B, state.clone()));
        assert_eq!(running.log.history(B).unwrap(), history);
        assert_eq!(running.log.first_seq(B), Seq(71));
    }
}
