//! The settings as they are written: flags, environment and file alike.

use clap::Args;
use serde::{Deserialize, Serialize};

/// A node's settings, not checked yet. Each is text as on the command line, in the file too (numbers may be bare there).
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Stable name of this node, such as demo-0; 1 to 253 letters, digits, '-', '_' or '.'
    #[arg(long, env = "KV_NODE_NAME", value_name = "NAME", help_heading = "This node")]
    pub name: Option<String>,
    /// Where ZooKeeper is and the cluster's path in it: host:port,host:port/path
    #[arg(long, env = "KV_NODE_ZOOKEEPER", value_name = "HOSTS/PATH", help_heading = "This node")]
    pub zookeeper: Option<String>,
    /// Address for gRPC, of clients and of other nodes [default: 0.0.0.0:7400]
    #[arg(long, env = "KV_NODE_LISTEN", value_name = "IP:PORT", help_heading = "This node")]
    pub listen: Option<String>,
    /// Where clients and other nodes reach this node [default: the address it listens on, unless that is 0.0.0.0]
    #[arg(long, env = "KV_NODE_ADVERTISE", value_name = "HOST:PORT", help_heading = "This node")]
    pub advertise: Option<String>,
    /// Address for /livez, /readyz and /metrics [default: 0.0.0.0:7480]
    #[arg(long, env = "KV_NODE_HTTP", value_name = "IP:PORT", help_heading = "This node")]
    pub http: Option<String>,
    /// Directory of the volume for shards whose home this node is
    #[arg(long, env = "KV_NODE_DATA", value_name = "DIR", help_heading = "This node")]
    pub data: Option<String>,
    /// Directory of the volume for copies of other nodes' shards
    #[arg(long, env = "KV_NODE_BKPDATA", value_name = "DIR", help_heading = "This node")]
    pub bkpdata: Option<String>,
    /// Where the node stands: copies are kept in different zones when possible
    #[arg(long, env = "KV_NODE_ZONE", value_name = "ZONE", help_heading = "This node")]
    pub zone: Option<String>,

    /// Nodes that the first master waits for, at most 3 s, before it makes the shards [default: 1]
    #[arg(long, env = "KV_NODE_NODES", value_name = "N", help_heading = "A new cluster")]
    pub nodes: Option<String>,
    /// Copies of each shard, 0 to 7; 0: two [default: 0]
    #[arg(long, env = "KV_NODE_COPIES", value_name = "N", help_heading = "A new cluster")]
    pub copies: Option<String>,
    /// Shards to begin with, 1 to 256 [default: 12]
    #[arg(long, env = "KV_NODE_SHARDS", value_name = "N", help_heading = "A new cluster")]
    pub shards: Option<String>,
    /// Keys at which the first shards part, instead of evenly: text or 0x…, ascending, with commas between
    #[arg(long, env = "KV_NODE_SPLIT_KEYS", value_name = "KEYS", help_heading = "A new cluster")]
    pub split_keys: Option<String>,
    /// In-sync copies below which writes are refused, 1 to the number of copies [default: 1]
    #[arg(long, env = "KV_NODE_MIN_IN_SYNC", value_name = "N", help_heading = "A new cluster")]
    pub min_in_sync: Option<String>,
    /// Length of the lease that a copy grants the primary, 100ms to 10s [default: 800ms]
    #[arg(long, env = "KV_NODE_LEASE", value_name = "DURATION", help_heading = "A new cluster")]
    pub lease: Option<String>,

    /// Session timeout with ZooKeeper, 1s to 60s [default: 6s]
    #[arg(long, env = "KV_NODE_SESSION_TIMEOUT", value_name = "DURATION", help_heading = "Failures")]
    pub session_timeout: Option<String>,
    /// A home that stays away longer is replaced, 1s to 7days [default: 10m]
    #[arg(long, env = "KV_NODE_REHOME_AFTER", value_name = "DURATION", help_heading = "Failures")]
    pub rehome_after: Option<String>,

    /// Longest value, 1KiB to 16MiB; the same on every node [default: 1MiB]
    #[arg(long, env = "KV_NODE_VALUE_LIMIT", value_name = "SIZE", help_heading = "Limits")]
    pub value_limit: Option<String>,
    /// Connections of clients, 1 to 1000000 [default: 10000]
    #[arg(long, env = "KV_NODE_MAX_CONNECTIONS", value_name = "N", help_heading = "Limits")]
    pub max_connections: Option<String>,
    /// Requests in flight on each stream, and of all unary calls together, 1 to 1000000 [default: 8192]
    #[arg(long, env = "KV_NODE_MAX_IN_FLIGHT", value_name = "N", help_heading = "Limits")]
    pub max_in_flight: Option<String>,
    /// Open watches, 1 to 1000000 [default: 10000]
    #[arg(long, env = "KV_NODE_MAX_WATCHERS", value_name = "N", help_heading = "Limits")]
    pub max_watchers: Option<String>,
    /// How long a request is tried that doesn't say itself, 10ms to 60s [default: 5s]
    #[arg(long, env = "KV_NODE_REQUEST_TIMEOUT", value_name = "DURATION", help_heading = "Limits")]
    pub request_timeout: Option<String>,

    /// Log kept for copies that were away, a volume, 1MiB to 1TiB [default: 256MiB]
    #[arg(long, env = "KV_NODE_LOG_RETENTION", value_name = "SIZE", help_heading = "Storage")]
    pub log_retention: Option<String>,
    /// Size of a segment of the log, 1MiB to 1GiB [default: 64MiB]
    #[arg(long, env = "KV_NODE_SEGMENT_SIZE", value_name = "SIZE", help_heading = "Storage")]
    pub segment_size: Option<String>,
    /// Size at which a table in memory is written to the disk, 1MiB to 1GiB [default: 16MiB]
    #[arg(long, env = "KV_NODE_MEMTABLE_SIZE", value_name = "SIZE", help_heading = "Storage")]
    pub memtable_size: Option<String>,
    /// Size at which a shard is split, 1MiB to 1TiB [default: 256MiB]
    #[arg(long, env = "KV_NODE_SPLIT_SIZE", value_name = "SIZE", help_heading = "Storage")]
    pub split_size: Option<String>,

    /// text or json [default: text]
    #[arg(long, env = "KV_NODE_LOG_FORMAT", value_name = "FORMAT", help_heading = "Process")]
    pub log_format: Option<String>,
    /// current-thread or multi-thread [default: multi-thread]
    #[arg(long, env = "KV_NODE_RUNTIME", value_name = "KIND", help_heading = "Process")]
    pub runtime: Option<String>,
}
