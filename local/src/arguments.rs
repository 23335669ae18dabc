use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use kv_local::{MAX_NODES, Options};

/// A whole KvCluster on this machine: a real ZooKeeper, nodes behind proxies that can be cut, and a shell.
///
/// Without a script it reads commands from standard input, a terminal or a pipe; `help` lists them. If a command of a
/// script or a pipe fails, the next one is carried out all the same, and the exit code is 1 at the end. Everything is
/// removed at the end, unless --dir keeps it.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 120)]
pub struct Arguments {
    #[command(flatten)]
    pub cluster: ClusterArguments,
    /// Reads the commands from this file.
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    #[command(subcommand)]
    pub job: Option<Job>,
}

/// What to do with the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Job {
    /// Gives it a shell (what it does without a command).
    Shell,
    /// Shows election, copies, failover, recovery and what a client learns, on real data; checks all that it claims.
    Demo,
    /// Runs a program on it and ends with that program's exit code. KVCTL_ZOOKEEPER says where the cluster is; kvctl is
    /// found by its name.
    Exec {
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

impl Job {
    const fn nodes(&self) -> usize {
        match self {
            Self::Shell => 1,
            Self::Demo | Self::Exec { .. } => 3,
        }
    }
}

/// What the cluster is made of.
#[derive(Clone, Debug, Args)]
pub struct ClusterArguments {
    /// Nodes to start with, 1 to 47 [default: 1, and 3 for demo and exec]; `new-client` adds more.
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u16).range(1..=MAX_NODES as i64))]
    nodes: Option<u16>,
    /// ZooKeeper servers: 1 or 3.
    #[arg(long, value_name = "N", default_value = "1", global = true, value_parser = servers)]
    zookeepers: usize,
    /// Copies of each shard; fixed when the cluster is created.
    #[arg(long, value_name = "C", default_value_t = 2, global = true, value_parser = clap::value_parser!(u16).range(1..=9))]
    copies: u16,
    /// Shards to create the cluster with [default: the node's].
    #[arg(long, value_name = "S", global = true, value_parser = clap::value_parser!(u16).range(1..=4096))]
    shards: Option<u16>,
    /// ZooKeeper session timeout of the nodes, 1s to 60s.
    #[arg(long, value_name = "DURATION", default_value = "6s", global = true, value_parser = session_timeout)]
    session_timeout: Duration,
    /// Length of the leases, 100ms to 10s; fixed when the cluster is created.
    #[arg(long, value_name = "DURATION", default_value = "800ms", global = true, value_parser = lease)]
    lease: Duration,
    /// Keeps everything in this directory, for the next run.
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    /// The kv-node to run [default: the one beside this program].
    #[arg(long, value_name = "FILE", env = "KV_NODE_BINARY", global = true)]
    node_binary: Option<PathBuf>,
    /// A further argument of every node; may be given several times.
    #[arg(long, value_name = "ARGUMENT", global = true, allow_hyphen_values = true)]
    node_argument: Vec<String>,
    /// Leaves out the proxies: nothing can be cut, and measurements don't include them.
    #[arg(long, global = true)]
    no_proxies: bool,
}

impl ClusterArguments {
    /// The options of a cluster that is to do this job.
    pub fn into_options(self, job: &Job) -> Options {
        let Self {
            nodes,
            zookeepers,
            copies,
            shards,
            session_timeout,
            lease,
            dir,
            node_binary,
            node_argument,
            no_proxies,
        } = self;
        Options {
            nodes: nodes.map_or(job.nodes(), usize::from),
            zookeeper_servers: zookeepers,
            copies: usize::from(copies),
            shards: shards.map(usize::from),
            session_timeout,
            lease,
            directory: dir,
            node_binary,
            node_arguments: node_argument,
            node_environment: Vec::new(),
            proxies: !no_proxies,
        }
    }
}

fn servers(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("it must be 1 or 3".into()),
    }
}

fn session_timeout(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_secs(1), Duration::from_secs(60))
}

fn lease(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_millis(100), Duration::from_secs(10))
}

fn duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (least..=most).contains(&duration) {
        return Ok(duration);
    }
    let [least, most] = [least, most].map(humantime::format_duration);
    Err(format!("it must be {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn bounds_are_checked_and_named() {
        let refused = |arguments: &[&str]| {
            let arguments = std::iter::once("kv-local").chain(arguments.iter().copied());
            Arguments::try_parse_from(arguments).expect_err("out of bounds").to_string()
        };
        assert!(refused(&["--nodes", "0"]).contains("1..=47"));
        assert!(refused(&["--zookeepers", "2"]).contains("1 or 3"));
        assert!(refused(&["--lease", "1ms"]).contains("100ms to 10s"));
        assert!(refused(&["--session-timeout", "soon"]).contains("session-timeout"));
    }
}
