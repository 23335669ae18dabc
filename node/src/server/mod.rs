//! The node's edge: gRPC for clients and tools, HTTP for probes and metrics.
//!
//! ```text
//! connections ─> kv ─┬─> pipeline ──────────> driver      the fast path: what this node leads
//!                    └─> scan, watch, unary ─┐
//!                                  router <──┴─ what it doesn't lead, or can't do just now
//!                                    └─> channels ─> another node's kv
//! connections ─> cluster ─> description, driver, another node's cluster
//! ```
//!
//! `convert` stands between the wire's messages and the node's own types, both ways; `status` between failures and what
//! clients are told.

mod channels;
mod cluster;
mod connections;
mod convert;
mod describe;
mod dispatch;
mod edge;
mod http;
mod kv;
mod metrics;
mod node_metrics;
mod pipeline;
mod router;
mod scan;
mod status;
mod volume_metrics;
mod watch;

use std::{future::Future, sync::Arc, time::Duration};

use kv_proto::v1::{cluster_server::ClusterServer, kv_server::KvServer};
use kv_types::Limits;
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, time::sleep};
use tonic::service::{Routes, interceptor::InterceptedService};
use tonic_health::{ServingStatus, server::HealthReporter};

#[cfg(any(test, fuzzing))]
pub use convert::fuzz::client_request;
pub use http::Probes;
#[cfg(any(test, fuzzing))]
pub use watch::fuzz::watch_request;

use crate::driver::Driver;
use connections::{Admission, Connections};
use dispatch::Dispatch;
use edge::Edge;
use metrics::Metrics;

/// How long a server that closes waits for its clients.
const CLOSING_LIMIT: Duration = Duration::from_secs(2);
/// How often readiness is looked at for the health service.
const HEALTH_EVERY: Duration = Duration::from_millis(500);
/// A client that doesn't answer a ping within the second is disconnected.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Room for requests that the node has not read yet, in bytes.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Streams of one connection at a time; further ones wait at the client.
const MAX_STREAMS: u32 = 4096;

/// The bounds of the edge.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The cluster's name, for descriptions.
    pub cluster_name: String,
    /// Connections of clients; those of peers don't count.
    pub max_connections: usize,
    /// Requests in flight: on each pipelined stream, of all unary calls together, and of all that wait for another node.
    pub max_in_flight: usize,
    /// Open watches of keys and of the cluster's description together.
    pub max_watchers: usize,
    /// How long a request is tried that doesn't say how long its client waits.
    pub request_timeout: Duration,
}

/// Why the server ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The gRPC listener failed.
    #[error("the grpc server failed")]
    Grpc(#[source] tonic::transport::Error),
    /// The HTTP listener failed.
    #[error("the http server failed")]
    Http(#[source] std::io::Error),
    /// Reflection could not be set up.
    #[error("the reflection service can't be built")]
    Reflection(#[source] tonic_reflection::server::Error),
}

/// The edge of one node.
pub struct Server {
    edge: Arc<Edge>,
}

impl ServerOptions {
    /// Messages may be larger than what they may carry, so that what is too long is refused with the bound in the error
    /// instead of by the loss of the stream.
    fn max_message_bytes(&self, limits: &Limits) -> usize {
        const OTHER_FIELDS_BYTES: usize = 1 << 20;
        limits.batch_bytes.max(limits.value_bytes).max(limits.scan_page_bytes) * 2 + OTHER_FIELDS_BYTES
    }
}

impl Server {
    /// The edge of the node that `driver` drives; `probes` tell of it from now on. Must be called within a runtime.
    #[must_use]
    pub fn new(driver: Driver, options: ServerOptions, probes: &Probes) -> Self {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        node_metrics::register(&mut registry, driver.clone());
        probes.begin(driver.clone(), registry);
        Self { edge: Arc::new(Edge::new(driver, options, metrics)) }
    }

    /// Serves until `shutdown` is done and the clients have gone, or two seconds after it. `replica` is the service that
    /// peers use, on the same port.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve<F>(self, grpc: TcpListener, replica: Routes, shutdown: F) -> Result<(), ServeError>
    where
        F: Future<Output = ()> + Send,
    {
        let Self { edge } = self;
        let (reporter, health) = tonic_health::server::health_reporter();
        let dispatch = dispatch(&edge, replica.add_service(health))?;
        let incoming = Connections::new(grpc, edge.options.max_connections, edge.metrics.clone());
        let closing = edge.closing.clone();
        let serving = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(PING_EVERY))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(MAX_STREAMS)
            .serve_with_incoming_shutdown(dispatch, incoming, closing.clone().cancelled_owned());
        let asked = async {
            shutdown.await;
            closing.cancel();
            sleep(CLOSING_LIMIT).await;
        };
        tokio::select! {
            ended = serving => ended.map_err(ServeError::Grpc),
            () = report_health(&reporter, &edge.driver) => Ok(()),
            // Streams that are still open are dropped with the server.
            () = asked => Ok(()),
        }
    }
}

fn dispatch(edge: &Arc<Edge>, replica: Routes) -> Result<Dispatch, ServeError> {
    let admission = Admission { bound: edge.options.max_connections };
    let max_bytes = edge.options.max_message_bytes(edge.intake.limits());
    let kv = KvServer::new(kv::KvService { edge: Arc::clone(edge) })
        .max_decoding_message_size(max_bytes)
        .max_encoding_message_size(usize::MAX);
    let cluster = ClusterServer::new(cluster::ClusterService { edge: Arc::clone(edge) });
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(kv_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let others = replica
        .add_service(InterceptedService::new(cluster, admission))
        .add_service(reflection().build_v1().map_err(ServeError::Reflection)?)
        .add_service(reflection().build_v1alpha().map_err(ServeError::Reflection)?);
    Ok(Dispatch::new(kv, admission, others))
}

/// The overall health ("") is that of the process, for liveness; that of the services is the node's readiness.
async fn report_health(reporter: &HealthReporter, driver: &Driver) {
    loop {
        let status = if driver.ready().is_ok() { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["kv.v1.Kv", "kv.v1.Cluster"] {
            reporter.set_service_status(service, status).await;
        }
        sleep(HEALTH_EVERY).await;
    }
}
