//! `kv-bench`: this store, etcd and ZooKeeper side by side.

use std::{
    error::Error,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use kv_bench::{Options, SystemName, page, report::FORMAT, report::Report, run, table, workload::Group};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Unless KV_BENCH_LOG says otherwise. ZooKeeper's client warns of each connection that fails, which is what crashes do.
const LOGGED: &str = "error";
/// As shells report the end by a signal: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// Measures this store, etcd and ZooKeeper side by side: three nodes each on this machine, one system at a time.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    job: Job,
}

#[derive(Clone, Debug, Subcommand)]
enum Job {
    /// Measures, and prints tables.
    Run(RunArguments),
    /// Prints the tables of an earlier run.
    Table {
        /// What `run --json` has written.
        file: PathBuf,
    },
    /// Prints the page of an earlier run in Markdown.
    Page {
        /// What `run --json` has written.
        file: PathBuf,
    },
}

#[derive(Args, Clone, Debug)]
struct RunArguments {
    /// What to measure, one after the other.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "kv,kv-unary,kv-three-copies,etcd,etcd-tonic,zookeeper"
    )]
    systems: Vec<SystemName>,
    /// What to do with each.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "put,get,stale-get,put-1k,get-1k,put-64k,get-64k,mixed,scan,crash,limits"
    )]
    workloads: Vec<Group>,
    /// Requests in flight with values of 100 bytes (1 to 4,096 each, ascending); other loads use the middle one.
    #[arg(long, value_delimiter = ',', default_value = "1,64,256", value_parser = clap::value_parser!(u32).range(1..=4096))]
    in_flight: Vec<u32>,
    /// Seconds for which each load is measured (1 to 3,600).
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Seconds of each load before that (1 to 3,600).
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    warm_up: u64,
    /// How often the leader is killed (1 to 1,000).
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    crashes: u16,
    /// Keeps all figures in this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// On the disk that is to be measured: data goes to a folder within, which is removed at the end [default: .cache/bench of
    /// the source tree].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Arguments { job } = Arguments::parse();
    let filter = EnvFilter::try_from_env("KV_BENCH_LOG").unwrap_or_else(|_| EnvFilter::new(LOGGED));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("kv-bench: can't start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        // The systems live in the work: when a signal ends that, everything it has started ends with it.
        tokio::select! {
            outcome = Box::pin(work(job)) => match outcome {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("kv-bench: {}", chain(&*error));
                    ExitCode::FAILURE
                }
            },
            () = asked_to_end() => ExitCode::from(INTERRUPTED),
        }
    });
    runtime.shutdown_background();
    code
}

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

async fn work(job: Job) -> Outcome<()> {
    let text = match job {
        Job::Table { file } => table::text(&read(&file)?),
        Job::Page { file } => page::markdown(&read(&file)?),
        Job::Run(arguments) => measure(arguments).await?,
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

async fn measure(arguments: RunArguments) -> Outcome<String> {
    let RunArguments { systems, workloads, in_flight, seconds, warm_up, crashes, json, dir } = arguments;
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/bench");
    let within = dir.unwrap_or_else(|| cache.clone());
    fs::create_dir_all(&within).map_err(|error| format!("can't make {}: {error}", within.display()))?;
    let within = within.canonicalize()?;
    let directory = tempfile::Builder::new().prefix("run-").tempdir_in(&within)?;
    let options = Options {
        systems,
        groups: workloads,
        in_flight: in_flight.into_iter().map(|number| number as usize).collect(),
        warm_up: Duration::from_secs(warm_up),
        measured: Duration::from_secs(seconds),
        crashes: usize::from(crashes),
        directory: directory.path().to_owned(),
        cache,
    };
    let report = run(&options).await?;
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(&file, text).map_err(|error| format!("can't write {}: {error}", file.display()))?;
    }
    Ok(table::text(&report))
}

fn read(file: &Path) -> Outcome<Report> {
    let text = fs::read_to_string(file).map_err(|error| format!("can't read {}: {error}", file.display()))?;
    let report: Report = serde_json::from_str(&text)
        .map_err(|error| format!("{} is no report of `kv-bench run --json`: {error}", file.display()))?;
    if report.format != FORMAT {
        let format = report.format;
        return Err(format!("{} has the format {format}, and this reads {FORMAT}: measure anew", file.display()).into());
    }
    Ok(report)
}

/// An error and what has caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

async fn asked_to_end() {
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = signals else {
        // Without them the default holds: the process ends at once, and the kernel ends its children.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
        let Job::Run(run) = Arguments::parse_from(["kv-bench", "run"]).job else { panic!("it is a run") };
        assert_eq!((run.systems.len(), run.workloads.len(), run.in_flight), (6, 11, vec![1, 64, 256]));
    }
}
