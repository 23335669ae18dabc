use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The shards that a cluster begins with. They split by themselves as they grow.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.initial) && has(self.splitKeys))").message("shards: write either initial, the number of shards, or splitKeys, where they part"))]
pub struct Shards {
    /// How many, parted evenly by the first two bytes of keys. Default: 12.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub initial: Option<i32>,
    /// Where they part instead: keys in ascending order, as text or as `0x…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), inner(length(min = 1, max = 512), pattern(r"^[^,\s]+$")))]
    pub split_keys: Option<Vec<String>>,
}

/// Settings of the nodes; each is a flag of `kv-node` (docs/configuration.md). Durations as `800ms`, `6s`, `10m`; sizes as
/// `64KiB`, `16MiB`, `1GiB`.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// How long a copy waits before it takes over, 100 ms to 10 s. Default: 800ms. Fixed at creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), pattern(r"^[0-9]+(ms|s)$"))]
    pub lease: Option<String>,
    /// How soon ZooKeeper gives up on a node, which is how long the master's role waits, 1 s to 60 s. Default: 6s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), pattern(r"^[0-9]+(ms|s|m)$"))]
    pub session_timeout: Option<String>,
    /// A node that stays away longer is replaced: its copies are made elsewhere, 1 s to 7 days. Default: 10m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), pattern(r"^[0-9]+(s|m|h|d)$"))]
    pub rehome_after: Option<String>,
    /// The longest value, 1 KiB to 16 MiB. Default: 1MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), pattern(r"^[0-9]+(KiB|MiB)?$"))]
    pub value_limit: Option<String>,
    /// How long a request is tried that does not say itself how long its client waits, 10 ms to 60 s. Default: 5s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), pattern(r"^[0-9]+(ms|s|m)$"))]
    pub request_timeout: Option<String>,
    /// Log that each volume keeps at least for copies that were away, 1 MiB to 1 TiB. Default: 256MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), pattern(r"^[0-9]+(KiB|MiB|GiB|TiB)?$"))]
    pub log_retention: Option<String>,
    /// Size at which the table in memory is written to the disk, for each volume, 1 MiB to 1 GiB. Default: 16MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), pattern(r"^[0-9]+(KiB|MiB|GiB)?$"))]
    pub memtable_size: Option<String>,
    /// Size at which a shard is split, 1 MiB to 1 TiB. Default: 256MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), pattern(r"^[0-9]+(KiB|MiB|GiB|TiB)?$"))]
    pub split_size: Option<String>,
    /// How the nodes log.
    #[serde(default)]
    pub log_format: LogFormat,
    /// What the nodes log, such as `info,kv_replication=debug`. Default: `info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub log_filter: Option<String>,
}

/// The form of the nodes' log.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    #[default]
    Json,
}
