use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use kv_bench::{Extent, SystemName, workload::Group};

/// Measures this store, etcd and ZooKeeper side by side: three nodes each on this machine, one system at a time.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 120)]
pub struct Arguments {
    #[command(subcommand)]
    pub job: Job,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Job {
    /// Measures, and prints tables.
    Run(RunArguments),
    /// Prints the tables of an earlier run.
    Table {
        /// What `run --json` has written.
        file: PathBuf,
    },
    /// Prints the page of an earlier run in Markdown.
    Page {
        /// What `run --json` has written.
        file: PathBuf,
        /// Writes it to this folder instead, as `benchmark.md`, with its plots in `benchmark/`.
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
    },
    /// Says which functions of this store's nodes and client take the processor time under load.
    Profile(ProfileArguments),
    /// A node without a store, for `run`: what the wire can do.
    #[command(hide = true)]
    Relay,
}

#[derive(Args, Clone, Debug)]
pub struct RunArguments {
    /// What to measure, one after the other.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "kv,kv-unary,kv-three-copies,etcd,etcd-tonic,zookeeper"
    )]
    pub systems: Vec<SystemName>,
    /// What to do with each.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "put,get,stale-get,put-1k,get-1k,put-64k,get-64k,mixed,scan,crash,handover,start,catch-up,endurance,growth,\
                         limits"
    )]
    pub workloads: Vec<Group>,
    /// Requests in flight with values of 100 bytes (1 to 4,096 each, ascending); other loads use the middle one, endurance and
    /// growth the last.
    #[arg(long, value_delimiter = ',', default_value = "1,64,256", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub in_flight: Vec<u32>,
    /// Seconds for which each load is measured (1 to 3,600).
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Seconds of each load before that (1 to 3,600).
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub warm_up: u64,
    /// How often the leader is killed (1 to 1,000).
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub crashes: u16,
    /// Planned handovers (1 to 10,000).
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub handovers: u16,
    /// MiB of keys and values that a node is started with (1 to 65,536).
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub start_mib: u64,
    /// Seconds that nodes are left alone before their memory is looked at (1 to 3,600).
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub rest: u64,
    /// MiB of keys and values that are written while a node is away (1 to 65,536).
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub catch_up_mib: u64,
    /// MiB of keys and values under the long load (1 to 65,536).
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub endurance_mib: u64,
    /// Seconds of the long load (5 to 86,400).
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(5..=86_400))]
    pub endurance_seconds: u64,
    /// What is put under the long load, of --systems. ZooKeeper writes a snapshot of everything every 100,000 writes and
    /// removes them once an hour: it needs a disk of a terabyte.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "kv")]
    pub endurance_systems: Vec<SystemName>,
    /// Numbers of keys that writes are measured with, compared with the first (1 to 1,000,000,000 each).
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "10000,10000000",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000)
    )]
    pub growth_keys: Vec<u64>,
    /// Numbers of shards that writes are measured with, compared with the first (1 to 10,000 each).
    #[arg(long, value_delimiter = ',', default_value = "12,1000", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub growth_shards: Vec<u16>,
    /// Keeps all figures in this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// On the disk that is to be measured: data goes to a folder within, which is removed at the end [default: .cache/bench of
    /// the source tree].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub struct ProfileArguments {
    /// What is profiled, one after the other: loads of 100-byte values.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "put,get")]
    pub workloads: Vec<Group>,
    /// Requests in flight (1 to 4,096).
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub in_flight: u32,
    /// Seconds of each load that are sampled (1 to 600).
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Functions that are shown of each (1 to 1,000).
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub functions: u16,
    /// As of `run`.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

impl RunArguments {
    /// How much there is of what is not a load.
    pub fn extent(&self) -> Extent {
        Extent {
            handovers: usize::from(self.handovers),
            start_bytes: self.start_mib << 20,
            rest: Duration::from_secs(self.rest),
            catch_up_bytes: self.catch_up_mib << 20,
            endurance_bytes: self.endurance_mib << 20,
            endurance: Duration::from_secs(self.endurance_seconds),
            growth_keys: self.growth_keys.clone(),
            growth_shards: self.growth_shards.iter().map(|number| usize::from(*number)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
        let Job::Run(run) = Arguments::parse_from(["kv-bench", "run"]).job else { panic!("it is a run") };
        assert_eq!((run.systems.len(), run.workloads.len(), &run.in_flight), (6, 16, &vec![1, 64, 256]));
        let extent = run.extent();
        assert_eq!((extent.start_bytes, extent.growth_keys.len(), extent.growth_shards), (1 << 30, 2, vec![12, 1_000]));
    }
}
