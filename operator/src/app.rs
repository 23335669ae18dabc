//! The composition root: start-up and shut-down order, and the only place that joins the parts.

use std::{
    future::pending,
    pin::pin,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::channel::mpsc;
use kube::{Client, runtime::reflector::ObjectRef};
use prometheus_client::registry::Registry;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{error, info, warn};

use crate::{
    api::KvCluster,
    api_server::{ApiServer, ApiServerError},
    controllers::{self, WAITING_WAKES},
    http::Probes,
    lease::{Election, LeadershipLost},
    metrics::{self, Metrics},
    nodes::{ClusterKey, NodeObservers},
    options::RunOptions,
    reconcile::{applier::Applier, driver::Reconciler, validate::Defaults},
    telemetry::causes,
    zookeeper::Ensembles,
};

/// The command line can't be used.
pub const EXIT_USAGE: u8 = 2;
/// The operator can't start, or had to stop.
pub const EXIT_FAILED: u8 = 1;
/// How long the steps that are under way may take after the operator was told to stop.
const FINISH_WITHIN: Duration = Duration::from_secs(20);
/// How long what is still running may take after that.
const LINGER: Duration = Duration::from_secs(1);
/// Rounds of reconciliation wait for answers nearly all the time. The second is for the Lease while one of them computes.
const THREADS: usize = 2;

/// Why the operator ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("the runtime can't be started: {0}")]
    Runtime(std::io::Error),
    #[error("signals can't be handled: {0}")]
    Signals(std::io::Error),
    #[error("can't listen on {address}: {source} (is the address of this machine, and the port free?)")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("HTTP ended: {0}")]
    Http(std::io::Error),
    #[error(transparent)]
    ApiServer(#[from] ApiServerError),
    #[error(transparent)]
    LeadershipLost(#[from] LeadershipLost),
    #[error("the controllers ended")]
    ControllersEnded,
}

/// Runs the operator until it is told to stop or has to.
#[must_use]
pub fn run(options: RunOptions) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let outcome = runtime.map_err(AppError::Runtime).and_then(|runtime| {
        let outcome = runtime.block_on(Box::pin(serve(options)));
        runtime.shutdown_timeout(LINGER);
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{}", causes(&error));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

async fn serve(options: RunOptions) -> Result<(), AppError> {
    let stop = Stop::new()?;
    let mut registry = Registry::with_prefix(metrics::PREFIX);
    let metrics = Metrics::new(&mut registry);
    let address = options.http;
    let listener = TcpListener::bind(address).await.map_err(|source| AppError::Listen { address, source })?;
    let probes = Probes::new(registry);
    // A task of its own: it answers whatever the rest waits for.
    let mut probing = JoinSet::new();
    probing.spawn(probes.clone().serve(listener));
    tokio::select! {
        Some(Ok(ended)) = probing.join_next() => ended.map_err(AppError::Http),
        ended = elect(options, metrics, probes, stop) => ended,
    }
}

async fn elect(options: RunOptions, metrics: Metrics, probes: Probes, mut stop: Stop) -> Result<(), AppError> {
    let api_server = ApiServer::find(metrics.clone()).await?;
    let client = api_server.client(None)?;
    let namespace = options.lease_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let mut election = Election::new(client, &namespace, options.identity.clone());
    let client = api_server.client(Some(election.leadership()))?;
    let acquired = tokio::select! {
        () = election.acquire(|| probes.ready()) => true,
        () = stop.asked() => false,
    };
    let ended = match acquired {
        true => lead(options, client, metrics, &mut election, stop).await,
        // Perhaps it has just been taken, and the answer is on its way.
        false => Ok(()),
    };
    // Who has lost it has nothing to give back.
    if !matches!(ended, Err(AppError::LeadershipLost(_))) {
        election.release().await;
    }
    ended
}

/// Runs the controllers for as long as the Lease is ours. When it is lost they are ended wherever they are.
async fn lead(
    options: RunOptions,
    client: Client,
    metrics: Metrics,
    election: &mut Election,
    mut stop: Stop,
) -> Result<(), AppError> {
    let RunOptions { namespaces, node_image, zookeeper_image, cluster_domain, .. } = options;
    let (wake, wakes) = mpsc::channel(WAITING_WAKES);
    let reconciler = Reconciler {
        client: client.clone(),
        defaults: Defaults { node_image, zookeeper_image, cluster_domain },
        applier: Applier::new(client.clone()),
        nodes: NodeObservers::new(waking(wake)),
        ensembles: Ensembles::default(),
        known: Mutex::default(),
    };
    metrics.leading(true);
    let shutdown = CancellationToken::new();
    let running = shutdown.clone();
    // A task of its own: the Lease is renewed while it computes.
    let mut controllers = AbortOnDropHandle::new(tokio::spawn(async move {
        controllers::run(client, &namespaces, Arc::new(reconciler), metrics, wakes, running).await;
    }));
    let mut keeping = pin!(election.keep());
    tokio::select! {
        lost = &mut keeping => return Err(lost.into()),
        _ = &mut controllers => return Err(AppError::ControllersEnded),
        () = stop.asked() => info!("asked to stop: finishing what is under way first"),
    }
    shutdown.cancel();
    tokio::select! {
        lost = &mut keeping => Err(lost.into()),
        ended = timeout(FINISH_WITHIN, controllers) => {
            if ended.is_err() {
                warn!("what is under way has not ended within {FINISH_WITHIN:?}: it is left, and taken up again later");
            }
            Ok(())
        }
    }
}

/// What nodes say wakes the reconciliation of their cluster.
fn waking(wake: mpsc::Sender<ObjectRef<KvCluster>>) -> impl Fn(&ClusterKey) + Send + Sync {
    // One sender: each clone of it would have a place of its own in the queue.
    let wake = Mutex::new(wake);
    move |key| {
        let cluster = ObjectRef::new(&key.name).within(&key.namespace);
        // One that finds no place is dropped: see `WAITING_WAKES`.
        let _ = wake.lock().unwrap_or_else(PoisonError::into_inner).try_send(cluster);
    }
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
