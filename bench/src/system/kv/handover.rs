//! Planned handovers under load, as clients see them.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use kv_client::{Client, Error as ClientError, Handover, description::ShardDescription, keys::spread};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tokio::{task::JoinSet, time::sleep};

use super::{Kv, holds, is_home};
use crate::{
    error::{Error, Result},
    load::{self, PAUSE_AFTER_ERROR},
    report::Handovers,
    system::{WHOLE_WITHIN, until},
    workload::SMALL_KEYS,
};

const VALUE_BYTES: usize = 100;
/// Of one handover, until it is not refused for another change of the same shard.
const HANDOVER_WITHIN: Duration = Duration::from_secs(60);
/// Before and after a handover, so that requests that it holds up are among those that are looked at.
const AROUND: Duration = Duration::from_millis(100);
/// Numbers that are tried for one whose key lies in a shard: a shard of a thousandth of all keys is missed once in 10^43.
const TRIED_NUMBERS: u64 = 100_000;

/// Hands over one shard after the other to another copy in sync, while writes go on to all shards. The home takes each back
/// by itself, which is a handover too: it is waited for, and its failures count.
pub(super) async fn measure(kv: &Kv, handovers: usize, in_flight: usize) -> Result<Handovers> {
    let load = Writes::start(&kv.client, in_flight);
    let mut found = Handovers { in_flight, ..Handovers::default() };
    let mut turn = 0;
    while found.client_millis.len() < handovers {
        let shard = next(kv, turn).await?;
        turn += 1;
        let (seen, told) = one(kv, &shard, &mut found).await?;
        eprintln!("kv-bench: handover {turn}: {:.1} ms, {:.1} ms as the nodes say", millis(seen), millis(told));
        found.client_millis.push(millis(seen));
        found.node_millis.push(millis(told));
    }
    kv.wait_shards(WHOLE_WITHIN).await?;
    let (requests, failed, last_error) = load.finish().await?;
    found.requests += requests;
    found.failed += failed;
    found.last_error = found.last_error.take().or(last_error);
    Ok(found)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The shard of that turn, at home and with a copy to hand it over to.
async fn next(kv: &Kv, turn: usize) -> Result<ShardDescription> {
    until("no shard can be handed over", WHOLE_WITHIN, async || {
        let shards = kv.shards().await?;
        let shard = shards.get(turn % shards.len().max(1)).ok_or("there are no shards")?;
        if is_home(shard) { Ok(shard.clone()) } else { Err(format!("shard {} is not at home", shard.shard)) }
    })
    .await
}

/// The longest that a write to the shard took around its handover, and the pause as its nodes measured it.
async fn one(kv: &Kv, shard: &ShardDescription, found: &mut Handovers) -> Result<(Duration, Duration)> {
    let backup = shard.replicas.iter().find(|copy| copy.in_sync && copy.node != shard.primary);
    let target = backup.map(|copy| copy.node.clone());
    let target = target.ok_or_else(|| Error::request(format!("shard {} has one copy only", shard.shard)))?;
    let key = (0..TRIED_NUMBERS).map(spread).find(|key| holds(shard, key));
    let key = key.ok_or_else(|| Error::request(format!("shard {} is too narrow to find a key in", shard.shard)))?;
    let probe = Probe::start(&kv.client, key);
    sleep(AROUND).await;
    let handover: Handover = until("a shard can't be handed over", HANDOVER_WITHIN, async || {
        match kv.client.handover(shard.shard, &target).await {
            Ok(handover) => Ok(Ok(handover)),
            // A copy of the shard that comes or goes is a change too, one at a time.
            Err(ClientError::Refused(why)) => Err(why),
            Err(error) => Ok(Err(Error::request(error))),
        }
    })
    .await??;
    sleep(AROUND).await;
    let (longest, requests, errors) = probe.finish().await?;
    found.requests += requests;
    found.failed += errors.len() as u64;
    found.last_error = errors.into_iter().last().or(found.last_error.take());
    Ok((longest, handover.pause))
}

/// One write after the other to one key.
struct Probe {
    ends: Arc<AtomicBool>,
    work: tokio::task::JoinHandle<(Duration, u64, Vec<String>)>,
}

impl Probe {
    fn start(client: &Client, key: Bytes) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let (client, ended) = (client.clone(), Arc::clone(&ends));
        let value = load::value(VALUE_BYTES);
        let work = tokio::spawn(async move {
            let (mut longest, mut requests, mut errors) = (Duration::ZERO, 0, Vec::new());
            while !ended.load(Ordering::Relaxed) {
                let begun = Instant::now();
                if let Err(error) = client.put((key.clone(), value.clone())).await {
                    errors.push(error.to_string());
                    sleep(PAUSE_AFTER_ERROR).await;
                }
                requests += 1;
                // One that failed has kept its client waiting just as well.
                longest = longest.max(begun.elapsed());
            }
            (longest, requests, errors)
        });
        Self { ends, work }
    }

    async fn finish(self) -> Result<(Duration, u64, Vec<String>)> {
        self.ends.store(true, Ordering::Relaxed);
        self.work.await.map_err(Error::request)
    }
}

/// Writes to all shards until it is told to end.
struct Writes {
    state: Arc<State>,
    workers: JoinSet<()>,
}

#[derive(Default)]
struct State {
    ends: AtomicBool,
    requests: AtomicU64,
    failed: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Writes {
    fn start(client: &Client, in_flight: usize) -> Self {
        let state = Arc::new(State::default());
        let value = load::value(VALUE_BYTES);
        let mut workers = JoinSet::new();
        for worker in 0..in_flight {
            let (client, state, value) = (client.clone(), Arc::clone(&state), value.clone());
            let mut random = SmallRng::seed_from_u64(worker as u64);
            workers.spawn(async move {
                while !state.ends.load(Ordering::Relaxed) {
                    let key = spread(random.random_range(0..SMALL_KEYS));
                    if let Err(error) = client.put((key, value.clone())).await {
                        state.failed.fetch_add(1, Ordering::Relaxed);
                        *state.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                        sleep(PAUSE_AFTER_ERROR).await;
                    }
                    state.requests.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { state, workers }
    }

    /// Requests, those of them that failed, and why the last one did. Each ends within the client's deadline.
    async fn finish(mut self) -> Result<(u64, u64, Option<String>)> {
        self.state.ends.store(true, Ordering::Relaxed);
        while let Some(ended) = self.workers.join_next().await {
            ended.map_err(Error::request)?;
        }
        let State { ends: _, requests, failed, last_error } = &*self.state;
        let last_error = last_error.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok((requests.load(Ordering::Relaxed), failed.load(Ordering::Relaxed), last_error))
    }
}
