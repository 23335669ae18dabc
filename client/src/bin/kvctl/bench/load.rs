use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use kv_client::{Client, Error, Get, Put};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::SmallRng};
use tokio::sync::Semaphore;

use super::{
    BenchArguments,
    keys::Keys,
    pace::{Schedule, pace},
    report::{Outcome, Tally},
};
use crate::exit::Failed;

/// How much is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    requests: Option<u64>,
    duration: Duration,
    rate: Option<u64>,
    /// In a hundred.
    reads: u32,
}

/// Requests to be sent, and what has become of them.
#[derive(Debug)]
pub struct Load {
    work: Work,
    keys: Keys,
    values: Vec<Bytes>,
    in_flight: usize,
    confirmed: bool,
    seed: u64,
    start: Mutex<Instant>,
    next: AtomicU64,
    done: AtomicU64,
}

/// Different values that are written in turn.
const VALUES: usize = 64;

impl Work {
    pub fn measure(arguments: &BenchArguments) -> Self {
        Self {
            requests: arguments.requests.map(Into::into),
            duration: arguments.duration,
            rate: arguments.rate.map(Into::into),
            reads: arguments.reads(),
        }
    }

    /// Each key is written once, as fast as it goes.
    pub fn prepare(arguments: &BenchArguments) -> Self {
        Self { requests: Some(arguments.keys.get()), duration: arguments.duration, rate: None, reads: 0 }
    }
}

impl Load {
    pub fn new(work: Work, keys: Keys, arguments: &BenchArguments) -> Self {
        let mut random = SmallRng::seed_from_u64(arguments.seed);
        let values = (0..VALUES).map(|_| {
            let mut value = vec![0; arguments.value_bytes as usize];
            random.fill_bytes(&mut value);
            Bytes::from(value)
        });
        Self {
            work,
            keys,
            values: values.collect(),
            in_flight: arguments.in_flight as usize,
            confirmed: arguments.confirmed,
            seed: arguments.seed,
            start: Mutex::new(Instant::now()),
            next: AtomicU64::new(0),
            done: AtomicU64::new(0),
        }
    }

    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Of the progress bar: requests if their number is known, else milliseconds.
    pub fn length(&self) -> u64 {
        self.work.requests.unwrap_or(self.work.duration.as_millis() as u64)
    }

    pub fn position(&self) -> u64 {
        match self.work.requests {
            Some(_) => self.done(),
            None => self.start().elapsed().as_millis() as u64,
        }
    }

    fn start(&self) -> Instant {
        *self.start.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests are due in an open loop.
    fn scheduled(&self, rate: u64) -> u64 {
        let by_time = u128::from(rate) * self.work.duration.as_nanos() / 1_000_000_000;
        self.work.requests.unwrap_or(u64::try_from(by_time).unwrap_or(u64::MAX).max(1))
    }
}

/// Sends all requests and waits for their answers.
pub async fn drive(clients: &[Client], load: &Arc<Load>) -> Result<Outcome, Failed> {
    let start = Instant::now();
    *load.start.lock().unwrap_or_else(PoisonError::into_inner) = start;
    let schedule = load.work.rate.map(|rate| Schedule::new(start, rate, load.scheduled(rate)));
    let permits = Arc::new(Semaphore::new(0));
    if let Some(schedule) = schedule {
        pace(schedule, permits.clone())?;
    }
    let open_loop = schedule.map(|schedule| (schedule, permits.clone()));
    // One tally for each connection: workers share it, and so seldom wait for each other.
    let mut tallies = Vec::new();
    for _ in clients {
        tallies.push(Arc::new(Mutex::new(Tally::new()?)));
    }
    let workers: Vec<_> = (0..load.in_flight)
        .map(|worker| {
            let (client, tally) = (clients[worker % clients.len()].clone(), tallies[worker % tallies.len()].clone());
            tokio::spawn(work(client, load.clone(), tally, open_loop.clone(), worker as u64))
        })
        .collect();
    for worker in workers {
        let _ = worker.await;
    }
    permits.close();
    let elapsed = start.elapsed();
    let mut outcome = Outcome::new(elapsed)?;
    for tally in tallies {
        outcome.add(&tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
    if let Some(schedule) = schedule {
        outcome.unsent = schedule.due_by(Instant::now()).saturating_sub(load.next.load(Ordering::Relaxed));
    }
    Ok(outcome)
}

/// Sends one request after the other until there are no more.
async fn work(
    client: Client,
    load: Arc<Load>,
    tally: Arc<Mutex<Tally>>,
    open_loop: Option<(Schedule, Arc<Semaphore>)>,
    worker: u64,
) {
    let mut random = SmallRng::seed_from_u64(load.seed ^ worker.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let end = load.work.requests.is_none().then(|| load.start() + load.work.duration);
    loop {
        if let Some((_, permits)) = &open_loop
            && !is_due(permits, end).await
        {
            return;
        }
        let sent = Instant::now();
        if end.is_some_and(|end| sent >= end) {
            return;
        }
        let request = load.next.fetch_add(1, Ordering::Relaxed);
        if load.work.requests.is_some_and(|requests| request >= requests) {
            return;
        }
        let mut from = sent;
        if let Some((schedule, permits)) = &open_loop {
            from = schedule.due(request);
            if request + 1 == schedule.requests() {
                // The others wait for permits that will not come.
                permits.close();
            }
        }
        let is_read = load.work.reads > 0 && random.random_range(0..100) < load.work.reads;
        let result = send(&client, &load, &mut random, request, is_read).await;
        let latency = from.elapsed();
        tally.lock().unwrap_or_else(PoisonError::into_inner).record(is_read, latency, result);
        load.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits for the next request to be due; false if none will be before `end`.
async fn is_due(permits: &Semaphore, end: Option<Instant>) -> bool {
    let due = async { permits.acquire().await.map(|permit| permit.forget()).is_ok() };
    match end {
        Some(end) => tokio::time::timeout_at(end.into(), due).await.unwrap_or(false),
        None => due.await,
    }
}

async fn send(client: &Client, load: &Load, random: &mut SmallRng, request: u64, is_read: bool) -> Result<bool, Error> {
    let key = load.keys.choose(request, random);
    if is_read {
        let get = Get::new(key);
        let get = if load.confirmed { get.confirmed() } else { get };
        return Ok(client.get(get).await?.is_some());
    }
    let value = load.values[request as usize % VALUES].clone();
    client.put(Put::new(key, value)).await?;
    Ok(true)
}
