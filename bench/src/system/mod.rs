//! The systems, each a cluster of three nodes on this machine with its own way to be driven.

mod etcd;
mod kv;
mod zookeeper;

use std::{path::Path, time::Duration};

use clap::ValueEnum;
use kv_local::{Launcher, PortBlock, WorkDirectory};
use tokio::time::{Instant, sleep};

pub(crate) use etcd::{Driver, Etcd};
pub(crate) use kv::Kv;
pub(crate) use zookeeper::ZooKeeper;

use crate::{
    error::{Error, Result},
    load::Durations,
    report::Sample,
    workload::{Operation, Workload},
};

/// Nodes of each system.
pub const NODES: usize = 3;
/// From a kill to the next acknowledged write: longer means that it is stuck.
const WRITE_WITHIN: Duration = Duration::from_secs(60);
/// Until a cluster is whole after its start, or after one of its nodes came back.
const WHOLE_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Further writes before each kill, by turns, so that kills don't all fall into the same moment of a heartbeat.
const WRITES_BEFORE_KILL: u64 = 20;

/// What `--systems` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SystemName {
    /// This store with two copies of each shard, as it is by default; by the client's stream.
    Kv,
    /// The same, with one gRPC call for each request.
    KvUnary,
    /// With three copies, as many as the others keep; by the client's stream.
    KvThreeCopies,
    /// etcd; its puts and gets by its own load generator.
    Etcd,
    /// etcd, with all loads from this program, by the same gRPC library as those of kv-unary.
    EtcdTonic,
    /// ZooKeeper.
    #[value(name = "zookeeper")]
    ZooKeeper,
}

/// A cluster that runs.
pub(crate) trait System: Sized {
    /// Its version.
    fn version(&self) -> String;

    /// How it was started and what drives it, one statement each.
    fn settings(&self) -> Vec<String>;

    /// Whether it has such requests.
    fn offers(&self, operation: Operation) -> bool;

    /// Process ids of the servers that run.
    fn processes(&mut self) -> Vec<u32>;

    /// Puts a load on. What it reads is written first, and not measured.
    async fn load(&mut self, workload: Workload, durations: Durations) -> Result<Sample>;

    /// Kills who leads, and returns the time from then to the next write that is acknowledged. Afterwards the cluster is whole
    /// again. `round` counts from 0.
    async fn crash_leader(&mut self, round: u64) -> Result<Duration>;

    /// Ends all processes.
    async fn stop(self) -> Result<()>;
}

/// What a system that is no [`kv_local::LocalCluster`] is started with.
///
/// The fields are in the order in which they are dropped.
#[derive(Debug)]
struct Ground {
    launcher: Launcher,
    ports: PortBlock,
    directory: WorkDirectory,
}

impl Ground {
    fn claim(path: &Path) -> Result<Self> {
        let directory = WorkDirectory::kept(path)?;
        let ports = PortBlock::claim(None)?;
        let launcher = Launcher::new(directory.process_ids())?;
        Ok(Self { launcher, ports, directory })
    }
}

/// Asks again and again until the answer is not a reason to wait.
async fn until<T>(what: &'static str, mut look: impl AsyncFnMut() -> Result<T, String>) -> Result<T> {
    let deadline = Instant::now() + WHOLE_WITHIN;
    loop {
        let detail = match look().await {
            Ok(found) => return Ok(found),
            Err(detail) => detail,
        };
        if Instant::now() >= deadline {
            return Err(Error::TimedOut { what, within: WHOLE_WITHIN, detail });
        }
        sleep(LOOK_EVERY).await;
    }
}
