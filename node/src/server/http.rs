//! Probes and metrics over HTTP, from the process's first moment to its last.

use std::sync::{Arc, OnceLock};

use axum::{
    Router,
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use super::ServeError;
use crate::driver::Driver;

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers `/livez`, `/readyz` and `/metrics`. Serve it before the node is started: a node that waits for ZooKeeper is alive,
/// and says what it waits for. Cheap to clone.
#[derive(Clone)]
pub struct Probes {
    starting: Arc<str>,
    started: Arc<OnceLock<Started>>,
}

struct Started {
    driver: Driver,
    registry: Registry,
}

impl Probes {
    /// `starting` is what `/readyz` gives as the reason until the node has started.
    #[must_use]
    pub fn new(starting: String) -> Self {
        Self { starting: starting.into(), started: Arc::default() }
    }

    /// Serves until the future is dropped.
    ///
    /// # Errors
    /// [`ServeError::Http`].
    pub async fn serve(self, listener: TcpListener) -> Result<(), ServeError> {
        let router = Router::new()
            .route("/livez", get(|| async { "alive\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self);
        axum::serve(listener, router).await.map_err(ServeError::Http)
    }

    /// From now on the answers are the driver's. Only the first call counts.
    pub(super) fn begin(&self, driver: Driver, registry: Registry) {
        let _ = self.started.set(Started { driver, registry });
    }
}

type Unavailable = (StatusCode, String);

async fn ready(State(probes): State<Probes>) -> Result<&'static str, Unavailable> {
    let ready = match probes.started.get() {
        Some(started) => started.driver.ready(),
        None => Err(probes.starting.as_ref().to_owned()),
    };
    ready.map(|()| "ready\n").map_err(unavailable)
}

async fn metrics(State(probes): State<Probes>) -> Result<impl IntoResponse, Unavailable> {
    let Some(Started { registry, .. }) = probes.started.get() else {
        return Err(unavailable(probes.starting.as_ref().to_owned()));
    };
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("metrics can't be written: {error}\n")))?;
    let headers: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, METRICS_TYPE)];
    Ok((headers, text))
}

fn unavailable(reason: String) -> Unavailable {
    (StatusCode::SERVICE_UNAVAILABLE, reason + "\n")
}
