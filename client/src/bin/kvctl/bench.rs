use std::{num::NonZeroU64, sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use kv_client::{Client, ClientOptions, Transport};

use crate::{
    exit::{self, Failed},
    output::Output,
};

mod keys;
mod load;
mod pace;
mod report;

use keys::{Distribution, Keys};
use load::{Load, Work};

/// What to measure.
///
/// Closed loop by default: each of the requests in flight is followed by another one. With --rate open loop: requests
/// are due at fixed times, and latency counts from when one was due, not from when it could be sent.
#[derive(Args, Clone, Debug)]
pub struct BenchArguments {
    #[arg(value_enum)]
    workload: Workload,
    /// Requests in flight at once, over all connections (1 to 65,536).
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    in_flight: u32,
    /// How long to measure.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration, conflicts_with = "requests")]
    duration: Duration,
    /// End after so many requests instead.
    #[arg(long)]
    requests: Option<NonZeroU64>,
    /// Bytes of each value (up to 1 MiB).
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    value_bytes: u32,
    /// How many different keys there are.
    #[arg(long, default_value = "100000")]
    keys: NonZeroU64,
    /// How often each key is used.
    #[arg(long, value_enum, default_value_t)]
    distribution: Distribution,
    /// How uneven zipf is: above 0.
    #[arg(long, default_value_t = 0.99)]
    zipf_exponent: f64,
    /// Keys are this and a number of 10 digits; without it they are 16 bytes spread over all shards.
    #[arg(long)]
    prefix: Option<String>,
    /// Reads in a hundred requests of the mixed workload.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=100))]
    read_percent: u32,
    /// Requests a second: open loop.
    #[arg(long)]
    rate: Option<NonZeroU64>,
    /// Connections to each node (1 to 256).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    connections: u32,
    /// One gRPC call for each request instead of a pipelined stream.
    #[arg(long)]
    unary: bool,
    /// Writes without a session: not repeated when their outcome is unknown.
    #[arg(long)]
    no_sessions: bool,
    /// Confirmed reads instead of leased ones.
    #[arg(long)]
    confirmed: bool,
    /// Write every key once before measuring.
    #[arg(long)]
    prepare: bool,
    /// Threads of the client (1 or more, up to 64).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// Chooses keys and values; the same number chooses the same ones.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Writes.
    Put,
    /// Linearizable reads.
    Get,
    /// Both.
    Mixed,
}

impl BenchArguments {
    pub fn threads(&self) -> usize {
        self.threads as usize
    }

    /// Reads in a hundred requests.
    fn reads(&self) -> u32 {
        match self.workload {
            Workload::Put => 0,
            Workload::Get => 100,
            Workload::Mixed => self.read_percent,
        }
    }
}

/// How often the progress bar moves.
const PROGRESS_PAUSE: Duration = Duration::from_millis(200);

pub async fn run(options: ClientOptions, arguments: BenchArguments, output: Output) -> Result<(), Failed> {
    if arguments.duration.is_zero() || arguments.duration > ClientOptions::MAX_DURATION {
        return Err(Failed::usage(format!(
            "--duration: give more than 0 and at most {:?}",
            ClientOptions::MAX_DURATION
        )));
    }
    let keys = Keys::new(&arguments).map_err(Failed::usage)?;
    let transport = if arguments.unary { Transport::Unary } else { Transport::Pipeline };
    let in_flight = arguments.in_flight as usize;
    let options = ClientOptions { transport, in_flight, sessions: !arguments.no_sessions, ..options };
    let mut clients = Vec::new();
    for _ in 0..arguments.connections {
        let client = Client::connect(options.clone()).await?;
        // Only a hint: without it the first answers teach the routes.
        let _ = client.learn_routes().await;
        clients.push(client);
    }
    if arguments.prepare {
        let work = Work::prepare(&arguments);
        let load = Load::new(work, Keys::in_order(&arguments), &arguments);
        let outcome = measure(&clients, Arc::new(load), "preparing").await?;
        if let Some(failed) = outcome.total_failure() {
            return Err(failed);
        }
    }
    let load = Arc::new(Load::new(Work::measure(&arguments), keys, &arguments));
    let outcome = measure(&clients, load, "measuring").await?;
    outcome.print(&arguments, output)?;
    match outcome.total_failure() {
        Some(failed) => Err(failed),
        None => Ok(()),
    }
}

async fn measure(clients: &[Client], load: Arc<Load>, what: &'static str) -> Result<report::Outcome, Failed> {
    let bar = progress(&load, what);
    let shown = tokio::spawn({
        let (bar, load) = (bar.clone(), load.clone());
        async move {
            loop {
                bar.set_position(load.position());
                bar.set_message(format!("{} requests", load.done()));
                tokio::time::sleep(PROGRESS_PAUSE).await;
            }
        }
    });
    let outcome = load::drive(clients, &load).await;
    shown.abort();
    bar.finish_and_clear();
    outcome
}

/// On standard error, and only if that is a terminal.
fn progress(load: &Load, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(load.length()).with_prefix(what);
    match ProgressStyle::with_template("{prefix} {bar:30} {percent}% {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl report::Outcome {
    /// Not one request succeeded: there is nothing to report but why.
    fn total_failure(&self) -> Option<Failed> {
        let why = self.first_error.as_ref().filter(|_| self.succeeded() == 0)?;
        Some(Failed::new(exit::UNAVAILABLE, format!("no request succeeded: {why}")))
    }
}
