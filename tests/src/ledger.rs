//! Writes of which each is remembered: whether all are there in the end, and how long clients had to wait for the next
//! one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use kv_checker::lost;
use kv_client::{
    Client, Scan,
    description::{ClusterDescription, ShardDescription},
};
use tokio::{task::JoinSet, time::sleep};

use crate::wait;

/// Pause of a writer between two writes: the resolution of a measured outage.
const PAUSE: Duration = Duration::from_millis(3);

/// A writer for each shard, in the background, every write to a new key, and what it was told.
#[derive(Debug)]
pub struct Ledger {
    lanes: Vec<Arc<Lane>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

/// What a ledger came to.
#[derive(Clone, Debug, Default)]
pub struct Balance {
    /// Values of acknowledged writes, by key.
    pub acknowledged: BTreeMap<Bytes, Bytes>,
    /// Errors that writers were told.
    pub errors: Vec<String>,
}

#[derive(Debug)]
struct Lane {
    shard: u64,
    prefix: Vec<u8>,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    acknowledged: Vec<Acknowledged>,
    errors: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    number: u64,
    asked: Instant,
    answered: Instant,
}

impl Ledger {
    /// Begins with all shards of a description.
    #[must_use]
    pub fn start(client: &Client, description: &ClusterDescription) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let lanes = description.shards.iter().filter_map(|shard| {
            let prefix = key_in(shard, "ledger-")?;
            Some(Arc::new(Lane { shard: shard.shard, prefix, record: Mutex::default() }))
        });
        let lanes: Vec<_> = lanes.collect();
        for lane in &lanes {
            tasks.spawn(write(client.clone(), Arc::clone(lane), Arc::clone(&stop)));
        }
        Self { lanes, stop, tasks }
    }

    /// Waits until each of `shards` has acknowledged a write that was asked for after `since`, and returns how long after
    /// `since` the first such acknowledgement came, for each shard.
    ///
    /// # Panics
    /// After `within`.
    pub async fn until_acknowledged(&self, shards: &[u64], since: Instant, within: Duration) -> Vec<Duration> {
        let mut waits = Vec::new();
        wait::until("every shard acknowledges writes", within, async || {
            waits.clear();
            for lane in self.lanes.iter().filter(|lane| shards.contains(&lane.shard)) {
                let record = lane.record();
                let later = record.acknowledged.iter().rev().take_while(|write| write.asked >= since).last();
                let Some(first) = later else {
                    return Err(format!("shard {} does not; errors: {:?}", lane.shard, record.errors.last()));
                };
                waits.push(first.answered - since);
            }
            Ok(())
        })
        .await;
        waits
    }

    /// How long nothing was acknowledged on each of `shards`, at the longest, between `from` and `to`.
    #[must_use]
    pub fn longest_silences(&self, shards: &[u64], from: Instant, to: Instant) -> Vec<Duration> {
        let lanes = self.lanes.iter().filter(|lane| shards.contains(&lane.shard));
        lanes
            .map(|lane| {
                let record = lane.record();
                let before = record.acknowledged.iter().rev().find(|write| write.answered <= from);
                let mut last = before.map_or(from, |write| write.answered);
                let mut longest = Duration::ZERO;
                let within = record.acknowledged.iter().map(|write| write.answered);
                for at in within.filter(|at| (from..to).contains(at)).chain([to]) {
                    longest = longest.max(at.saturating_duration_since(last));
                    last = at;
                }
                longest
            })
            .collect()
    }

    /// Numbers of the shards.
    #[must_use]
    pub fn shards(&self) -> Vec<u64> {
        self.lanes.iter().map(|lane| lane.shard).collect()
    }

    /// Ends it, and reads everything back.
    ///
    /// # Panics
    /// If an acknowledged write is not there.
    pub async fn finish(mut self, client: &Client) -> Balance {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no writer panics");
        }
        let mut balance = Balance::default();
        for lane in &self.lanes {
            let record = lane.record();
            balance.acknowledged.extend(record.acknowledged.iter().map(|write| lane.entry(write.number)));
            balance.errors.extend(record.errors.iter().cloned());
        }
        assert_all_there(client, &balance.acknowledged).await;
        let (acknowledged, errors) = (balance.acknowledged.len(), balance.errors.len());
        eprintln!("ledger: {acknowledged} writes acknowledged and there, {errors} errors");
        balance
    }
}

impl Lane {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, number: u64) -> (Bytes, Bytes) {
        let key = [&self.prefix, format!("{number:08}").as_bytes()].concat();
        (key.into(), format!("{} of shard {}", number, self.shard).into())
    }
}

/// A key of a shard that ends in `name`; `None` if the shard's range leaves no room for it.
#[must_use]
pub fn key_in(shard: &ShardDescription, name: &str) -> Option<Vec<u8>> {
    // With a zero in between it also lies below the end of a shard that ends early, as the first one does.
    let keys = [&[][..], &[0]].map(|between| [&shard.start, between, name.as_bytes()].concat());
    keys.into_iter().find(|key| shard.end.is_empty() || key[..] < shard.end[..])
}

/// That the keys hold what was written.
///
/// # Panics
/// If one does not.
pub async fn assert_all_there(client: &Client, written: &BTreeMap<Bytes, Bytes>) {
    let (Some((first, _)), Some((last, _))) = (written.first_key_value(), written.last_key_value()) else {
        panic!("nothing was written");
    };
    let end = [last.as_ref(), &[0]].concat();
    let mut found = BTreeMap::new();
    let mut pages = client.scan(Scan::range(first.clone(), end));
    while let Some(page) = pages.next_page().await.expect("everything can be read") {
        found.extend(page.entries.into_iter().map(|entry| (entry.key, entry.value)));
    }
    let lost = lost(written, &found);
    let named: Vec<_> = lost.iter().take(10).map(|key| key.escape_ascii().to_string()).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged writes are lost: {named:?}", lost.len(), written.len());
}

async fn write(client: Client, lane: Arc<Lane>, stop: Arc<AtomicBool>) {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let asked = Instant::now();
        match client.put(lane.entry(number)).await {
            Ok(_) => lane.record().acknowledged.push(Acknowledged { number, asked, answered: Instant::now() }),
            Err(error) => lane.record().errors.push(format!("shard {}: {error}", lane.shard)),
        }
        sleep(PAUSE).await;
    }
}
