use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kv_types::KeyRange;
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

use super::{
    Batch, Direction, LsmOptions, LsmTable, MemoryTable, Pressure, Table, TableError, TableEvent, conformance,
    levels::FLUSHED,
};
use crate::lock;

fn options(memtable_bytes: u64) -> LsmOptions {
    LsmOptions { memtable_bytes, idle_flush: Duration::from_secs(3600), block_cache: crate::block_cache(1 << 20) }
}

fn open(folder: &Path, memtable_bytes: u64) -> Result<LsmTable, TableError> {
    LsmTable::open(folder, options(memtable_bytes), Box::new(|_| {}))
}

fn row(number: u64) -> (Vec<u8>, Vec<u8>) {
    (number.to_be_bytes().to_vec(), vec![number as u8; 100])
}

#[test]
fn the_memory_table_conforms() {
    conformance::run(|| Arc::new(MemoryTable::default()));
}

#[test]
fn the_lsm_table_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let number = Mutex::new(0);
    for memtable_bytes in [4 << 10, 16 << 20] {
        conformance::run(|| {
            *lock(&number) += 1;
            let path = folder.path().join(lock(&number).to_string());
            Arc::new(open(&path, memtable_bytes).unwrap())
        });
    }
}

#[test]
fn a_killed_table_holds_a_prefix_of_the_batches() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table");
    let mut written = 0;
    for round in 0..8 {
        let table = open(&path, 32 << 10).unwrap();
        let held = table.get(b"applied").unwrap().map_or(0, |value| u64::from_be_bytes((*value).try_into().unwrap()));
        assert!(held <= written && (round == 0 || held > 0), "{held} of {written}");
        let rows = table
            .scan(&KeyRange { start: 0_u64.to_be_bytes().to_vec().into(), end: Some("a".into()) }, Direction::Forward);
        let rows: Vec<_> = rows.map(Result::unwrap).collect();
        assert_eq!(rows.len() as u64, held, "all up to the applied one and none above");
        written = held;
        for _ in 0..2000 {
            let (key, value) = row(written);
            written += 1;
            let mut batch = Batch::default();
            batch.put(key, value);
            batch.put("applied", written.to_be_bytes().to_vec());
            table.write(batch).unwrap();
            if written % 1500 == 0 {
                table.flush().unwrap();
            }
        }
        let persisted = table.get_persisted(b"applied").unwrap();
        assert!(persisted.is_none_or(|value| u64::from_be_bytes((*value).try_into().unwrap()) <= written));
        // Dropped without `close`: what is in memory is lost.
    }
}

#[test]
fn close_and_idleness_flush_everything() {
    let folder = tempfile::tempdir().unwrap();
    let idle = LsmOptions { idle_flush: Duration::from_millis(1), ..options(1 << 20) };
    let (sender, receiver) = std::sync::mpsc::channel();
    let events = move |event| drop(sender.send(event));
    let table = LsmTable::open(folder.path(), idle, Box::new(events)).unwrap();
    let mut batch = Batch::default();
    batch.put("a", "1");
    table.write(batch).unwrap();
    assert_eq!(receiver.recv_timeout(Duration::from_secs(60)), Ok(TableEvent::Persisted));
    assert_eq!(table.stats().memory_bytes, 0);
    drop(table);
    let table = open(folder.path(), 1 << 20).unwrap();
    let mut batch = Batch::default();
    batch.put("b", "2");
    table.write(batch).unwrap();
    table.close();
    drop(table);
    let table = open(folder.path(), 1 << 20).unwrap();
    assert_eq!(["a", "b"].map(|key| table.get(key.as_bytes()).unwrap()), [Some("1".into()), Some("2".into())]);
}

/// A closed table of 5000 rows in several files.
fn filled(path: &Path) {
    let table = open(path, 64 << 10).unwrap();
    for number in 0..5000 {
        let (key, value) = row(number);
        let mut batch = Batch::default();
        batch.put(key, value);
        table.write(batch).unwrap();
    }
    table.close();
}

fn largest_file(folder: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap()
}

#[test]
fn a_flipped_byte_is_found_when_it_is_read_and_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table");
    filled(&path);
    let file = largest_file(&path.join("tables"));
    let mut bytes = fs::read(&file).unwrap();
    bytes[5000] ^= 1;
    fs::write(&file, bytes).unwrap();

    let told = Arc::new(Mutex::new(Vec::new()));
    let events = told.clone();
    let table = LsmTable::open(&path, options(1 << 20), Box::new(move |event| lock(&events).push(event))).unwrap();
    let found = table.scan(&KeyRange::all(), Direction::Forward).find_map(Result::err);
    assert!(matches!(found, Some(TableError::Corrupt(_))), "{found:?}");
    assert!(matches!(lock(&told)[..], [TableEvent::Corrupt(_)]));
    assert!(matches!(table.write(Batch::default()), Err(TableError::Stopped(_))));
    assert!(matches!(table.flush(), Ok(()) | Err(TableError::Stopped(_))));
    drop(table);
    assert!(matches!(open(&path, 1 << 20), Err(TableError::Corrupt(_))), "the next start knows");
    super::remove(&path).unwrap();
    assert_eq!(open(&path, 1 << 20).unwrap().scan(&KeyRange::all(), Direction::Forward).count(), 0);
}

fn current_manifest(folder: &Path) -> std::path::PathBuf {
    let names = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let versions = names.filter_map(|name| name.strip_prefix('v')?.parse::<u64>().ok());
    folder.join(format!("v{}", versions.max().unwrap()))
}

fn flip_middle(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_damaged_manifest_and_a_missing_file_fail_the_open() {
    let folder = tempfile::tempdir().unwrap();
    for damage in ["manifest", "current", "table"] {
        let path = folder.path().join(damage);
        filled(&path);
        match damage {
            "table" => fs::remove_file(largest_file(&path.join("tables"))).unwrap(),
            "manifest" => flip_middle(&current_manifest(&path)),
            name => flip_middle(&path.join(name)),
        }
        let opened = open(&path, 1 << 20).map(|_| ());
        assert!(matches!(opened, Err(TableError::Corrupt(_))), "{damage}: {opened:?}");
    }
}

#[test]
fn it_merges_and_keeps_up_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path(), 64 << 10).unwrap();
    let held = table.snapshot();
    let mut worst = Pressure::None;
    for number in 0..40_000_u64 {
        let (key, value) = row(number % 3000);
        let mut batch = Batch::default();
        batch.put(key, value);
        let pressure = table.write(batch).unwrap();
        worst = worst.max(pressure);
        if pressure == Pressure::Stop {
            table.flush().unwrap();
            while table.pressure() == Pressure::Stop {
                std::thread::yield_now();
            }
        }
    }
    table.flush().unwrap();
    let stats = table.stats();
    assert!(stats.compactions > 0 && stats.flushes > 10, "{stats:?}");
    assert_eq!(table.scan(&KeyRange::all(), Direction::Forward).count(), 3000);
    assert_eq!(held.scan(&KeyRange::all(), Direction::Forward).count(), 0, "an old snapshot is still as it was");
    println!("worst pressure {worst:?}, {stats:?}");
}

/// Bytes of the sorted tables that are there, whether they are in use, being written or about to be deleted.
fn on_disk(folder: &Path) -> u64 {
    let files = fs::read_dir(folder.join("tables")).unwrap().map(Result::unwrap);
    // One may be deleted in between.
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[test]
fn outdated_rows_take_less_room_than_live_ones() {
    const ROWS: u64 = 40_000;
    const WITHIN: Duration = Duration::from_secs(60);
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path(), 32 << 10).unwrap();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let (mut live, mut most) = (0, 0);
    for number in 0..8 * ROWS {
        if number == ROWS {
            table.flush().unwrap();
            live = table.stats().disk_bytes;
        }
        let (key, value) = row(if number < ROWS { number } else { random.random_range(0..ROWS) });
        let mut batch = Batch::default();
        batch.put(key, value);
        table.write(batch).unwrap();
        if number % 200 == 199 {
            // How far merging lags behind is another matter.
            let begun = Instant::now();
            while table.stats().frozen > 0 || table.stats().runs >= u64::from(FLUSHED) {
                assert!(begun.elapsed() < WITHIN, "it does not come to rest: {:?}", table.stats());
                std::thread::sleep(Duration::from_micros(100));
            }
            most = most.max(on_disk(folder.path()));
        }
    }
    let ratio = most as f64 / live as f64;
    println!("{ratio:.2} of {live} bytes, {:?}", table.stats());
    assert!(ratio < 2.0, "{ratio:.2} of {live} bytes, {:?}", table.stats());
}
