//! What the server counts. Registered where it is told to, never globally, so that several nodes share a process.

use std::{sync::Arc, time::Duration};

use kv_proto::v1::{ErrorReason, pipeline_request::Request as WireRequest};
use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// The kinds of requests, as metrics tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    Put,
    Delete,
    Batch,
    OpenSession,
    Scan,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Get, Self::Put, Self::Delete, Self::Batch, Self::OpenSession, Self::Scan];

    pub(crate) const fn of(request: &WireRequest) -> Self {
        match request {
            WireRequest::Get(_) => Self::Get,
            WireRequest::Put(_) => Self::Put,
            WireRequest::Delete(_) => Self::Delete,
            WireRequest::Batch(_) => Self::Batch,
            WireRequest::OpenSession(_) => Self::OpenSession,
            WireRequest::Scan(_) => Self::Scan,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Batch => "batch",
            Self::OpenSession => "open_session",
            Self::Scan => "scan",
        }
    }
}

/// All reasons in the order of their numbers; the first stands for success.
const REASONS: [ErrorReason; 13] = [
    ErrorReason::Unspecified,
    ErrorReason::Invalid,
    ErrorReason::Exhausted,
    ErrorReason::NotAvailable,
    ErrorReason::OutcomeUnknown,
    ErrorReason::RevisionMismatch,
    ErrorReason::SessionExpired,
    ErrorReason::CrossShard,
    ErrorReason::WrongCluster,
    ErrorReason::Compacted,
    ErrorReason::NoSuch,
    ErrorReason::Fault,
    ErrorReason::Refused,
];

/// The server's counters. Those of the fast path are looked up once, here.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    by_kind: Vec<KindMetrics>,
    in_flight: Gauge,
    passed_on: Counter,
    retried: Counter,
    pipelines: Gauge,
    watchers: Gauge,
    connections: Gauge,
    refused_connections: Counter,
}

#[derive(Debug)]
struct KindMetrics {
    /// By [`REASONS`].
    results: Vec<Counter>,
    latency: Histogram,
}

type Labels<const N: usize> = [(&'static str, &'static str); N];

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let requests = Family::<Labels<2>, Counter>::default();
        // 50 µs to 13 s.
        let buckets = || Histogram::new(exponential_buckets(0.000_05, 2.0, 19));
        let latency = Family::<Labels<1>, Histogram, fn() -> Histogram>::new_with_constructor(buckets);
        let by_kind = Kind::ALL.map(|kind| {
            let result = |reason: &ErrorReason| {
                requests.get_or_create_owned(&[("kind", kind.label()), ("result", label(*reason))])
            };
            KindMetrics {
                results: REASONS.iter().map(result).collect(),
                latency: latency.get_or_create_owned(&[("kind", kind.label())]),
            }
        });
        registry.register("requests", "Requests answered, by kind and result", requests);
        let help = "From a request's arrival to its answer, by kind";
        registry.register_with_unit("request_duration", help, Unit::Seconds, latency);
        let inner = Inner {
            by_kind: by_kind.into(),
            in_flight: gauge(registry, "requests_in_flight", "Requests taken and not yet answered"),
            passed_on: counter(registry, "requests_passed_on", "Times a request was passed on to another node"),
            retried: counter(registry, "requests_retried", "Times a request was tried again for its client"),
            pipelines: gauge(registry, "pipelines", "Open pipelined streams"),
            watchers: gauge(registry, "watchers", "Open watches of keys and of the cluster's description"),
            connections: gauge(registry, "connections", "Open connections of clients and peers"),
            refused_connections: counter(registry, "connections_refused", "Connections closed at once, at the bound"),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A request was taken.
    pub(crate) fn began(&self) {
        self.inner.in_flight.inc();
    }

    /// A request was answered; without an error `reason` is `Unspecified`.
    pub(crate) fn ended(&self, kind: Kind, reason: ErrorReason, took: Duration) {
        self.inner.in_flight.dec();
        let metrics = &self.inner.by_kind[kind as usize];
        if let Some(counter) = metrics.results.get(reason as usize) {
            counter.inc();
        }
        metrics.latency.observe(took.as_secs_f64());
    }

    /// Requests will not be answered: their client has gone.
    pub(crate) fn abandoned(&self, requests: usize) {
        self.inner.in_flight.dec_by(i64::try_from(requests).unwrap_or(i64::MAX));
    }

    pub(crate) fn passed_on(&self) {
        self.inner.passed_on.inc();
    }

    pub(crate) fn retried(&self) {
        self.inner.retried.inc();
    }

    pub(crate) fn refused_connection(&self) {
        self.inner.refused_connections.inc();
    }

    /// Counts a pipeline for as long as the result lives.
    pub(crate) fn pipeline(&self) -> Counted {
        Counted::new(&self.inner.pipelines)
    }

    /// Counts a watcher for as long as the result lives.
    pub(crate) fn watcher(&self) -> Counted {
        Counted::new(&self.inner.watchers)
    }

    /// Counts a connection for as long as the result lives.
    pub(crate) fn connection(&self) -> Counted {
        Counted::new(&self.inner.connections)
    }
}

/// One of what a gauge counts.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

const fn label(reason: ErrorReason) -> &'static str {
    match reason {
        ErrorReason::Unspecified => "ok",
        ErrorReason::Invalid => "invalid",
        ErrorReason::Exhausted => "exhausted",
        ErrorReason::NotAvailable => "not_available",
        ErrorReason::OutcomeUnknown => "outcome_unknown",
        ErrorReason::RevisionMismatch => "revision_mismatch",
        ErrorReason::SessionExpired => "session_expired",
        ErrorReason::CrossShard => "cross_shard",
        ErrorReason::WrongCluster => "wrong_cluster",
        ErrorReason::Compacted => "compacted",
        ErrorReason::NoSuch => "no_such",
        ErrorReason::Fault => "fault",
        ErrorReason::Refused => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_and_reason_has_its_own_counter() {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
        for (at, reason) in REASONS.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
        }
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        metrics.began();
        metrics.ended(Kind::Put, ErrorReason::Refused, Duration::from_millis(1));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        assert!(text.contains("requests_total{kind=\"put\",result=\"refused\"} 1"), "{text}");
        assert!(text.contains("request_duration_seconds_count{kind=\"put\"} 1"), "{text}");
        assert!(text.contains("requests_in_flight 0"), "{text}");
    }
}
