//! What the operator counts. Registered where it is told to, never globally.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::api::ClusterPhase;

/// The beginning of every name: `kv_operator_reconciles_total`.
pub const PREFIX: &str = "kv_operator";

const PHASES: [(ClusterPhase, &str); 7] = [
    (ClusterPhase::Creating, "Creating"),
    (ClusterPhase::Running, "Running"),
    (ClusterPhase::Updating, "Updating"),
    (ClusterPhase::Degraded, "Degraded"),
    (ClusterPhase::Unavailable, "Unavailable"),
    (ClusterPhase::Invalid, "Invalid"),
    (ClusterPhase::Paused, "Paused"),
];

const RESULTS: [&str; 2] = ["ok", "failed"];

/// The operator's counters. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    reconciles: Family<Label, Counter>,
    reconcile_duration: Histogram,
    clusters: Family<Label, Gauge>,
    phases: Mutex<BTreeMap<(String, String), ClusterPhase>>,
    leading: Gauge,
    api_requests: Family<Label, Counter>,
}

type Label = [(&'static str, &'static str); 1];

impl Metrics {
    /// Registers everything; the registry gives the names their [`PREFIX`].
    pub fn new(registry: &mut Registry) -> Self {
        let inner = Inner {
            reconciles: Family::default(),
            // 1 ms to 33 s.
            reconcile_duration: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            clusters: Family::default(),
            phases: Mutex::default(),
            leading: Gauge::default(),
            api_requests: Family::default(),
        };
        // They are there from the beginning: an alarm on a rate misses the first of a series that appears with it.
        for result in RESULTS {
            let _ = inner.reconciles.get_or_create_owned(&[("result", result)]);
        }
        for (_, phase) in PHASES {
            let _ = inner.clusters.get_or_create_owned(&[("phase", phase)]);
        }
        registry.register("reconciles", "Rounds of reconciliation, by result", inner.reconciles.clone());
        let help = "How long a round of reconciliation took";
        registry.register_with_unit("reconcile_duration", help, Unit::Seconds, inner.reconcile_duration.clone());
        registry.register("clusters", "Clusters that are looked after, by phase", inner.clusters.clone());
        registry.register("leading", "1 while this operator holds the Lease", inner.leading.clone());
        let help = "Requests to the API server, by verb; a watch is one request";
        registry.register("api_requests", help, inner.api_requests.clone());
        Self { inner: Arc::new(inner) }
    }

    /// A round of reconciliation begins.
    #[must_use]
    pub fn round(&self) -> RoundTimer {
        RoundTimer { inner: Arc::clone(&self.inner), begun: Instant::now() }
    }

    /// A cluster is in this phase now; none: it is gone.
    pub fn cluster(&self, namespace: &str, name: &str, phase: Option<ClusterPhase>) {
        let mut phases = self.inner.phases.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), name.to_owned());
        let before = match phase {
            Some(phase) => phases.insert(key, phase),
            None => phases.remove(&key),
        };
        let gauge = |phase| {
            let named = PHASES.iter().find(|(of, _)| *of == phase).map(|(_, label)| *label);
            self.inner.clusters.get_or_create_owned(&[("phase", named.unwrap_or_default())])
        };
        if let Some(phase) = before {
            gauge(phase).dec();
        }
        if let Some(phase) = phase {
            gauge(phase).inc();
        }
    }

    /// Whether this operator holds the Lease.
    pub fn leading(&self, leading: bool) {
        self.inner.leading.set(leading.into());
    }

    /// A request is sent to the API server.
    pub fn api_request(&self, verb: &'static str) {
        self.inner.api_requests.get_or_create(&[("verb", verb)]).inc();
    }
}

/// A round of reconciliation that has begun. One that is dropped is not counted.
#[derive(Debug)]
pub struct RoundTimer {
    inner: Arc<Inner>,
    begun: Instant,
}

impl RoundTimer {
    /// It has ended.
    pub fn finish(self, ok: bool) {
        let [succeeded, failed] = RESULTS;
        self.inner.reconciles.get_or_create(&[("result", if ok { succeeded } else { failed })]).inc();
        self.inner.reconcile_duration.observe(self.begun.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn written(registry: &Registry) -> String {
        let mut text = String::new();
        encode(&mut text, registry).expect("metrics can be written");
        text
    }

    #[test]
    fn a_cluster_is_counted_in_its_newest_phase_only() {
        let mut registry = Registry::with_prefix(PREFIX);
        let metrics = Metrics::new(&mut registry);
        metrics.cluster("default", "demo", Some(ClusterPhase::Creating));
        metrics.cluster("default", "demo", Some(ClusterPhase::Running));
        metrics.cluster("other", "demo", Some(ClusterPhase::Running));
        let text = written(&registry);
        assert!(text.contains("kv_operator_clusters{phase=\"Creating\"} 0"), "{text}");
        assert!(text.contains("kv_operator_clusters{phase=\"Running\"} 2"), "{text}");
        metrics.cluster("other", "demo", None);
        metrics.cluster("other", "demo", None);
        assert!(written(&registry).contains("kv_operator_clusters{phase=\"Running\"} 1"));
    }

    #[test]
    fn metrics_have_the_names_that_charts_ask_for() {
        let mut registry = Registry::with_prefix(PREFIX);
        let metrics = Metrics::new(&mut registry);
        metrics.round().finish(false);
        metrics.leading(true);
        metrics.api_request("patch");
        let text = written(&registry);
        for line in [
            "kv_operator_reconciles_total{result=\"failed\"} 1",
            "kv_operator_reconciles_total{result=\"ok\"} 0",
            "kv_operator_reconcile_duration_seconds_count 1",
            "kv_operator_leading 1",
            "kv_operator_api_requests_total{verb=\"patch\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
