//! What the node has and is, sampled when metrics are asked for.

use std::fmt;

use kv_replication::core::RoleReport;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::gauge::ConstGauge,
    registry::Registry,
};

use super::volume_metrics;
use crate::driver::{Driver, request::CopyReport};

/// Adds the gauges of a node and its copies.
pub(super) fn register(registry: &mut Registry, driver: Driver) {
    registry.register_collector(Box::new(NodeMetrics { driver }));
}

struct NodeMetrics {
    driver: Driver,
}

impl fmt::Debug for NodeMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeMetrics").field("node", self.driver.node()).finish_non_exhaustive()
    }
}

/// A gauge of a copy: name, help, value.
type CopyGauge = (&'static str, &'static str, fn(&CopyReport) -> u64);

const COPY_GAUGES: [CopyGauge; 7] = [
    ("copy_primary", "1 if the copy leads its shard", |copy| leads(copy).into()),
    ("copy_in_sync", "1 if the copy is in its shard's in-sync set", |copy| in_sync(copy).into()),
    ("copy_epoch", "Newest epoch of the shard that the copy knows", |copy| {
        copy.core.config.as_ref().map_or(0, |config| config.epoch.0)
    }),
    ("copy_last_seq", "Last entry of the copy's log", |copy| copy.core.last.seq.0),
    ("copy_commit_seq", "Last entry that the copy knows to be committed", |copy| copy.core.commit.0),
    ("copy_applied_seq", "Last entry that is in the copy's table", |copy| copy.applied.seq.0),
    ("copy_size_bytes", "About, of keys and values", |copy| copy.size_bytes),
];

impl Collector for NodeMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let driver = &self.driver;
        let copies = driver.copies();
        for (name, help, value) in COPY_GAUGES {
            let samples = copies.iter().map(|copy| (of_copy(copy), value(copy)));
            family(&mut encoder, name, help, samples)?;
        }
        let lags = copies.iter().flat_map(lags);
        family(&mut encoder, "follower_lag_entries", "Entries that a follower has not acknowledged yet", lags)?;
        let volumes = driver.volume_stats().map(|(folder, stats)| ([("folder", folder.to_string())], stats));
        volume_metrics::encode(&mut encoder, &volumes)?;

        let cluster = driver.cluster();
        let view = cluster.view();
        let role = [([("role", view.role(driver.node()).to_string())], 1)];
        family(&mut encoder, "node_role", "What the node is: master, sub-master, slave or gone", role)?;
        let age = u64::try_from(cluster.age().as_millis()).unwrap_or(u64::MAX);
        for (name, help, value) in [
            ("node_ready", "1 if the node is ready", u64::from(driver.ready().is_ok())),
            ("node_ceased", "1 if the node is cut off and has ceased to serve", driver.is_ceased().into()),
            ("node_registered", "1 if the node is in the line of members", cluster.is_registered().into()),
            ("zookeeper_age_millis", "Since the last request to ZooKeeper that it acknowledged", age),
            ("cluster_nodes_registered", "Registered nodes, as far as this node knows", view.members.len() as u64),
            ("cluster_shards", "Shards, as far as this node knows", view.shards.len() as u64),
        ] {
            let metric = ConstGauge::new(signed(value));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        Ok(())
    }
}

fn family<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = ([(&'static str, String); N], u64)>,
) -> fmt::Result {
    let kind = ConstGauge::new(0_i64).metric_type();
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in samples {
        ConstGauge::new(signed(value)).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn of_copy(copy: &CopyReport) -> [(&'static str, String); 2] {
    [("shard", copy.shard.to_string()), ("folder", copy.folder.to_string())]
}

fn leads(copy: &CopyReport) -> bool {
    matches!(copy.core.role, RoleReport::Primary { .. })
}

fn in_sync(copy: &CopyReport) -> bool {
    copy.core.config.as_ref().is_some_and(|config| config.is_in_sync(copy.volume))
}

fn lags(copy: &CopyReport) -> Vec<([(&'static str, String); 2], u64)> {
    let RoleReport::Primary { followers, .. } = &copy.core.role else { return Vec::new() };
    let lag = |matched: u64| copy.core.last.seq.0.saturating_sub(matched);
    let label = |volume: String| [("shard", copy.shard.to_string()), ("volume", volume)];
    followers.iter().map(|follower| (label(follower.volume.to_string()), lag(follower.matched.0))).collect()
}
