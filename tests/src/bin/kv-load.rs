//! `kv-load`: clients that contend for a few keys of a cluster, and a judgement of what they were told. For a pod.
//!
//! Each second it prints a line of JSON with what has been counted so far. The last line, at the end or after SIGTERM, also
//! says whether the history is linearizable. It ends with 0 if it is.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, Parser};
use kv_checker::Verdict;
use kv_client::{Client, ClientOptions, Discovery};
use kv_tests::{
    history::{Counts, Recorder},
    ledger::key_in,
    workload::{Worker, Workload},
};
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep},
};

/// Pause between two attempts to connect: the cluster may still be starting.
const CONNECT_EVERY: Duration = Duration::from_secs(1);
/// Pause between two lines.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// The history is kept in memory: it ends by itself with so many operations.
const MAX_OPERATIONS: usize = 1_000_000;
/// Exit code if the history is not linearizable, or could not be judged.
const EXIT_NOT_LINEARIZABLE: u8 = 1;
/// Exit code if there was no load.
const EXIT_NO_LOAD: u8 = 2;

/// Loads a cluster and judges what it answers
#[derive(Parser, Debug)]
#[command(name = "kv-load", version)]
struct Arguments {
    #[command(flatten)]
    cluster: Cluster,
    /// Workers on each key
    #[arg(long, env = "KV_LOAD_WORKERS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=100))]
    workers: u16,
    /// Keys, spread over the shards
    #[arg(long, env = "KV_LOAD_KEYS", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=1000))]
    keys: u16,
    /// Pause of a worker between two operations, such as 20ms
    #[arg(long, env = "KV_LOAD_PAUSE", default_value = "20ms", value_parser = humantime::parse_duration)]
    pause: Duration,
    /// How long an operation may take
    #[arg(long, env = "KV_LOAD_DEADLINE", default_value = "10s", value_parser = humantime::parse_duration)]
    deadline: Duration,
    /// How long, such as 60s [default: until SIGTERM]
    #[arg(long, env = "KV_LOAD_DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// How long the cluster may take to be there
    #[arg(long, env = "KV_LOAD_WAIT", default_value = "60s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Cluster {
    /// host:port,host:port/root of ZooKeeper
    #[arg(long, env = "KV_LOAD_ZOOKEEPER", value_name = "HOSTS/ROOT")]
    zookeeper: Option<String>,
    /// host:port of nodes, with commas in between
    #[arg(long, env = "KV_LOAD_NODE", value_name = "ADDRESSES", value_delimiter = ',')]
    node: Vec<String>,
}

impl Cluster {
    fn discovery(&self) -> Discovery {
        match &self.zookeeper {
            Some(zookeeper) => Discovery::ZooKeeper(zookeeper.clone()),
            None => Discovery::Nodes(self.node.clone()),
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match load(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kv-load: {error}");
            ExitCode::from(EXIT_NO_LOAD)
        }
    }
}

async fn load(arguments: Arguments) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut stop = signal(SignalKind::terminate())?;
    let (client, workers) = tokio::select! {
        begun = begin(&arguments) => begun?,
        _ = stop.recv() => return Err("stopped before the cluster was there".into()),
    };
    let begun = Instant::now();
    let mut workload = Workload::start_with(workers, arguments.pause);
    let mut lines = interval(LINE_EVERY);
    lines.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = lines.tick() => println!("{}", figures(workload.recorder(), begun)),
            _ = stop.recv() => break,
        }
        let Counts { answered, failed, unknown } = workload.recorder().counts();
        if arguments.duration.is_some_and(|duration| begun.elapsed() >= duration)
            || answered + failed + unknown >= MAX_OPERATIONS
        {
            break;
        }
    }
    let unread = workload.stop(&client).await;
    let recorder = workload.recorder();
    let mut line = figures(recorder, begun);
    let (linearizable, why) = match recorder.verdict() {
        Verdict::Linearizable => (Some(true), None),
        Verdict::Violation(violation) => (Some(false), Some(violation.to_string())),
        Verdict::Undecided(key) => (None, Some(format!("undecided for key {}", key.escape_ascii()))),
    };
    line["linearizable"] = json!(linearizable);
    line["why"] = json!(why);
    line["unread"] = json!(unread);
    line["failures"] = json!(recorder.failures());
    println!("{line}");
    Ok(if linearizable == Some(true) { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NOT_LINEARIZABLE) })
}

/// Connects, and gives each key its workers. Keys are new with each run, so that their history begins with it.
async fn begin(arguments: &Arguments) -> Result<(Client, Vec<Worker>), kv_client::Error> {
    let deadline = Instant::now() + arguments.wait;
    let (client, description) = loop {
        let discovery = arguments.cluster.discovery();
        let options = ClientOptions { deadline: arguments.deadline, ..ClientOptions::new(discovery) };
        let begun = async {
            let client = Client::connect(options).await?;
            // Answered by a shard, so that the cluster serves and doesn't only describe itself.
            client.get("load").await?;
            let description = client.describe(false).await?;
            Ok((client, description))
        };
        match begun.await {
            Ok(begun) => break begun,
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(error) => eprintln!("kv-load: not yet: {error}"),
        }
        sleep(CONNECT_EVERY).await;
    };
    let run: u32 = rand::random();
    let shards = description.shards.iter().cycle().enumerate().take(arguments.keys.into());
    let keys = shards.filter_map(|(number, shard)| key_in(shard, &format!("load-{run:08x}-{number}")));
    // A worker has one key: a shard that doesn't answer holds up nobody else.
    let workers = keys.flat_map(|key| (0..arguments.workers).map(move |_| vec![key.clone()]));
    let workers = workers.map(|keys| (client.clone(), keys)).collect();
    Ok((client, workers))
}

fn figures(recorder: &Recorder, begun: Instant) -> Value {
    let Counts { answered, failed, unknown } = recorder.counts();
    let (silence, key) = recorder.longest_silence().unwrap_or_default();
    json!({
        "seconds": begun.elapsed().as_secs(),
        "operations": answered + failed + unknown,
        "failed": failed,
        "unknown": unknown,
        "longest_silence_ms": u64::try_from(silence.as_millis()).unwrap_or(u64::MAX),
        "longest_silence_key": key.escape_ascii().to_string(),
    })
}
