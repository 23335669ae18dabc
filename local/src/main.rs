//! `kv-local`: a ZooKeeper, some nodes and a shell on this machine; `kv-local demo`: what it is all for, in two minutes.

mod arguments;
mod demo;
mod describe;
mod exec;
mod shell;
mod tables;
mod terminal_mode;
mod traffic;

use std::{error::Error, process::ExitCode};

use arguments::{Arguments, Job};
use clap::Parser;
use kv_local::LocalCluster;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Unless KV_LOCAL_LOG says otherwise. ZooKeeper's client warns of each connection that fails, which is what is done to it.
const LOGGED: &str = "warn,zookeeper_client=error";
/// As shells report the end by a signal: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("KV_LOCAL_LOG").unwrap_or_else(|_| EnvFilter::new(LOGGED));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let terminal = terminal_mode::save();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("kv-local: can't start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        // The cluster lives in the work: when a signal ends that, everything it has started ends with it.
        tokio::select! {
            outcome = work(arguments) => match outcome {
                Ok(code) => code,
                Err(error) => {
                    eprintln!("kv-local: {}", kv_local::chain(&*error));
                    ExitCode::FAILURE
                }
            },
            () = asked_to_end() => ExitCode::from(INTERRUPTED),
        }
    });
    // The line that is being read, or a download, is not waited for.
    runtime.shutdown_background();
    terminal_mode::restore(terminal);
    code
}

type Outcome = Result<ExitCode, Box<dyn Error + Send + Sync>>;

async fn work(arguments: Arguments) -> Outcome {
    let Arguments { cluster, script, job } = arguments;
    let job = job.unwrap_or(Job::Shell);
    let options = cluster.into_options(&job);
    let kept = options.directory.is_some();
    if job == Job::Demo {
        demo::run(options).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut cluster;
    let code = if let Job::Exec { command } = job {
        cluster = LocalCluster::start(options).await?;
        exec::run(&mut cluster, &command).await?
    } else {
        // First, so that a script that can't be read is said at once.
        let lines = shell::Lines::open(script.as_deref())?;
        cluster = LocalCluster::start(options).await?;
        let all_well = shell::run(&mut cluster, lines).await?;
        if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    };
    // What is kept is left in order; what is not may go as it is.
    if kept {
        cluster.stop().await?;
    }
    Ok(code)
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
