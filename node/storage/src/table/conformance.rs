//! What every table must do, run on each implementation.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use kv_types::KeyRange;
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

use super::{Batch, DELETE_BATCH, Direction, MAX_ROW_KEY, Rows, Snapshot, Table, TableError};

type Model = BTreeMap<Bytes, Bytes>;

/// Runs all of it; each part gets a table of its own, made by `open`.
pub(super) fn run(open: impl Fn() -> Arc<dyn Table>) {
    batches_are_whole_and_the_last_change_counts(&*open());
    keys_that_are_none_are_refused(&*open());
    scans_are_bounded_and_ordered(&*open());
    snapshots_stay_as_they_were(&*open());
    rows_that_were_put_once_are_deleted(&*open());
    ranges_are_deleted(&*open());
    sizes_are_about_right(&*open());
    sizes_of_many_ranges_add_up(&*open());
    readers_see_whole_batches(&open());
    for seed in 0..8 {
        agrees_with_a_map(&*open(), seed);
    }
}

fn batch(changes: &[(&'static str, Option<&'static str>)]) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in changes {
        match value {
            Some(value) => batch.put(*key, *value),
            None => batch.delete(*key),
        }
    }
    batch
}

fn range(start: &'static str, end: &'static str) -> KeyRange {
    KeyRange { start: start.into(), end: (!end.is_empty()).then(|| end.into()) }
}

fn keys(rows: Rows) -> Vec<String> {
    rows.map(|row| String::from_utf8(row.unwrap().0.to_vec()).unwrap()).collect()
}

fn batches_are_whole_and_the_last_change_counts(table: &dyn Table) {
    table.write(batch(&[("a", Some("1")), ("b", Some("2")), ("a", Some("3")), ("b", None), ("e", Some(""))])).unwrap();
    assert_eq!(table.get(b"a").unwrap(), Some("3".into()));
    assert_eq!(table.get(b"b").unwrap(), None);
    assert_eq!(table.get(b"e").unwrap(), Some(Bytes::new()), "an empty value is a value");
    table.flush().unwrap();
    table.write(batch(&[("a", None), ("never", None)])).unwrap();
    assert_eq!(table.get(b"a").unwrap(), None, "a deletion hides what is on the disk");
    assert_eq!(keys(table.scan(&KeyRange::all(), Direction::Forward)), ["e"]);
    table.write(Batch::default()).unwrap();
    table.flush().unwrap();
    assert_eq!(keys(table.scan(&KeyRange::all(), Direction::Forward)), ["e"]);
}

fn keys_that_are_none_are_refused(table: &dyn Table) {
    for length in [0, MAX_ROW_KEY + 1] {
        let mut batch = batch(&[("a", Some("1"))]);
        batch.put(vec![1; length], "");
        assert!(matches!(table.write(batch), Err(TableError::Key { length: found }) if found == length));
    }
    assert_eq!(table.get(b"a").unwrap(), None, "nothing of the batch was written");
    let mut batch = Batch::default();
    batch.put(vec![1; MAX_ROW_KEY], "x");
    table.write(batch).unwrap();
    table.flush().unwrap();
    assert_eq!(table.get(&[1; MAX_ROW_KEY]).unwrap(), Some("x".into()));
}

fn scans_are_bounded_and_ordered(table: &dyn Table) {
    table.write(batch(&[("a", Some("")), ("c", Some("")), ("e", Some(""))])).unwrap();
    table.flush().unwrap();
    table.write(batch(&[("b", Some("")), ("c", None), ("d", Some("")), ("e", Some("2"))])).unwrap();
    for (range, expected) in [
        (KeyRange::all(), &["a", "b", "d", "e"][..]),
        (range("a", "d"), &["a", "b"]),
        (range("aa", "e"), &["b", "d"]),
        (range("b", "b"), &[]),
        (range("d", "b"), &[]),
        (range("e", ""), &["e"]),
        (range("f", ""), &[]),
        (range("", "a"), &[]),
    ] {
        assert_eq!(keys(table.scan(&range, Direction::Forward)), expected, "{range}");
        let reverse: Vec<_> = expected.iter().rev().copied().collect();
        assert_eq!(keys(table.scan(&range, Direction::Reverse)), reverse, "{range} in reverse");
    }
}

fn snapshots_stay_as_they_were(table: &dyn Table) {
    table.write(batch(&[("a", Some("1")), ("b", Some("1"))])).unwrap();
    let first = table.snapshot();
    table.write(batch(&[("a", Some("2")), ("b", None), ("c", Some("2"))])).unwrap();
    let second = table.snapshot();
    let under_way = table.scan(&KeyRange::all(), Direction::Forward);
    table.flush().unwrap();
    table.write(batch(&[("a", None), ("b", Some("3")), ("c", None)])).unwrap();
    table.flush().unwrap();
    let of = |snapshot: &dyn Snapshot| ["a", "b", "c"].map(|key| snapshot.get(key.as_bytes()).unwrap());
    assert_eq!(of(&*first), [Some("1".into()), Some("1".into()), None]);
    assert_eq!(of(&*second), [Some("2".into()), None, Some("2".into())]);
    assert_eq!(keys(first.scan(&KeyRange::all(), Direction::Reverse)), ["b", "a"]);
    assert_eq!(keys(second.scan(&KeyRange::all(), Direction::Forward)), ["a", "c"]);
    drop(second);
    assert_eq!(keys(under_way), ["a", "c"]);
    assert_eq!(keys(table.scan(&KeyRange::all(), Direction::Forward)), ["b"]);
}

fn rows_that_were_put_once_are_deleted(table: &dyn Table) {
    let delete = |key: &'static str| {
        let mut batch = Batch::default();
        batch.delete_only(key);
        table.write(batch).unwrap();
    };
    table.write(batch(&[("a", Some("1")), ("b", Some("1"))])).unwrap();
    table.flush().unwrap();
    table.write(batch(&[("c", Some("1"))])).unwrap();
    let before = table.snapshot();
    delete("a");
    delete("c");
    table.write(batch(&[("c", Some("2"))])).unwrap();
    delete("c");
    assert_eq!(keys(table.scan(&KeyRange::all(), Direction::Forward)), ["b"], "on the disk and in memory");
    table.flush().unwrap();
    table.write(batch(&[("b", None), ("b", Some("2"))])).unwrap();
    delete("b");
    assert_eq!(table.get(b"b").unwrap(), None, "an older row is still hidden");
    assert_eq!(keys(before.scan(&KeyRange::all(), Direction::Forward)), ["a", "b", "c"], "a snapshot has them all");
}

fn ranges_are_deleted(table: &dyn Table) {
    let rows = 3 * DELETE_BATCH as u64 + 7;
    let mut all = Batch::with_capacity(rows as usize);
    for row in 0..rows {
        all.put(row.to_be_bytes().to_vec(), "x");
    }
    table.write(all).unwrap();
    table.flush().unwrap();
    let range =
        KeyRange { start: 5_u64.to_be_bytes().to_vec().into(), end: Some((rows - 5).to_be_bytes().to_vec().into()) };
    assert_eq!(table.delete_range(&range).unwrap(), rows - 10);
    assert_eq!(table.scan(&KeyRange::all(), Direction::Forward).count(), 10);
    assert_eq!(table.delete_range(&KeyRange::all()).unwrap(), 10);
    assert_eq!(table.scan(&KeyRange::all(), Direction::Forward).count(), 0);
}

fn sizes_are_about_right(table: &dyn Table) {
    assert_eq!(table.approximate_size(&KeyRange::all()), 0);
    for prefix in ["a", "b"] {
        let mut rows = Batch::default();
        for row in 0..500 {
            rows.put(format!("{prefix}{row}"), vec![7; 1000]);
        }
        table.write(rows).unwrap();
        table.flush().unwrap();
    }
    for range in [range("a", "b"), range("b", "")] {
        let size = table.approximate_size(&range);
        assert!((250_000..=1_000_000).contains(&size), "{size} of {range}");
    }
    assert_eq!(table.approximate_size(&range("c", "")), 0);
}

/// Shards in one volume: 40 of 50 KB, of which every second is in memory at first, and one of 5 rows in their midst.
fn sizes_of_many_ranges_add_up(table: &dyn Table) {
    const RANGES: u32 = 40;
    const BYTES: u64 = 50_000;
    let name = |range: u32| Bytes::from(format!("{range:03}"));
    let fill = |range: u32| {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(range.into());
        let mut rows = Batch::default();
        for row in 0..BYTES / 100 {
            // What can't be compressed.
            rows.put(format!("{range:03}-{row:05}"), (0..91).map(|_| random.random()).collect::<Vec<u8>>());
        }
        table.write(rows).unwrap();
    };
    (0..RANGES).step_by(2).for_each(fill);
    let mut tiny = Batch::default();
    for row in 0..5 {
        tiny.put(format!("020~{row}"), "tiny");
    }
    table.write(tiny).unwrap();
    table.flush().unwrap();
    (1..RANGES).step_by(2).for_each(fill);
    for step in ["half in memory", "all written"] {
        let sizes: Vec<_> = (0..RANGES)
            .map(|range| table.approximate_size(&KeyRange { start: name(range), end: Some(name(range + 1)) }))
            .collect();
        for size in &sizes {
            assert!((BYTES / 2..=BYTES * 2).contains(size), "{step}: {size} instead of {BYTES}: {sizes:?}");
        }
        let (sum, whole) = (sizes.iter().sum::<u64>(), table.approximate_size(&KeyRange::all()));
        assert!((whole / 2..=whole * 2).contains(&sum), "{step}: {sum} in all, {whole} the whole");
        let size = table.approximate_size(&range("020~", "021"));
        assert!(size < BYTES / 4, "{step}: five rows count as {size}");
        table.flush().unwrap();
    }
}

fn readers_see_whole_batches(table: &Arc<dyn Table>) {
    let write = |value: u64| {
        let mut rows = Batch::default();
        for row in 0..400_u64 {
            rows.put(row.to_be_bytes().to_vec(), value.to_be_bytes().to_vec());
        }
        table.write(rows).unwrap();
    };
    write(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = Bytes::new();
            while last.last() != Some(&100) {
                let direction =
                    if last.last().is_some_and(|last| last % 2 == 0) { Direction::Forward } else { Direction::Reverse };
                let rows: Vec<_> = table.scan(&KeyRange::all(), direction).map(|row| row.unwrap().1).collect();
                assert_eq!(rows.len(), 400);
                assert!(rows.iter().all(|value| *value == rows[0]), "a torn batch");
                assert!(rows[0] >= last, "it went back");
                last = rows[0].clone();
            }
        });
        for value in 1..=100 {
            write(value);
            if value % 10 == 0 {
                table.flush().unwrap();
            }
        }
        reader.join().unwrap();
    });
}

fn agrees_with_a_map(table: &dyn Table, seed: u64) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut model = Model::new();
    // How often a row was put since it was last deleted.
    let mut puts: BTreeMap<Bytes, usize> = BTreeMap::new();
    let mut snapshots: Vec<(Model, Box<dyn Snapshot>)> = Vec::new();
    let key = |random: &mut Xoshiro256PlusPlus| Bytes::from(format!("{:03}", random.random_range(0..200_u32)));
    for step in 0..100 {
        match random.random_range(0..10) {
            0 => table.flush().unwrap(),
            1 => snapshots.push((model.clone(), table.snapshot())),
            2 if !snapshots.is_empty() => {
                snapshots.swap_remove(random.random_range(0..snapshots.len()));
            }
            3 => {
                let from = key(&mut random);
                let deleted = KeyRange { start: from.clone(), end: Some(Bytes::from([&from[..], b"5"].concat())) };
                table.delete_range(&deleted).unwrap();
                model.retain(|key, _| !deleted.contains(key));
                puts.retain(|key, _| !deleted.contains(key));
            }
            _ => {
                let mut changes = Batch::default();
                for _ in 0..random.random_range(1..30) {
                    let key = key(&mut random);
                    if random.random_range(0..3) == 0 {
                        model.remove(&key);
                        match puts.remove(&key) {
                            Some(1) => changes.delete_only(key),
                            _ => changes.delete(key),
                        }
                    } else {
                        let value = Bytes::from(vec![step; random.random_range(0..300)]);
                        model.insert(key.clone(), value.clone());
                        *puts.entry(key.clone()).or_default() += 1;
                        changes.put(key, value);
                    }
                }
                table.write(changes).unwrap();
            }
        }
        let (a, b) = (key(&mut random), key(&mut random));
        let range = KeyRange { start: a.clone(), end: random.random::<bool>().then_some(b) };
        let now = table.snapshot();
        let mut all: Vec<(&Model, &dyn Snapshot)> = snapshots.iter().map(|(model, open)| (model, &**open)).collect();
        all.push((&model, &*now));
        for (model, snapshot) in all {
            assert_eq!(snapshot.get(&a).unwrap().as_ref(), model.get(&a), "seed {seed}, step {step}");
            let expected: Vec<_> = model.iter().filter(|(key, _)| range.contains(key)).collect();
            let found: Vec<_> = snapshot.scan(&range, Direction::Forward).map(Result::unwrap).collect();
            assert!(
                found.iter().map(|(key, value)| (key, value)).eq(expected.iter().copied()),
                "seed {seed}, step {step}"
            );
            let found: Vec<_> = snapshot.scan(&range, Direction::Reverse).map(Result::unwrap).collect();
            assert!(
                found.iter().map(|(key, value)| (key, value)).eq(expected.into_iter().rev()),
                "seed {seed}, step {step}"
            );
        }
    }
}
