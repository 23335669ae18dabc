//! Probes and metrics over HTTP.

use std::{io, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::driver::Driver;

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves `/livez`, `/readyz` and `/metrics` until the future is dropped.
pub(super) async fn serve(listener: TcpListener, driver: Driver, registry: Registry) -> io::Result<()> {
    let registry = Arc::new(registry);
    let router = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready).with_state(driver))
        .route("/metrics", get(metrics).with_state(registry));
    axum::serve(listener, router).await
}

async fn ready(State(driver): State<Driver>) -> (StatusCode, String) {
    match driver.ready() {
        Ok(()) => (StatusCode::OK, "ready\n".into()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Result<impl IntoResponse, StatusCode> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let headers: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, METRICS_TYPE)];
    Ok((headers, text))
}
