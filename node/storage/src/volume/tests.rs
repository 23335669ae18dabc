use std::{
    fs,
    path::Path,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use kv_types::{Entry, EntryId, Epoch, EpochHistory, Folder, KeyRange, NodeName, Seq, SessionId, ShardId};
use uuid::Uuid;

use super::{BindError, OpenError, Recovered, Volume, VolumeEvent, VolumeOptions, block_cache};
use crate::{Batch, Direction, ReplicaState, Space, Ticket, rows, table::DELETE_BATCH};

const SHARD: ShardId = ShardId(1);
const STUCK: Duration = Duration::from_secs(60);

fn options() -> VolumeOptions {
    VolumeOptions {
        segment_bytes: 64 << 10,
        log_retention: 64 << 10,
        memtable_bytes: 64 << 10,
        idle_flush: Duration::from_secs(3600),
        block_cache: block_cache(1 << 20),
        ..VolumeOptions::default()
    }
}

fn node() -> NodeName {
    NodeName::new("demo-0").unwrap()
}

fn open(path: &Path) -> Result<(Volume, Recovered), OpenError> {
    Volume::open(path, Folder::Data, &node(), options())
}

struct Started {
    volume: Volume,
    events: Receiver<VolumeEvent>,
}

fn start(path: &Path) -> (Started, Recovered) {
    let (volume, recovered) = open(path).unwrap();
    let (sender, events) = channel();
    volume.start(Box::new(move |event| drop(sender.send(event)))).unwrap();
    (Started { volume, events }, recovered)
}

impl Started {
    fn durable(&self, ticket: Ticket) {
        loop {
            match self.events.recv_timeout(STUCK).unwrap() {
                VolumeEvent::Durable(durable) if durable >= ticket => return,
                VolumeEvent::Fatal(why) | VolumeEvent::TableDamaged(why) => panic!("{why}"),
                _ => {}
            }
        }
    }

    /// Appends an entry, waits for it and applies it.
    fn put(&self, seq: u64) {
        self.durable(self.volume.append(SHARD, &[entry(seq)]).unwrap());
        let mut batch = Batch::default();
        let value = rows::ValueRow { value: entry(seq).payload, revision: seq, expires_at_millis: 0 };
        batch.put(rows::data_key(Space(1), &seq.to_be_bytes()), prost::Message::encode_to_vec(&value));
        batch.put(rows::applied_key(SHARD), rows::encode_applied(EntryId::new(1, seq), Space(1)));
        self.volume.table().write(batch).unwrap();
    }
}

fn entry(seq: u64) -> Entry {
    Entry { id: EntryId::new(1, seq), payload: vec![seq as u8; 1000].into() }
}

#[test]
fn a_killed_volume_comes_back_with_table_and_tail() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..4 {
        let (started, recovered) = start(folder.path());
        if round > 0 {
            let [replica] = &recovered.replicas[..] else { panic!("{recovered:?}") };
            assert_eq!((replica.history.last(), &replica.damage), (EntryId::new(1, last), &None));
            assert_eq!(replica.state.promised, Epoch(1));
            let applied = replica.applied.seq.0;
            assert!(applied > 0 && applied <= last);
            assert!(replica.tail.iter().map(|entry| entry.id.seq.0).eq(applied + 1..=last));
            assert!(replica.tail.iter().all(|found| *found == entry(found.id.seq.0)));
            // What the tail holds is applied again by the node.
            for again in applied + 1..=last {
                let mut batch = Batch::default();
                batch.put(rows::applied_key(SHARD), rows::encode_applied(EntryId::new(1, again), Space(1)));
                started.volume.table().write(batch).unwrap();
            }
        }
        let state = ReplicaState { promised: Epoch(1), space: Space(1), ..ReplicaState::default() };
        started.durable(started.volume.put_state(SHARD, state).unwrap());
        for _ in 0..150 {
            last += 1;
            started.put(last);
            if last == 100 {
                started.volume.table().flush().unwrap();
            }
        }
        // Dropped without `close`.
    }
    let (started, _) = start(folder.path());
    assert!(started.volume.first_seq(SHARD) > Seq(1), "old segments went");
    assert!(fs::read_dir(folder.path().join("log")).unwrap().count() < 12);
    started.put(last + 1);
    started.volume.close();
    let (_, recovered) = open(folder.path()).unwrap();
    assert!(recovered.replicas[0].tail.is_empty(), "after `close` all is in the table");
}

#[test]
fn a_damaged_table_makes_its_copies_void_and_keeps_their_promises() {
    let folder = tempfile::tempdir().unwrap();
    let (started, _) = start(folder.path());
    let state = ReplicaState { promised: Epoch(7), space: Space(1), ..ReplicaState::default() };
    started.volume.put_state(SHARD, state.clone()).unwrap();
    for seq in 1..50 {
        started.put(seq);
    }
    started.volume.close();
    fs::write(folder.path().join("table").join("current"), b"nonsense").unwrap();
    for restart in 0..3 {
        let (volume, recovered) = open(folder.path()).unwrap();
        let replica = &recovered.replicas[0];
        assert_eq!((replica.damage.is_some(), recovered.table_damage.is_some()), (restart == 0, restart == 0));
        assert_eq!(replica.state, ReplicaState { void: true, ..state.clone() }, "until it is put otherwise");
        assert_eq!(
            (replica.history.last(), replica.applied, &replica.tail[..]),
            (EntryId::ZERO, EntryId::ZERO, &[][..])
        );
        assert_eq!(volume.first_seq(SHARD), Seq(1));
    }
}

#[test]
fn a_damaged_log_makes_its_copies_void() {
    let folder = tempfile::tempdir().unwrap();
    let (started, _) = start(folder.path());
    for seq in 1..10 {
        started.put(seq);
    }
    started.volume.close();
    let segment = folder.path().join("log").join("0000000000000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    let payload = bytes.windows(1000).position(|window| window == entry(4).payload).unwrap();
    bytes[payload + 17] ^= 4;
    fs::write(&segment, bytes).unwrap();
    let (volume, recovered) = open(folder.path()).unwrap();
    let replica = &recovered.replicas[0];
    assert!(replica.damage.as_ref().is_some_and(|why| why.contains("segment 1 is damaged")), "{replica:?}");
    assert!(replica.state.void && recovered.table_damage.is_none());
    assert_eq!(volume.table().get(&rows::applied_key(SHARD)).unwrap(), None);
    drop(volume);
    assert_eq!(open(folder.path()).unwrap().1.replicas[0].damage, None, "found once, remembered in the state");
}

#[test]
fn a_torn_tail_is_cut_and_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let (started, _) = start(folder.path());
    for seq in 1..=3 {
        started.durable(started.volume.append(SHARD, &[entry(seq)]).unwrap());
    }
    started.volume.close();
    let segment = folder.path().join("log").join("0000000000000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    let payload = bytes.windows(1000).position(|window| window == entry(3).payload).unwrap();
    bytes[payload + 500..].fill(0);
    fs::write(&segment, bytes).unwrap();
    for restart in 0..2 {
        let (_, recovered) = open(folder.path()).unwrap();
        let replica = &recovered.replicas[0];
        assert_eq!(recovered.torn_tail.is_some(), restart == 0);
        assert_eq!((replica.history.last(), replica.state.torn), (EntryId::new(1, 2), true));
        assert_eq!(replica.tail, [entry(1), entry(2)]);
    }
}

#[test]
fn a_table_ahead_of_the_log_is_where_the_log_begins() {
    let folder = tempfile::tempdir().unwrap();
    let (started, _) = start(folder.path());
    started.put(1);
    let mut batch = Batch::default();
    batch.put(rows::applied_key(SHARD), rows::encode_applied(EntryId::new(3, 9), Space(1)));
    started.volume.table().write(batch).unwrap();
    started.volume.close();
    let (started, recovered) = start(folder.path());
    let replica = &recovered.replicas[0];
    assert_eq!((replica.history.last(), replica.applied), (EntryId::new(3, 9), EntryId::new(3, 9)));
    assert_eq!((replica.first_seq, &replica.damage, replica.state.void), (Seq(10), &None, false));
    started.durable(started.volume.append(SHARD, &[Entry { id: EntryId::new(3, 10), payload: "x".into() }]).unwrap());
}

#[test]
fn a_copy_that_has_started_over_is_empty_whatever_the_table_still_has_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (started, _) = start(folder.path());
    let of_space = |space| ReplicaState { promised: Epoch(3), space: Space(space), ..ReplicaState::default() };
    started.volume.put_state(SHARD, of_space(1)).unwrap();
    started.put(1);
    started.put(2);
    started.volume.table().flush().unwrap();
    let mut batch = Batch::default();
    batch.delete(rows::applied_key(SHARD));
    started.volume.table().write(batch).unwrap();
    started.volume.put_state(SHARD, of_space(2)).unwrap();
    let reset = started.volume.reset(SHARD, EntryId::ZERO, &EpochHistory::default()).unwrap();
    started.durable(reset);
    // Killed before the table has written that nothing is applied.
    drop(started);
    for _ in 0..2 {
        let (_, recovered) = open(folder.path()).unwrap();
        let replica = &recovered.replicas[0];
        assert_eq!((replica.history.last(), replica.applied, &replica.damage), (EntryId::ZERO, EntryId::ZERO, &None));
        assert_eq!(replica.state, of_space(2));
    }
}

#[test]
fn an_applied_row_of_the_first_versions_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (started, _) = start(folder.path());
    let state = ReplicaState { space: Space(1), ..ReplicaState::default() };
    started.volume.put_state(SHARD, state).unwrap();
    started.put(1);
    let mut batch = Batch::default();
    batch.put(rows::applied_key(SHARD), rows::encode_applied(EntryId::new(1, 1), Space(1)).slice(..16));
    started.volume.table().write(batch).unwrap();
    started.volume.close();
    assert_eq!(open(folder.path()).unwrap().1.replicas[0].applied, EntryId::new(1, 1));
}

/// What an older version has left of the sessions of `SHARD`: rows in space 0, and an applied row without a layout.
fn sessions_of_an_older_version(volume: &Volume, count: u64) {
    let mut batch = Batch::default();
    for seq in 1..=count {
        let session = SessionId { shard: SHARD, entry: EntryId::new(1, seq) };
        batch.put(rows::session_key(Space(0), SHARD, session), "");
        batch.put(rows::result_key(Space(0), SHARD, session, 7), seq.to_string());
    }
    batch.put(rows::applied_key(SHARD), rows::encode_applied(EntryId::new(1, 1), Space(1)).slice(..24));
    volume.table().write(batch).unwrap();
}

fn count(volume: &Volume, range: &KeyRange) -> usize {
    volume.table().scan(range, Direction::Forward).map(Result::unwrap).count()
}

#[test]
fn sessions_of_an_older_version_move_into_the_copys_space_once() {
    let folder = tempfile::tempdir().unwrap();
    let (started, _) = start(folder.path());
    let state = ReplicaState { space: Space(1), ..ReplicaState::default() };
    started.volume.put_state(SHARD, state.clone()).unwrap();
    started.put(1);
    sessions_of_an_older_version(&started.volume, 1500);
    started.volume.close();
    let (volume, recovered) = open(folder.path()).unwrap();
    assert_eq!(recovered.replicas[0].applied, EntryId::new(1, 1));
    let moved = rows::duplicate_table(Space(1), SHARD).map(|range| count(&volume, &range));
    assert_eq!((moved, count(&volume, &rows::old_duplicate_tables())), ([1500, 1500], 0));
    let session = SessionId { shard: SHARD, entry: EntryId::new(1, 42) };
    assert_eq!(volume.table().get(&rows::result_key(Space(1), SHARD, session, 7)).unwrap(), Some("42".into()));
    // What lies in space 0 after that is nobody's: it may be of a copy that had started over when the version changed.
    let mut batch = Batch::default();
    batch.put(rows::session_key(Space(0), SHARD, SessionId { entry: EntryId::new(9, 9), ..session }), "");
    volume.table().write(batch).unwrap();
    volume.close();
    let (volume, _) = open(folder.path()).unwrap();
    assert_eq!(count(&volume, &rows::session_range(Space(1), SHARD)), 1500);
}

#[test]
fn sessions_of_an_older_version_are_not_those_of_a_copy_that_has_started_over() {
    let folder = tempfile::tempdir().unwrap();
    let (started, _) = start(folder.path());
    let of_space = |space| ReplicaState { space: Space(space), ..ReplicaState::default() };
    started.volume.put_state(SHARD, of_space(1)).unwrap();
    started.put(1);
    sessions_of_an_older_version(&started.volume, 3);
    started.volume.table().flush().unwrap();
    started.volume.put_state(SHARD, of_space(2)).unwrap();
    started.durable(started.volume.reset(SHARD, EntryId::ZERO, &EpochHistory::default()).unwrap());
    drop(started);
    let (volume, recovered) = open(folder.path()).unwrap();
    assert_eq!(recovered.replicas[0].applied, EntryId::ZERO);
    let moved = rows::duplicate_table(Space(2), SHARD).map(|range| count(&volume, &range));
    assert_eq!(moved, [0, 0]);
}

#[test]
fn what_is_left_of_former_copies_is_deleted_in_bounded_steps() {
    let folder = tempfile::tempdir().unwrap();
    let (started, _) = start(folder.path());
    sessions_of_an_older_version(&started.volume, 3);
    let mut batch = Batch::default();
    for (space, rows) in [(1, 10), (2, 2500), (3, 1), (5, 1024), (8, 4), (9, 5)] {
        for row in 0_u64..rows {
            batch.put(rows::data_key(Space(space), &row.to_be_bytes()), "v");
            batch.put(rows::ttl_key(Space(space), 5, &row.to_be_bytes()), "");
        }
    }
    started.volume.table().write(batch).unwrap();
    let volume = &started.volume;
    let before = count(volume, &KeyRange::all());
    // Space 9 was given out meanwhile.
    let mut left_over = volume.left_over([1, 3].map(Space).into(), Space(8));
    let (mut left, mut steps) = (before, 0);
    while left_over.delete_some().unwrap() {
        let now = count(volume, &KeyRange::all());
        assert!(left - now <= DELETE_BATCH, "{} rows in one step", left - now);
        (left, steps) = (now, steps + 1);
    }
    assert!(steps >= 7, "{steps}");
    assert!(!left_over.delete_some().unwrap(), "it is over");
    let in_spaces = [0, 1, 2, 3, 5, 8, 9].map(|space| count(volume, &rows::space_range(Space(space))));
    assert_eq!(in_spaces, [1, 20, 0, 2, 0, 0, 10], "in space 0 what was applied");
}

#[test]
fn a_space_with_rows_of_a_dropped_copy_counts_as_used() {
    let folder = tempfile::tempdir().unwrap();
    let (started, _) = start(folder.path());
    let state = ReplicaState { space: Space(1), ..ReplicaState::default() };
    started.volume.put_state(SHARD, state).unwrap();
    started.put(1);
    started.durable(started.volume.forget(SHARD).unwrap());
    started.volume.close();
    let (_, recovered) = open(folder.path()).unwrap();
    assert_eq!((recovered.replicas.len(), recovered.last_space), (0, Space(1)));
}

#[test]
fn a_snapshot_that_was_not_completed_is_no_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (started, _) = start(folder.path());
    let history = EpochHistory::new(vec![EntryId::new(2, 1)], Seq(500)).unwrap();
    started.durable(started.volume.reset(SHARD, EntryId::new(2, 500), &history).unwrap());
    drop(started);
    let (_, recovered) = open(folder.path()).unwrap();
    let replica = &recovered.replicas[0];
    assert!(replica.damage.is_some() && replica.state.void && replica.history.last() == EntryId::ZERO, "{replica:?}");
}

#[test]
fn a_volume_of_another_kind_node_format_or_cluster_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let (volume, _) = open(&path).unwrap();
    let identity = volume.identity();
    assert_eq!((identity.folder, &identity.node, identity.cluster), (Folder::Data, &node(), None));
    let (ours, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    volume.bind_cluster(ours).unwrap();
    volume.bind_cluster(ours).unwrap();
    assert!(matches!(volume.bind_cluster(other), Err(BindError::OtherCluster { .. })));
    assert!(matches!(open(&path), Err(OpenError::InUse(_))));
    drop(volume);

    let reopened = open(&path).unwrap().0.identity();
    assert_eq!((reopened.volume, reopened.cluster), (identity.volume, Some(ours)));
    let swapped = Volume::open(&path, Folder::Bkpdata, &node(), options());
    assert!(matches!(swapped, Err(OpenError::OtherFolder { .. })));
    let other_node = Volume::open(&path, Folder::Data, &NodeName::new("demo-1").unwrap(), options());
    assert!(matches!(other_node, Err(OpenError::OtherNode { .. })));
    assert!(matches!(open(&path.join("lock")), Err(OpenError::NotADirectory(_))));
    assert!(matches!(open(&path.join("lock").join("x")), Err(OpenError::NotADirectory(_))));
    let too_small = VolumeOptions { segment_bytes: 1, ..options() };
    assert!(matches!(Volume::open(&path, Folder::Data, &node(), too_small), Err(OpenError::SegmentSize { .. })));

    let identity = path.join("identity.json");
    let text = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, text.replace("\"format_version\": 1", "\"format_version\": 9")).unwrap();
    let newer = open(&path).err().unwrap();
    assert!(newer.to_string().ends_with("has format 9, this version knows 1 at most: use a newer version"), "{newer}");
    fs::write(&identity, "{").unwrap();
    assert!(matches!(open(&path), Err(OpenError::Identity { .. })));
    fs::remove_file(&identity).unwrap();
    assert!(matches!(open(&path), Err(OpenError::NotAVolume(_))));
}

#[test]
fn a_lost_log_is_not_begun_anew_under_the_same_name() {
    let folder = tempfile::tempdir().unwrap();
    let (started, _) = start(folder.path());
    started.put(1);
    started.volume.close();
    fs::remove_dir_all(folder.path().join("log")).unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::LogLost { .. })));
}
