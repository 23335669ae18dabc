//! Probes and metrics over HTTP, from the process's first moment to its last.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::net::TcpListener;

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const NOT_READY: &str = "the API server has not answered yet\n";

/// Answers `/livez`, `/readyz` and `/metrics`. Cheap to clone.
///
/// An operator is ready once the API server has answered it, whether it leads or not: one that waits for its turn is not to
/// hold up its own rollout.
#[derive(Clone, Debug)]
pub struct Probes {
    registry: Arc<Registry>,
    ready: Arc<AtomicBool>,
}

impl Probes {
    /// With everything registered whose values are to be shown.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self { registry: Arc::new(registry), ready: Arc::default() }
    }

    /// The API server has answered.
    pub fn ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Serves until the future is dropped.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        let router = Router::new()
            .route("/livez", get(|| async { "alive\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self);
        axum::serve(listener, router).await
    }
}

async fn ready(State(probes): State<Probes>) -> (StatusCode, &'static str) {
    match probes.ready.load(Ordering::Relaxed) {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, NOT_READY),
    }
}

async fn metrics(State(probes): State<Probes>) -> Result<impl IntoResponse, (StatusCode, String)> {
    let mut text = String::new();
    encode(&mut text, &probes.registry)
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("metrics can't be written: {error}\n")))?;
    let headers: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, METRICS_TYPE)];
    Ok((headers, text))
}
