//! `kv-bench`: this store, etcd and ZooKeeper side by side.

mod arguments;

use std::{
    error::Error,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use arguments::{Arguments, Job, ProfileArguments, RunArguments};
use clap::Parser as _;
use kv_bench::{Options, ProfileOptions, page, profile, relay, report::FORMAT, report::Report, run, table};
use kv_local::chain;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The load shares its cores with the systems: with glibc's allocator a fifth of its time was spent there, on locks too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Unless KV_BENCH_LOG says otherwise. ZooKeeper's client warns of each connection that fails, which is what crashes do.
const LOGGED: &str = "error";
/// As shells report the end by a signal: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

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
        Job::Page { file, write: None } => page::markdown(&read(&file)?),
        Job::Page { file, write: Some(folder) } => write_page(&read(&file)?, &folder)?,
        Job::Run(arguments) => measure(arguments).await?,
        Job::Profile(arguments) => sample(arguments).await?,
        Job::Relay => {
            relay().await?;
            String::new()
        }
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

async fn measure(arguments: RunArguments) -> Outcome<String> {
    let extent = arguments.extent();
    let RunArguments { systems, workloads, endurance_systems, in_flight, seconds, warm_up, crashes, json, dir, .. } =
        arguments;
    let (cache, directory) = place(dir)?;
    let options = Options {
        systems,
        groups: workloads,
        endurance_systems,
        in_flight: in_flight.into_iter().map(|number| number as usize).collect(),
        warm_up: Duration::from_secs(warm_up),
        measured: Duration::from_secs(seconds),
        crashes: usize::from(crashes),
        extent,
        directory: directory.path().to_owned(),
        cache,
        program: std::env::current_exe()?,
    };
    let report = run(&options).await?;
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(&file, text).map_err(|error| format!("can't write {}: {error}", file.display()))?;
    }
    let text = table::text(&report);
    if report.systems.iter().all(|system| system.failures.is_empty()) {
        return Ok(text);
    }
    std::io::stdout().write_all(text.as_bytes())?;
    Err("not everything could be measured: see above".into())
}

async fn sample(arguments: ProfileArguments) -> Outcome<String> {
    let ProfileArguments { workloads, in_flight, seconds, functions, dir } = arguments;
    let (cache, directory) = place(dir)?;
    let options = ProfileOptions {
        groups: workloads,
        in_flight: in_flight as usize,
        sampled: Duration::from_secs(seconds),
        functions: usize::from(functions),
        directory: directory.path().to_owned(),
        cache,
    };
    Ok(profile(&options).await?)
}

/// Where what was built is kept, and a folder for data that goes at the end.
fn place(dir: Option<PathBuf>) -> Outcome<(PathBuf, tempfile::TempDir)> {
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/bench");
    let within = dir.unwrap_or_else(|| cache.clone());
    fs::create_dir_all(&within).map_err(|error| format!("can't make {}: {error}", within.display()))?;
    let within = within.canonicalize()?;
    Ok((cache, tempfile::Builder::new().prefix("run-").tempdir_in(&within)?))
}

/// Returns what it has written.
fn write_page(report: &Report, folder: &Path) -> Outcome<String> {
    let mut said = String::new();
    for (name, text) in page::files(report)? {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|error| format!("can't make {}: {error}", parent.display()))?;
        fs::write(&path, text).map_err(|error| format!("can't write {}: {error}", path.display()))?;
        said.push_str(&format!("{}\n", path.display()));
    }
    Ok(said)
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
