//! Flags, environment and file → [`ValidatedConfig`]. Nothing downstream reads raw input again.

mod file;
mod settings;
mod values;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Parser, Subcommand, ValueEnum};
use kv_cluster::Bootstrap;
use kv_types::{Limits, NodeName};

pub use settings::Settings;

use crate::{driver::DriverOptions, server::ServerOptions, telemetry::LogFormat};
use values::{Setting, resolved};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7400);
const DEFAULT_HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7480);
const MAX_ZONE_BYTES: usize = 256;

/// The command line of `kv-node`.
#[derive(Parser, Debug)]
#[command(
    name = "kv-node",
    version,
    about = "One node of a KvCluster: a highly available, linearizable key-value store"
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: NodeCommand,
}

/// What `kv-node` can do.
#[derive(Subcommand, Debug)]
pub enum NodeCommand {
    /// Runs the node until SIGTERM or SIGINT, then hands over what it serves and ends
    ///
    /// A setting is taken from its flag, else from its environment variable, else from the file, else it has its default.
    /// Sizes are written as 64KiB, 16MiB, 1GiB or in bytes; durations as 800ms, 6s, 10m. The filter of the log is taken
    /// from KV_LOG, such as info,kv_replication=debug.
    Run(Box<RunArguments>),
}

/// The arguments of `kv-node run`.
#[derive(clap::Args, Debug)]
pub struct RunArguments {
    /// JSON object with settings named like the flags, for those that are given neither as flag nor in the environment
    #[arg(long, env = "KV_NODE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// The asynchronous runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RuntimeKind {
    /// One thread for everything but the volumes: least CPU for each request.
    CurrentThread,
    /// One thread for each core but one, which is left to the volumes' threads; at least one.
    #[default]
    MultiThread,
}

/// A node's settings, within their bounds.
#[derive(Clone, Debug)]
pub struct ValidatedConfig {
    /// This node.
    pub name: NodeName,
    /// `host:port,host:port/path`.
    pub zookeeper: String,
    /// Where gRPC listens.
    pub listen: SocketAddr,
    /// Where others reach this node, `host:port`.
    pub advertise: String,
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// Directory of the `data` volume.
    pub data: PathBuf,
    /// Directory of the `bkpdata` volume; another one, and neither within the other.
    pub bkpdata: PathBuf,
    /// Where the node stands.
    pub zone: Option<String>,
    /// How the cluster begins, if this is its first node.
    pub bootstrap: Bootstrap,
    /// Session timeout T.
    pub session_timeout: Duration,
    /// A home that stays away longer is replaced.
    pub rehome_after: Duration,
    /// Bounds on requests.
    pub limits: Limits,
    /// Connections of clients.
    pub max_connections: usize,
    /// Requests in flight on a stream, and of all unary calls.
    pub max_in_flight: usize,
    /// Open watches.
    pub max_watchers: usize,
    /// For requests that don't say how long their client waits.
    pub request_timeout: Duration,
    /// Bytes of log that are kept at least, a volume.
    pub log_retention: u64,
    /// Bytes of a segment of the log.
    pub segment_size: u64,
    /// Bytes at which a table in memory is written to the disk.
    pub memtable_size: u64,
    /// Bytes at which a shard is split.
    pub split_size: u64,
    /// How a line of the log looks.
    pub log_format: LogFormat,
    /// The asynchronous runtime.
    pub runtime: RuntimeKind,
}

/// A setting that can't be used: names it, what was given, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    fn missing(flag: &str, example: &str) -> Self {
        let variable = format!("KV_NODE_{}", flag.trim_start_matches("--").replace('-', "_").to_uppercase());
        Self(format!("{flag} is missing: write {example} (or set {variable})"))
    }

    fn wrong(flag: &str, value: impl fmt::Debug, wanted: &str) -> Self {
        Self(format!("{flag} is {value:?}: it must be {wanted}"))
    }

    fn file(path: &Path, problem: String) -> Self {
        Self(format!("--config {}: {problem}", path.display()))
    }
}

impl ValidatedConfig {
    /// Reads the file, if one is named, and checks everything.
    ///
    /// # Errors
    /// The first [`ConfigError`].
    pub fn from_arguments(arguments: Arguments) -> Result<Self, ConfigError> {
        let Arguments { command: NodeCommand::Run(run) } = arguments;
        let RunArguments { config, settings } = *run;
        let settings = match config {
            Some(path) => file::overlay(settings, &path)?,
            None => settings,
        };
        Self::from_settings(&settings)
    }

    /// Checks settings.
    ///
    /// # Errors
    /// The first [`ConfigError`].
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let seconds = Duration::from_secs;
        let millis = Duration::from_millis;
        let name = Setting::new("--name", &settings.name);
        let name = NodeName::new(name.required("--name followed by a stable name, such as demo-0")?)
            .map_err(|problem| ConfigError(format!("--name: {problem}")))?;
        let zookeeper = Setting::new("--zookeeper", &settings.zookeeper).zookeeper()?.to_owned();
        let listen = Setting::new("--listen", &settings.listen).socket(DEFAULT_LISTEN)?;
        let http = Setting::new("--http", &settings.http).socket(DEFAULT_HTTP)?;
        if http == listen {
            return Err(ConfigError::wrong("--http", http, "another address than --listen"));
        }
        let (data, bkpdata) = volumes(settings)?;
        let zone = settings.zone.clone().filter(|zone| !zone.is_empty());
        if zone.as_ref().is_some_and(|zone| zone.len() > MAX_ZONE_BYTES) {
            return Err(Setting::new("--zone", &settings.zone).wrong(&format!("at most {MAX_ZONE_BYTES} bytes long")));
        }
        let value_limit = Setting::new("--value-limit", &settings.value_limit).size(MIB, 1024..=16 * MIB)?;
        Ok(Self {
            name,
            zookeeper,
            listen,
            advertise: advertised(settings, listen)?,
            http,
            data,
            bkpdata,
            zone,
            bootstrap: bootstrap(settings)?,
            session_timeout: Setting::new("--session-timeout", &settings.session_timeout)
                .duration(seconds(6), seconds(1)..=seconds(60))?,
            rehome_after: Setting::new("--rehome-after", &settings.rehome_after)
                .duration(seconds(600), seconds(1)..=seconds(7 * 24 * 3600))?,
            limits: limits(value_limit),
            max_connections: Setting::new("--max-connections", &settings.max_connections)
                .number(10_000, 1..=1_000_000)?,
            max_in_flight: Setting::new("--max-in-flight", &settings.max_in_flight).number(8192, 1..=1_000_000)?,
            max_watchers: Setting::new("--max-watchers", &settings.max_watchers).number(10_000, 1..=1_000_000)?,
            request_timeout: Setting::new("--request-timeout", &settings.request_timeout)
                .duration(seconds(5), millis(10)..=seconds(60))?,
            log_retention: Setting::new("--log-retention", &settings.log_retention).size(256 * MIB, MIB..=TIB)?,
            segment_size: Setting::new("--segment-size", &settings.segment_size).size(64 * MIB, MIB..=GIB)?,
            memtable_size: Setting::new("--memtable-size", &settings.memtable_size).size(16 * MIB, MIB..=GIB)?,
            split_size: Setting::new("--split-size", &settings.split_size).size(256 * MIB, MIB..=TIB)?,
            log_format: Setting::new("--log-format", &settings.log_format).choice(LogFormat::default())?,
            runtime: Setting::new("--runtime", &settings.runtime).choice(RuntimeKind::default())?,
        })
    }

    /// What the driver needs of it.
    #[must_use]
    pub fn driver_options(&self) -> DriverOptions {
        DriverOptions {
            node: self.name.clone(),
            zookeeper: self.zookeeper.clone(),
            advertise: self.advertise.clone(),
            data: self.data.clone(),
            bkpdata: self.bkpdata.clone(),
            zone: self.zone.clone(),
            session_timeout: self.session_timeout,
            bootstrap: self.bootstrap.clone(),
            rehome_after: self.rehome_after,
            limits: self.limits,
            segment_bytes: self.segment_size,
            log_retention: self.log_retention,
            memtable_bytes: self.memtable_size,
            split_bytes: self.split_size,
        }
    }

    /// What the server needs of it.
    #[must_use]
    pub fn server_options(&self) -> ServerOptions {
        ServerOptions {
            cluster_name: self.cluster_name().to_owned(),
            max_connections: self.max_connections,
            max_in_flight: self.max_in_flight,
            max_watchers: self.max_watchers,
            request_timeout: self.request_timeout,
        }
    }

    /// The last part of the path in ZooKeeper.
    #[must_use]
    pub fn cluster_name(&self) -> &str {
        self.zookeeper.rsplit('/').next().unwrap_or_default()
    }
}

fn limits(value_limit: u64) -> Limits {
    let value_bytes = usize::try_from(value_limit).unwrap_or(usize::MAX);
    let Limits { batch_bytes, .. } = Limits::default();
    // A batch can carry at least one value.
    Limits { value_bytes, batch_bytes: batch_bytes.max(value_bytes + Limits::MAX_KEY_BYTES), ..Limits::default() }
}

fn volumes(settings: &Settings) -> Result<(PathBuf, PathBuf), ConfigError> {
    const EXAMPLE: &str = "the directory of a volume, such as";
    let data = Setting::new("--data", &settings.data).required(&format!("--data and {EXAMPLE} /var/lib/kv/data"))?;
    let bkpdata = Setting::new("--bkpdata", &settings.bkpdata);
    let path = bkpdata.required(&format!("--bkpdata and {EXAMPLE} /var/lib/kv/bkpdata"))?;
    let (one, other) = (resolved(Path::new(data)), resolved(Path::new(path)));
    if one.starts_with(&other) || other.starts_with(&one) {
        return Err(bkpdata.wrong(&format!("another directory than --data ({data:?}), and neither within the other")));
    }
    Ok((data.into(), path.into()))
}

fn advertised(settings: &Settings, listen: SocketAddr) -> Result<String, ConfigError> {
    let advertise = Setting::new("--advertise", &settings.advertise);
    match advertise.value {
        Some(address) => advertise.host_port(address),
        None if listen.ip().is_unspecified() => Err(ConfigError::missing(
            "--advertise",
            "--advertise host:port, where clients and other nodes reach this node",
        )),
        None => Ok(listen.to_string()),
    }
}

fn bootstrap(settings: &Settings) -> Result<Bootstrap, ConfigError> {
    let Bootstrap { lease, initial_shards, expected_nodes, grace, .. } = Bootstrap::default();
    let copies = Setting::new("--copies", &settings.copies).number(0, 0..=7)?;
    let split_keys = Setting::new("--split-keys", &settings.split_keys);
    let bootstrap = Bootstrap {
        copies,
        lease: Setting::new("--lease", &settings.lease)
            .duration(lease, Duration::from_millis(100)..=Duration::from_secs(10))?,
        min_in_sync_copies: Setting::new("--min-in-sync", &settings.min_in_sync)
            .number(1, 1..=if copies == 0 { 2 } else { copies })?,
        initial_shards: Setting::new("--shards", &settings.shards).number(initial_shards, 1..=Bootstrap::MAX_SHARDS)?,
        split_keys: split_keys.keys()?,
        expected_nodes: Setting::new("--nodes", &settings.nodes).number(expected_nodes, 1..=1000)?,
        grace,
    };
    let most = Bootstrap::MAX_SHARDS - 1;
    if bootstrap.split_keys.len() > most as usize {
        return Err(split_keys.wrong(&format!("at most {most} keys")));
    }
    Ok(bootstrap)
}
