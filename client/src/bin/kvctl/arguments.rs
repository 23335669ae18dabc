use std::{path::PathBuf, time::Duration};

use clap::{ArgMatches, Args, Parser, Subcommand, parser::ValueSource};
use clap_complete::Shell;
use kv_client::{ClientOptions, Discovery};

use crate::{
    bench::BenchArguments,
    exit::{self, Failed},
    format::Format,
    output::Output,
};

/// Uses and runs a KvCluster.
#[derive(Debug, Parser)]
#[command(name = "kvctl", version, after_help = exit::HELP, max_term_width = 120)]
pub struct Arguments {
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub formats: Formats,
    #[command(subcommand)]
    pub command: Command,
}

/// How the cluster is found.
#[derive(Args, Clone, Debug)]
pub struct Connection {
    /// Servers of ZooKeeper and the cluster's root: host:port,host:port/root.
    #[arg(long, global = true, env = "KVCTL_ZOOKEEPER", value_name = "SERVERS/ROOT")]
    zookeeper: Option<String>,
    /// Any nodes of the cluster: host:port, several with commas between.
    #[arg(long = "node", global = true, env = "KVCTL_NODE", value_name = "ADDRESS", value_delimiter = ',')]
    nodes: Vec<String>,
    /// Ask only the nodes given with --node, and not the one that they name as serving the key.
    #[arg(long, global = true)]
    direct: bool,
    /// UUID of the cluster that is meant: another one refuses.
    #[arg(long, global = true, value_name = "UUID")]
    cluster: Option<String>,
    /// How long a request may take with all its retries, such as 500ms or 10s [default: 10s; 60s for changes of the
    /// cluster].
    #[arg(long, global = true, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
}

#[derive(Args, Clone, Copy, Debug)]
pub struct Formats {
    /// How the result is printed. For scan and watch: lines with tabs, or one JSON object a line.
    #[arg(long, short, global = true, value_enum, default_value_t)]
    pub output: Output,
    /// How keys are given and printed.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub key_format: Format,
    /// How values are given and printed.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub value_format: Format,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the value of a key.
    Get {
        key: String,
        /// Write exactly the value's bytes, without a line end.
        #[arg(long)]
        raw: bool,
        /// Ask every copy instead of relying on the lease (correct without any assumption about clocks).
        #[arg(long)]
        confirmed: bool,
    },
    /// Set a key.
    Put(PutArguments),
    /// Delete a key.
    Delete {
        key: String,
        /// Only if the key has this revision.
        #[arg(long, value_name = "REVISION")]
        expected_revision: Option<u64>,
        /// Print what was deleted.
        #[arg(long)]
        previous: bool,
    },
    /// Print keys and values in order.
    Scan {
        #[command(flatten)]
        range: Range,
        /// At most so many keys.
        #[arg(long, default_value_t = 0, value_name = "KEYS", hide_default_value = true)]
        limit: u64,
        /// From the last key to the first.
        #[arg(long)]
        reverse: bool,
        /// Leave out the values.
        #[arg(long)]
        keys_only: bool,
    },
    /// Print changes as they happen.
    Watch {
        #[command(flatten)]
        range: Range,
        /// Go on after the change with this token (as printed with --output json).
        #[arg(long, value_name = "HEX")]
        token: Option<String>,
        /// End after so many changes.
        #[arg(long, value_name = "CHANGES")]
        count: Option<u64>,
    },
    /// Print whether the cluster is alive, its master and its nodes.
    Status,
    /// Print the shards and their copies.
    Shards,
    /// Move homes and copies off a node.
    Drain {
        node: String,
        /// Take the drain back.
        #[arg(long)]
        undo: bool,
        /// Wait until the node holds nothing (bounded by --timeout).
        #[arg(long, conflicts_with = "undo")]
        wait: bool,
    },
    /// Make another copy in sync the primary of a shard.
    Handover { shard: u64, node: String },
    /// Split a shard in two.
    Split {
        shard: u64,
        /// The first key of the new shard [default: the middle of a sample].
        #[arg(long, value_name = "KEY")]
        at: Option<String>,
    },
    /// Give a shard another home.
    Move { shard: u64, node: String },
    /// Make a copy that is not in sync the primary of a shard that is lost otherwise. Loses acknowledged writes.
    ForcePromote {
        shard: u64,
        node: String,
        /// All copies are destroyed: make the range anew, empty.
        #[arg(long)]
        empty: bool,
        /// Don't ask.
        #[arg(long)]
        yes: bool,
    },
    /// Write what the nodes know into a ZooKeeper that has lost all of it. Find the cluster by --node.
    RebuildZookeeper {
        /// Don't ask.
        #[arg(long)]
        yes: bool,
    },
    /// Measure throughput and latency.
    Bench(BenchArguments),
    /// Print a completion script.
    Completions { shell: Shell },
}

#[derive(Args, Debug)]
pub struct PutArguments {
    pub key: String,
    /// The value; "-" reads it from standard input.
    #[arg(required_unless_present = "file", conflicts_with = "file", allow_hyphen_values = true)]
    pub value: Option<String>,
    /// Read the value from a file.
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Only if the key has this revision.
    #[arg(long, value_name = "REVISION", conflicts_with = "must_not_exist")]
    pub expected_revision: Option<u64>,
    /// Only if the key does not exist.
    #[arg(long)]
    pub must_not_exist: bool,
    /// Delete the key this long after, such as 30s or 2h.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub ttl: Option<Duration>,
    /// Print what was replaced.
    #[arg(long)]
    pub previous: bool,
}

/// Which keys; all without any of these.
#[derive(Args, Debug)]
pub struct Range {
    /// Keys that begin with this.
    #[arg(long, conflicts_with_all = ["start", "end"])]
    pub prefix: Option<String>,
    /// From this key on.
    #[arg(long, value_name = "KEY")]
    pub start: Option<String>,
    /// Up to this key, without it.
    #[arg(long, value_name = "KEY")]
    pub end: Option<String>,
}

impl Command {
    /// Threads for the work; more than one core is of use to a measurement only.
    pub fn threads(&self) -> usize {
        match self {
            Self::Bench(bench) => bench.threads(),
            _ => 1,
        }
    }

    fn default_timeout(&self) -> Duration {
        match self {
            Self::Drain { .. }
            | Self::Handover { .. }
            | Self::Split { .. }
            | Self::Move { .. }
            | Self::ForcePromote { .. }
            | Self::RebuildZookeeper { .. } => Duration::from_secs(60),
            _ => Duration::from_secs(10),
        }
    }
}

impl Connection {
    /// Where to look. What was typed goes before the environment.
    pub fn resolve(&self, matches: &ArgMatches) -> Result<Discovery, Failed> {
        let given = |name: &str| given(matches, name);
        let zookeeper = self.zookeeper.clone().map(|zookeeper| (given("zookeeper"), Discovery::ZooKeeper(zookeeper)));
        let node = (!self.nodes.is_empty()).then(|| (given("nodes"), Discovery::Nodes(self.nodes.clone())));
        let discovery = match (zookeeper, node) {
            (None, None) => {
                return Err(Failed::usage("where is the cluster? give --zookeeper host:port/root or --node host:port"));
            }
            (Some((_, found)), None) | (None, Some((_, found))) => found,
            (Some((true, _)), Some((true, _))) => return Err(Failed::usage("give --zookeeper or --node, not both")),
            (Some((true, found)), Some(_)) | (Some(_), Some((_, found))) => found,
        };
        if self.direct && !matches!(discovery, Discovery::Nodes(_)) {
            return Err(Failed::usage("--direct needs --node"));
        }
        Ok(discovery)
    }

    pub fn options(&self, discovery: Discovery, command: &Command) -> ClientOptions {
        let deadline = self.timeout.unwrap_or_else(|| command.default_timeout());
        let defaults = ClientOptions::new(discovery);
        ClientOptions {
            cluster: self.cluster.clone(),
            deadline,
            connect_timeout: defaults.connect_timeout.min(deadline),
            follow_locations: !self.direct,
            ..defaults
        }
    }
}

/// Whether an argument was typed, before or after the command's name.
fn given(matches: &ArgMatches, name: &str) -> bool {
    matches.value_source(name) == Some(ValueSource::CommandLine)
        || matches.subcommand().is_some_and(|(_, matches)| given(matches, name))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::*;

    fn resolve(arguments: &[&str]) -> Result<Discovery, Failed> {
        let matches = Arguments::command().no_binary_name(true).try_get_matches_from(arguments).expect("valid");
        Arguments::from_arg_matches(&matches).expect("valid").connection.resolve(&matches)
    }

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_cluster_is_found_one_way() {
        let zookeeper = Discovery::ZooKeeper("h:1/r".into());
        assert_eq!(resolve(&["--zookeeper", "h:1/r", "get", "k"]).ok(), Some(zookeeper.clone()));
        assert_eq!(resolve(&["get", "k", "--zookeeper", "h:1/r"]).ok(), Some(zookeeper));
        let nodes = Discovery::Nodes(vec!["a:1".into(), "b:1".into()]);
        assert_eq!(resolve(&["status", "--node", "a:1,b:1"]).ok(), Some(nodes));
        assert!(resolve(&["--zookeeper", "h:1/r", "--node", "a:1", "status"]).is_err_and(|failed| failed.code == 2));
        assert!(resolve(&["--zookeeper", "h:1/r", "--direct", "status"]).is_err_and(|failed| failed.code == 2));
    }

    #[test]
    fn a_put_has_its_value_from_one_place() {
        let parse =
            |arguments: &[&str]| Arguments::command().no_binary_name(true).try_get_matches_from(arguments).is_ok();
        assert!(parse(&["put", "k", "v"]) && parse(&["put", "k", "-"]) && parse(&["put", "k", "--file", "f"]));
        assert!(!parse(&["put", "k"]) && !parse(&["put", "k", "v", "--file", "f"]));
        assert!(!parse(&["put", "k", "v", "--must-not-exist", "--expected-revision", "3"]));
        assert!(!parse(&["scan", "--prefix", "p", "--start", "s"]));
    }
}
