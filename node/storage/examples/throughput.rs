//! How fast a volume is: small entries through the log with 1, 64 and 256 waiting, and puts into the table.
//! Prints figures; `cargo run --release -p kv-storage --example throughput [FOLDER]`.

use std::{
    error::Error,
    path::PathBuf,
    sync::mpsc::channel,
    time::{Duration, Instant},
};

use kv_storage::{Batch, Pressure, Space, Volume, VolumeEvent, VolumeOptions, rows};
use kv_types::{Entry, EntryId, Folder, NodeName, ShardId};

const FOR: Duration = Duration::from_secs(3);
const SHARD: ShardId = ShardId(1);

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("kv-throughput"), PathBuf::from);
    let (volume, _) = Volume::open(&folder, Folder::Data, &NodeName::new("bench")?, VolumeOptions::default())?;
    let (sender, events) = channel();
    volume.start(Box::new(move |event| {
        if let VolumeEvent::Durable(ticket) = event {
            let _ = sender.send(ticket);
        }
    }))?;
    let mut seq = volume.history(SHARD).map_or(0, |history| history.last().seq.0);
    for waiting in [1, 64, 256, 4096] {
        let (begun, first, before) = (Instant::now(), seq, volume.stats().log);
        let mut in_flight = std::collections::VecDeque::new();
        while begun.elapsed() < FOR {
            while in_flight.len() < waiting {
                seq += 1;
                let entry = Entry { id: EntryId::new(1, seq), payload: vec![7; 130].into() };
                in_flight.push_back(volume.append(SHARD, &[entry])?);
            }
            let durable = events.recv()?;
            while in_flight.front().is_some_and(|ticket| *ticket <= durable) {
                in_flight.pop_front();
            }
        }
        while in_flight.back().is_some_and(|last| events.recv().is_ok_and(|durable| durable < *last)) {}
        let stats = volume.stats().log;
        let syncs = stats.syncs - before.syncs;
        let mean = (stats.sync_time - before.sync_time) / u32::try_from(syncs.max(1))?;
        let rate = (seq - first) as f64 / begun.elapsed().as_secs_f64();
        println!("log, {waiting} waiting: {rate:.0} entries/s in {syncs} syncs of {mean:?}");
    }
    for rows_per_batch in [1, 64] {
        let (begun, mut puts, mut stops) = (Instant::now(), 0_u64, 0);
        while begun.elapsed() < FOR {
            let mut batch = Batch::with_capacity(rows_per_batch + 1);
            for _ in 0..rows_per_batch {
                puts += 1;
                let key = puts.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
                batch.put(rows::data_key(Space(1), &key), vec![7; 100]);
            }
            batch.put(rows::applied_key(SHARD), rows::encode_applied(EntryId::new(1, puts), Space(1)));
            if volume.table().write(batch)? == Pressure::Stop {
                stops += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let each = begun.elapsed().as_secs_f64() * 1e6 / puts as f64;
        println!("table, batches of {rows_per_batch}: {each:.2} µs/put, {stops} stops, {:?}", volume.stats().table);
    }
    volume.close();
    Ok(())
}
