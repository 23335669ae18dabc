//! The composition root: start-up and shut-down order, and the only place that joins the parts.

use std::{future::pending, num::NonZero, process::ExitCode, time::Duration};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    task::JoinSet,
    time::timeout,
};
use tonic::service::Routes;
use tracing::{error, info};

use crate::{
    causes,
    config::{RuntimeKind, ValidatedConfig},
    driver::{Driver, StartError, peers::ReplicaService},
    server::{Probes, ServeError, Server},
};

/// The command line can't be used.
pub const EXIT_USAGE: u8 = 2;
/// The node can't start, or had to stop.
const EXIT_FAILED: u8 = 1;
/// How long what is still running may take after the node has stopped.
const LINGER: Duration = Duration::from_secs(1);

/// Why a node ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("can't listen on {address}: {source} (is the address of this machine, and the port free?)")]
    Listen { address: String, source: std::io::Error },
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("signals can't be handled: {0}")]
    Signals(std::io::Error),
    #[error("{0}")]
    Fatal(String),
}

/// Runs the node until it is told to stop or has to.
#[must_use]
pub fn run(config: ValidatedConfig) -> ExitCode {
    let mut builder = match config.runtime {
        RuntimeKind::CurrentThread => tokio::runtime::Builder::new_current_thread(),
        RuntimeKind::MultiThread => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(worker_threads(std::thread::available_parallelism().map_or(1, NonZero::get)));
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "the runtime can't be started");
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let outcome = runtime.block_on(serve(config));
    runtime.shutdown_timeout(LINGER);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = causes::chain(&error);
            error!("{error}");
            eprintln!("kv-node: {error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Threads of the runtime on so many cores. One core is left to the volumes' threads and the kernel's side of disk and network: a thread
/// for it too would only be woken to take work from the others.
fn worker_threads(cores: usize) -> usize {
    cores.saturating_sub(1).max(1)
}

async fn serve(config: ValidatedConfig) -> Result<(), AppError> {
    let stop = Stop::new()?;
    let grpc = listen(config.listen.to_string()).await?;
    let http = listen(config.http.to_string()).await?;
    let probes =
        Probes::new(format!("starting: recovering the volumes, then waiting for ZooKeeper at {}", config.zookeeper));
    // A task of its own: it answers while the volumes are read.
    let mut probing = JoinSet::new();
    probing.spawn(probes.clone().serve(http));
    tokio::select! {
        Some(Ok(ended)) = probing.join_next() => Ok(ended?),
        ended = run_node(config, grpc, probes, stop) => ended,
    }
}

async fn run_node(config: ValidatedConfig, grpc: TcpListener, probes: Probes, mut stop: Stop) -> Result<(), AppError> {
    let running = tokio::select! {
        running = Driver::start(config.driver_options()) => running?,
        () = stop.asked() => return Ok(()),
    };
    let driver = running.driver().clone();
    let mut fatals = driver.fatals();
    let server = Server::new(driver.clone(), config.server_options(), &probes);
    let (close, closed) = oneshot::channel::<()>();
    let replica = Routes::new(ReplicaService::server(&driver));
    let serving = server.serve(grpc, replica, async { closed.await.unwrap_or(()) });
    let mut serving = Box::pin(serving);
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        registered = running.register() => registered?,
        () = stop.asked() => {}
        Ok(fatal) = fatals.wait_for(Option::is_some) => return Err(AppError::Fatal(fatal.clone().unwrap_or_default())),
    }
    info!(node = %driver.node(), "the node is a member of the cluster");
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = stop.asked() => info!("asked to stop: handing over first"),
        Ok(fatal) = fatals.wait_for(Option::is_some) => return Err(AppError::Fatal(fatal.clone().unwrap_or_default())),
    }
    // Requests are served, and passed on to the new primaries, until nothing is left here.
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = running.stop() => {}
    }
    let _ = close.send(());
    match timeout(LINGER * 3, serving).await {
        Ok(ended) => Ok(ended?),
        Err(_) => Ok(()),
    }
}

async fn listen(address: String) -> Result<TcpListener, AppError> {
    TcpListener::bind(&address).await.map_err(|source| AppError::Listen { address, source })
}

/// SIGTERM and SIGINT.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> Result<Self, AppError> {
        let on = |kind| signal(kind).map_err(AppError::Signals);
        Ok(Self { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            Some(()) = self.terminate.recv() => {}
            Some(()) = self.interrupt.recv() => {}
            else => pending().await,
        }
    }
}
