use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kv_client::{Client, description::ShardDescription};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

/// Pause between two requests of one loop: the resolution of a measured outage.
const PAUSE: Duration = Duration::from_millis(5);
/// Reads in flight when everything is checked at the end.
const CHECKS_IN_FLIGHT: usize = 128;

/// A writer and a reader for each shard, in the background, and what they were told.
///
/// Each write is of a new key. Each read is of a key whose write was acknowledged before: it must be there.
#[derive(Debug)]
pub struct Load {
    lanes: Vec<Arc<Lane>>,
    tasks: JoinSet<()>,
}

/// What became of all acknowledged writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Reads that were answered while the load ran.
    pub reads: usize,
    /// Requests that ended in an error. Those writes may or may not be there.
    pub errors: usize,
    /// Keys whose acknowledged write was not read, then or at the end.
    pub lost: Vec<String>,
}

/// The load on one shard.
#[derive(Debug)]
struct Lane {
    shard: u64,
    /// With it every key lies in the shard, as its range was at the start.
    prefix: Vec<u8>,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    /// Numbers of the writes that were acknowledged, in order.
    acknowledged: Vec<u64>,
    /// When they were.
    at: Vec<Instant>,
    reads: usize,
    errors: usize,
    lost: Vec<String>,
}

impl Load {
    /// Begins with all of `shards`.
    pub fn start(client: &Client, shards: &[ShardDescription]) -> Self {
        let lanes: Vec<_> = shards
            .iter()
            .filter_map(|shard| {
                let prefix = prefix_within(&shard.start, &shard.end)?;
                Some(Arc::new(Lane { shard: shard.shard, prefix, record: Mutex::default() }))
            })
            .collect();
        let mut tasks = JoinSet::new();
        for lane in &lanes {
            tasks.spawn(write(client.clone(), Arc::clone(lane)));
            tasks.spawn(read(client.clone(), Arc::clone(lane)));
        }
        Self { lanes, tasks }
    }

    /// How long nothing was acknowledged on each of `shards`, at the longest, between `from` and `to`.
    pub fn longest_silences(&self, shards: &[u64], from: Instant, to: Instant) -> Vec<Duration> {
        self.lanes
            .iter()
            .filter(|lane| shards.contains(&lane.shard))
            .map(|lane| longest_silence(&lane.record().at, from, to))
            .collect()
    }

    /// Whether each of `shards` has acknowledged a write since `from`.
    pub fn all_acknowledged_since(&self, shards: &[u64], from: Instant) -> bool {
        let mut lanes = self.lanes.iter().filter(|lane| shards.contains(&lane.shard));
        lanes.all(|lane| lane.record().at.last().is_some_and(|last| *last > from))
    }

    /// Ends it, and reads every key whose write was acknowledged.
    pub async fn finish(mut self, client: &Client) -> Verdict {
        self.tasks.shutdown().await;
        let permits = Arc::new(Semaphore::new(CHECKS_IN_FLIGHT));
        let mut checks = JoinSet::new();
        for lane in &self.lanes {
            let numbers = lane.record().acknowledged.clone();
            for number in numbers {
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
                let (client, lane) = (client.clone(), Arc::clone(lane));
                checks.spawn(async move {
                    lane.check(&client, number).await;
                    drop(permit);
                });
            }
        }
        while checks.join_next().await.is_some() {}
        self.lanes.iter().fold(Verdict::default(), |mut verdict, lane| {
            let record = lane.record();
            verdict.acknowledged += record.acknowledged.len();
            verdict.reads += record.reads;
            verdict.errors += record.errors;
            verdict.lost.extend(record.lost.iter().cloned());
            verdict
        })
    }
}

impl Lane {
    /// A panic of another task does not make the numbers wrong.
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, number: u64) -> Vec<u8> {
        [&self.prefix, format!("load-{number:08}").as_bytes()].concat()
    }

    fn value(number: u64) -> String {
        format!("value {number}")
    }

    /// Reads what was acknowledged. An error is no proof of loss, but at the end it is no proof of the contrary either.
    async fn check(&self, client: &Client, number: u64) {
        let found = client.get(self.key(number)).await;
        let shown = self.key(number).escape_ascii().to_string();
        let wrong = match found {
            Ok(Some(entry)) if entry.value == Self::value(number) => None,
            Ok(Some(entry)) => Some(format!("{shown} holds {}", entry.value.escape_ascii())),
            Ok(None) => Some(format!("{shown} does not exist")),
            Err(error) => Some(format!("{shown} can't be read: {error}")),
        };
        self.record().lost.extend(wrong);
    }
}

async fn write(client: Client, lane: Arc<Lane>) {
    for number in 0.. {
        match client.put((lane.key(number), Lane::value(number))).await {
            Ok(_) => {
                let mut record = lane.record();
                record.acknowledged.push(number);
                record.at.push(Instant::now());
            }
            Err(error) => {
                tracing::info!(shard = lane.shard, %error, "a write of the load failed");
                lane.record().errors += 1;
            }
        }
        sleep(PAUSE).await;
    }
}

async fn read(client: Client, lane: Arc<Lane>) {
    loop {
        sleep(PAUSE).await;
        let Some(number) = lane.record().acknowledged.last().copied() else { continue };
        match client.get(lane.key(number)).await {
            Ok(Some(entry)) if entry.value == Lane::value(number) => lane.record().reads += 1,
            Ok(_) => {
                let key = lane.key(number).escape_ascii().to_string();
                lane.record().lost.push(format!("{key} was not read right after its acknowledgement"));
            }
            Err(error) => {
                tracing::info!(shard = lane.shard, %error, "a read of the load failed");
                lane.record().errors += 1;
            }
        }
    }
}

fn longest_silence(at: &[Instant], from: Instant, to: Instant) -> Duration {
    let before = at.iter().rev().find(|at| **at <= from).copied().unwrap_or(from);
    let within = at.iter().copied().filter(|at| (from..to).contains(at));
    let mut last = before;
    let mut longest = Duration::ZERO;
    for at in within.chain([to]) {
        longest = longest.max(at.saturating_duration_since(last));
        last = at;
    }
    longest
}

/// A prefix of which every key lies in `[start, end)` (an empty `end`: no end). `None` only for a range that holds no
/// such prefix of up to two bytes more than its start.
pub fn prefix_within(start: &[u8], end: &[u8]) -> Option<Vec<u8>> {
    let fits = |prefix: &[u8]| {
        // No key that begins with the prefix reaches `end` if the prefix is below it and not a part of it.
        prefix >= start && (end.is_empty() || (prefix < end && !end.starts_with(prefix)))
    };
    // A printable byte first: keys of such a shard can be read in logs.
    let bytes = || (b'a'..=b'z').chain(0..=0xff);
    let one = bytes().map(|byte| vec![byte]);
    let more = bytes().map(|byte| [start, &[byte]].concat());
    let two = bytes().flat_map(|byte| bytes().map(move |next| [start, &[byte, next]].concat()));
    one.chain(more).chain(two).find(|prefix| fits(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_prefix_is_in_the_range() {
        let ranges: [(&[u8], &[u8]); 7] = [
            (b"", b""),
            (b"", b"\x15"),
            (b"\x15", b"\x2a"),
            (b"a", b"a1"),
            (b"user:", b"user;"),
            (b"\xff\xff", b""),
            (b"b", b"c"),
        ];
        for (start, end) in ranges {
            let prefix = prefix_within(start, end).expect("there is room");
            for rest in [&b""[..], b"\0", b"load-1", b"\xff\xff\xff\xff"] {
                let key = [&prefix, rest].concat();
                assert!(&key[..] >= start && (end.is_empty() || &key[..] < end), "{key:?} in {start:?} to {end:?}");
            }
        }
        assert_eq!(prefix_within(b"", b""), Some(b"a".to_vec()));
        assert_eq!(prefix_within(b"a", b"a\0"), None);
    }

    #[test]
    fn a_silence_is_measured_from_the_acknowledgement_before_it() {
        let zero = Instant::now();
        let at = |millis: u64| zero + Duration::from_millis(millis);
        let acknowledged: Vec<_> = [0, 10, 20, 520, 530].map(at).into();
        let silence = |from, to| longest_silence(&acknowledged, at(from), at(to)).as_millis();
        assert_eq!(silence(25, 600), 500);
        assert_eq!(silence(12, 19), 9);
        assert_eq!(silence(525, 2_000), 1_470);
        assert_eq!(longest_silence(&[], at(5), at(30)), Duration::from_millis(25));
    }
}
