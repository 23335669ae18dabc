//! The load that drives every system but for what etcd's own tool does.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hdrhistogram::Histogram;
use kv_client::keys::KeyChoice;
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::SmallRng};
use tokio::{
    task::JoinSet,
    time::{sleep_until, timeout},
};

use crate::{
    error::{Error, Result},
    fill::fill,
    processor::ProcessorTime,
    report::{Latency, Sample},
    workload::{MIXED_READS, Operation, Workload, ZIPF_EXPONENT},
};

/// Workers that share one tally.
const WORKERS_PER_TALLY: usize = 32;
/// Nanoseconds that can be told apart: from a microsecond to five minutes, by a thousandth.
const LATENCIES: (u64, u64, u8) = (1_000, 300_000_000_000, 3);
/// After an error: a system that refuses at once must not take the processor from itself.
pub(crate) const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(5);
/// Requests that are still in flight so long after the end of a load are not slow.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(60);

/// A client of a system. Keys are numbers, which each system gives its own form.
pub(crate) trait Connection: Clone + Send + Sync + 'static {
    fn put(&self, key: u64, value: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Linearizable. An error if there is no such key.
    fn get(&self, key: u64, value_bytes: usize) -> impl Future<Output = Result<()>> + Send;

    /// May be out of date.
    fn stale_get(&self, key: u64, value_bytes: usize) -> impl Future<Output = Result<()>> + Send;

    /// A hundred keys from this one on.
    fn scan(&self, key: u64) -> impl Future<Output = Result<()>> + Send;
}

/// A load on so many different keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) workload: Workload,
    pub(crate) keys: u64,
    /// All keys are there.
    pub(crate) prepared: bool,
}

/// For how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Durations {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

struct Tally {
    latencies: Histogram<u64>,
    each_second: Vec<u64>,
    /// Nanoseconds of the slowest request that began in each second.
    slowest: Vec<u64>,
    errors: u64,
    last_error: Option<Error>,
}

struct Window {
    from: Instant,
    until: Instant,
}

impl From<Workload> for Load {
    fn from(workload: Workload) -> Self {
        Self { workload, keys: workload.keys(), prepared: false }
    }
}

impl Load {
    /// Writes all keys once if the load reads them.
    pub(crate) async fn prepare<C: Connection>(&self, connections: &[C]) -> Result<()> {
        if self.workload.reads() { self.prepare_all(connections).await } else { Ok(()) }
    }

    /// Writes all keys once, unless they are there.
    pub(crate) async fn prepare_all<C: Connection>(&self, connections: &[C]) -> Result<()> {
        if self.prepared {
            return Ok(());
        }
        fill(connections, 0..self.keys, self.workload.value_bytes).await
    }

    /// Puts the load on, closed loop: each request that is answered is followed by another.
    pub(crate) async fn drive<C: Connection>(
        &self,
        connections: &[C],
        durations: Durations,
        servers: &[u32],
    ) -> Result<Sample> {
        let Self { workload, keys, prepared: _ } = *self;
        let from = Instant::now() + durations.warm_up;
        let window = Arc::new(Window { from, until: from + durations.measured });
        let keys = match workload.operation {
            Operation::Mixed => KeyChoice::zipf(keys, ZIPF_EXPONENT).map_err(Error::request)?,
            _ => KeyChoice::uniform(keys),
        };
        let value = value(workload.value_bytes);
        let tallies = (0..workload.in_flight.div_ceil(WORKERS_PER_TALLY))
            .map(|_| Ok(Arc::new(Mutex::new(Tally::new(durations.measured)?))))
            .collect::<Result<Vec<_>>>()?;
        let mut workers = JoinSet::new();
        for worker in 0..workload.in_flight {
            let connection = connections[worker % connections.len()].clone();
            let tally = Arc::clone(&tallies[worker % tallies.len()]);
            let random = SmallRng::seed_from_u64(worker as u64);
            workers.spawn(work(connection, workload, keys.clone(), value.clone(), random, Arc::clone(&window), tally));
        }
        sleep_until(window.from.into()).await;
        let before = ProcessorTime::now(servers);
        sleep_until(window.until.into()).await;
        let used = ProcessorTime::now(servers).since(before);
        let ending = async {
            while let Some(ended) = workers.join_next().await {
                ended.map_err(Error::request)?;
            }
            Ok::<_, Error>(())
        };
        let stuck = |_| Error::TimedOut {
            what: "requests are not answered",
            within: STUCK_AFTER,
            detail: format!("the load was {workload}"),
        };
        timeout(STUCK_AFTER, ending).await.map_err(stuck)??;
        let mut all = Tally::new(durations.measured)?;
        for tally in &tallies {
            all.add(&mut lock(tally))?;
        }
        all.into_sample(&workload, durations.measured, used)
    }
}

async fn work<C: Connection>(
    connection: C,
    workload: Workload,
    keys: KeyChoice,
    value: Bytes,
    mut random: SmallRng,
    window: Arc<Window>,
    tally: Arc<Mutex<Tally>>,
) {
    let bytes = workload.value_bytes;
    loop {
        let begun = Instant::now();
        if begun >= window.until {
            return;
        }
        let key = keys.choose(&mut random);
        let outcome = match workload.operation {
            Operation::Put => connection.put(key, value.clone()).await,
            Operation::Get => connection.get(key, bytes).await,
            Operation::StaleGet => connection.stale_get(key, bytes).await,
            Operation::Scan => connection.scan(key).await,
            Operation::Mixed if random.random_range(0..100) < MIXED_READS => connection.get(key, bytes).await,
            Operation::Mixed => connection.put(key, value.clone()).await,
        };
        let failed = outcome.is_err();
        lock(&tally).record(&window, begun, outcome);
        if failed {
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    }
}

/// The time from `killed` to the first write that is acknowledged: what is measured, and not how often it was tried.
pub(crate) async fn first_write<C: Connection>(connection: &C, killed: Instant, within: Duration) -> Result<Duration> {
    let value = value(100);
    loop {
        let why = match timeout(within, connection.put(0, value.clone())).await {
            Ok(Ok(())) => return Ok(killed.elapsed()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "there was no answer".to_owned(),
        };
        if killed.elapsed() > within {
            return Err(Error::TimedOut { what: "no write was acknowledged", within, detail: why });
        }
        tokio::time::sleep(PAUSE_AFTER_ERROR).await;
    }
}

/// Bytes that can't be compressed, always the same ones.
pub(crate) fn value(bytes: usize) -> Bytes {
    let mut value = vec![0; bytes];
    SmallRng::seed_from_u64(1).fill_bytes(&mut value);
    value.into()
}

/// A panic of another worker does not make the figures wrong.
fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tally {
    fn new(measured: Duration) -> Result<Self> {
        let (least, most, digits) = LATENCIES;
        let latencies = Histogram::new_with_bounds(least, most, digits).map_err(Error::request)?;
        let seconds = measured.as_secs_f64().ceil() as usize;
        Ok(Self { latencies, each_second: vec![0; seconds], slowest: vec![0; seconds], errors: 0, last_error: None })
    }

    /// The rate counts answers within the window. Latency also counts a request that outlasts it: the slowest must not be
    /// left out because the measurement ended.
    fn record(&mut self, window: &Window, begun: Instant, outcome: Result<()>) {
        let ended = Instant::now();
        if ended < window.from {
            if let Err(error) = outcome {
                self.last_error = Some(error);
            }
            return;
        }
        match outcome {
            Ok(()) => {
                let latency = ended.duration_since(begun).as_nanos() as u64;
                self.latencies.saturating_record(latency);
                let began = begun.saturating_duration_since(window.from).as_secs() as usize;
                if let Some(slowest) = self.slowest.get_mut(began) {
                    *slowest = latency.max(*slowest);
                }
                let second = ended.duration_since(window.from).as_secs() as usize;
                if ended < window.until
                    && let Some(count) = self.each_second.get_mut(second)
                {
                    *count += 1;
                }
            }
            Err(error) => {
                self.errors += 1;
                self.last_error = Some(error);
            }
        }
    }

    fn add(&mut self, other: &mut Self) -> Result<()> {
        self.latencies.add(&other.latencies).map_err(Error::request)?;
        for (all, one) in self.each_second.iter_mut().zip(&other.each_second) {
            *all += one;
        }
        for (all, one) in self.slowest.iter_mut().zip(&other.slowest) {
            *all = (*all).max(*one);
        }
        self.errors += other.errors;
        self.last_error = self.last_error.take().or(other.last_error.take());
        Ok(())
    }

    fn into_sample(self, workload: &Workload, measured: Duration, used: ProcessorTime) -> Result<Sample> {
        let operations = self.each_second.iter().sum();
        if operations == 0 {
            let why = self.last_error.map_or_else(|| "none was answered in time".to_owned(), |error| error.to_string());
            return Err(Error::NothingSucceeded { workload: workload.to_string(), why });
        }
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let at = |quantile| micros(self.latencies.value_at_quantile(quantile));
        let latency = Latency {
            p50: at(0.5),
            p99: at(0.99),
            p999: (self.latencies.len() >= 1_000).then(|| at(0.999)),
            max: micros(self.latencies.max()),
        };
        Ok(Sample {
            operations,
            errors: self.errors,
            seconds: measured.as_secs_f64(),
            latency,
            server_seconds: used.servers,
            client_seconds: used.client,
            each_second: self.each_second,
            slowest_each_second: self.slowest.into_iter().map(micros).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers at once, and refuses what it is told to.
    #[derive(Clone)]
    struct Fake {
        refuses: bool,
    }

    impl Connection for Fake {
        async fn put(&self, _: u64, _: Bytes) -> Result<()> {
            tokio::task::yield_now().await;
            if self.refuses { Err(Error::request("refused")) } else { Ok(()) }
        }
        async fn get(&self, key: u64, _: usize) -> Result<()> {
            self.put(key, Bytes::new()).await
        }
        async fn stale_get(&self, key: u64, _: usize) -> Result<()> {
            self.put(key, Bytes::new()).await
        }
        async fn scan(&self, key: u64) -> Result<()> {
            self.put(key, Bytes::new()).await
        }
    }

    const DURATIONS: Durations =
        Durations { warm_up: Duration::from_millis(20), measured: Duration::from_millis(1_100) };
    const MIXED: Workload = Workload { operation: Operation::Mixed, value_bytes: 10, in_flight: 40 };

    #[tokio::test]
    async fn a_load_is_counted_by_seconds_and_latency() {
        let sample = Load::from(MIXED).drive(&[Fake { refuses: false }], DURATIONS, &[]).await.expect("it answers");
        let slowest = sample.slowest_each_second.iter().copied().fold(0.0, f64::max);
        assert!(slowest > 0.0 && slowest <= sample.latency.max * 1.01, "{slowest} {:?}", sample.latency);
        assert_eq!(sample.each_second.iter().sum::<u64>(), sample.operations);
        assert!(sample.each_second.len() == 2 && sample.each_second[0] > 0, "{:?}", sample.each_second);
        assert!(sample.latency.p50 <= sample.latency.p99 && sample.latency.p99 <= sample.latency.max);
        assert_eq!((sample.errors, sample.seconds), (0, 1.1));
    }

    #[tokio::test]
    async fn a_load_of_failures_only_is_an_error_with_their_reason() {
        let refused = Load::from(MIXED).drive(&[Fake { refuses: true }], DURATIONS, &[]).await.expect_err("it refuses");
        assert!(refused.to_string().contains("refused"), "{refused}");
        assert!(Load::from(MIXED).prepare(&[Fake { refuses: true }]).await.is_err());
        let within = Duration::from_millis(20);
        let never = first_write(&Fake { refuses: true }, Instant::now(), within).await.expect_err("it refuses");
        assert!(matches!(never, Error::TimedOut { .. }));
    }
}
