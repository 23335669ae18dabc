//! What all handlers share.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use kv_proto::v1::{
    ErrorReason, pipeline_request::Request as WireRequest, pipeline_response::Response as WireResponse,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    ServerOptions,
    channels::Channels,
    convert::Intake,
    metrics::{Kind, Metrics},
    router::Router,
    status::ErrorAnswer,
};
use crate::driver::Driver;

/// Connections to each other node for watches alone: each carries at most [`super::MAX_STREAMS`] of them.
const WATCH_LANES: usize = 4;
/// Watches that other nodes may have here for each of their clients': one of all keys is passed on once for each shard.
const PEERS_WATCHES: usize = 16;

/// The node's side of all clients.
pub(crate) struct Edge {
    pub(crate) driver: Driver,
    pub(crate) options: ServerOptions,
    pub(crate) intake: Arc<Intake>,
    pub(crate) channels: Arc<Channels>,
    pub(crate) router: Router,
    pub(crate) metrics: Metrics,
    /// Set when the server is about to close.
    pub(crate) closing: CancellationToken,
    /// Answers come from threads that are not the runtime's.
    pub(crate) runtime: Handle,
    unary: Semaphore,
    passed_on: Arc<Semaphore>,
    watchers: Arc<Semaphore>,
    peers_watches: Arc<Semaphore>,
    watch_channels: [Channels; WATCH_LANES],
    lane: AtomicUsize,
}

impl Edge {
    /// Must be called within a runtime.
    pub(crate) fn new(driver: Driver, options: ServerOptions, metrics: Metrics) -> Self {
        let cluster = driver.cluster().cluster_uuid().to_string();
        let intake = Arc::new(Intake::new(cluster, *driver.limits(), options.request_timeout));
        let max_message_bytes = options.max_message_bytes(driver.limits());
        let channels = Arc::new(Channels::new(max_message_bytes));
        let peers_watches = options.max_watchers.saturating_mul(PEERS_WATCHES).min(Semaphore::MAX_PERMITS);
        let router = Router::new(driver.clone(), Arc::clone(&intake), Arc::clone(&channels), metrics.clone());
        Self {
            intake,
            channels,
            router,
            closing: CancellationToken::new(),
            runtime: Handle::current(),
            unary: Semaphore::new(options.max_in_flight),
            passed_on: Arc::new(Semaphore::new(options.max_in_flight)),
            watchers: Arc::new(Semaphore::new(options.max_watchers)),
            peers_watches: Arc::new(Semaphore::new(peers_watches)),
            watch_channels: std::array::from_fn(|_| Channels::new(max_message_bytes)),
            lane: AtomicUsize::new(0),
            driver,
            options,
            metrics,
        }
    }

    /// Answers a request that has not come by a pipeline.
    pub(crate) async fn answer(&self, request: WireRequest) -> Result<WireResponse, ErrorAnswer> {
        let Ok(_permit) = self.unary.try_acquire() else {
            let bound = self.options.max_in_flight;
            let text =
                format!("{bound} unary requests are in flight, the bound (--max-in-flight): send fewer at a time");
            return Err(ErrorAnswer::exhausted(text));
        };
        let kind = Kind::of(&request);
        let began = Instant::now();
        self.metrics.began();
        let deadline = began + self.intake.timeout(&request);
        let mut abandoned = Abandoned(Some(&self.metrics));
        let result = self.router.answer(request, deadline).await;
        abandoned.0 = None;
        let reason = result.as_ref().err().map_or(ErrorReason::Unspecified, ErrorAnswer::reason);
        self.metrics.ended(kind, reason, began.elapsed());
        result
    }

    /// Room for a request of a pipeline that has to be passed on or tried again.
    pub(crate) fn admit_passing_on(&self) -> Result<OwnedSemaphorePermit, ErrorAnswer> {
        Arc::clone(&self.passed_on).try_acquire_owned().map_err(|_| {
            let bound = self.options.max_in_flight;
            let text =
                format!("{bound} requests wait for another node, the bound (--max-in-flight): send fewer at a time");
            ErrorAnswer::exhausted(text)
        })
    }

    /// Room for a watch of keys or of the cluster's description.
    pub(crate) fn admit_watcher(&self) -> Result<OwnedSemaphorePermit, ErrorAnswer> {
        Arc::clone(&self.watchers).try_acquire_owned().map_err(|_| {
            let bound = self.options.max_watchers;
            ErrorAnswer::exhausted(format!("{bound} watches are open, the bound (--max-watchers): close one first"))
        })
    }

    /// Room for a watch that another node passes on.
    pub(crate) fn admit_peers_watch(&self) -> Result<OwnedSemaphorePermit, ErrorAnswer> {
        Arc::clone(&self.peers_watches).try_acquire_owned().map_err(|_| {
            let bound = self.options.max_watchers.saturating_mul(PEERS_WATCHES);
            let text =
                format!("other nodes have {bound} watches here, the bound ({PEERS_WATCHES} times --max-watchers)");
            ErrorAnswer::exhausted(text)
        })
    }

    /// The connections that a watch uses. Requests have others: thousands of watches do not keep them from a node.
    pub(crate) const fn watch_channels(&self, lane: usize) -> &Channels {
        &self.watch_channels[lane % WATCH_LANES]
    }

    /// Spreads watches over the connections.
    pub(crate) fn next_lane(&self) -> usize {
        self.lane.fetch_add(1, Ordering::Relaxed)
    }
}

/// Takes a request out of the count whose client went away before the answer.
struct Abandoned<'a>(Option<&'a Metrics>);

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(metrics) = self.0 {
            metrics.abandoned(1);
        }
    }
}
