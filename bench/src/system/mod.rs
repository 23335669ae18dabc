//! The systems, each a cluster of three nodes on this machine with its own way to be driven.

mod etcd;
mod kv;
mod members;
mod zookeeper;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum;
use tokio::time::{Instant, sleep};

pub(crate) use etcd::{Driver, Etcd};
pub(crate) use kv::{Kv, KvVariant};
pub(crate) use zookeeper::ZooKeeper;

use crate::{
    error::{Error, Result},
    load::{Connection, Durations, Load},
    report::{Handovers, Sample},
    workload::{Group, Operation},
};

/// Nodes of each system.
pub const NODES: usize = 3;
/// From a kill to the next acknowledged write: longer means that it is stuck.
const WRITE_WITHIN: Duration = Duration::from_secs(60);
/// Until a cluster is whole after its start, or after one of its nodes came back with little to catch up on.
const WHOLE_WITHIN: Duration = Duration::from_secs(120);
/// Until a node with much data serves, or has caught up with much.
pub(crate) const LOADED_WITHIN: Duration = Duration::from_secs(1_800);
const LOOK_EVERY: Duration = Duration::from_millis(20);
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

impl SystemName {
    /// Whether there is such a measurement of it. What only the client makes different is not measured twice.
    #[must_use]
    pub const fn takes(self, group: Group) -> bool {
        match group {
            Group::Handover => matches!(self, Self::Kv | Self::KvThreeCopies),
            Group::Start | Group::CatchUp | Group::Endurance => !matches!(self, Self::KvUnary | Self::EtcdTonic),
            Group::Growth => matches!(self, Self::Kv),
            Group::Limits => false,
            _ => true,
        }
    }
}

/// What a system is started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup<'a> {
    /// Where it keeps its data. It is made.
    pub(crate) directory: &'a Path,
    /// Where what was built is kept.
    pub(crate) cache: &'a Path,
    /// Bytes of keys and values that it has to hold: who keeps them in memory is given enough of it.
    pub(crate) live_bytes: u64,
    /// Shards, for who has them; `None`: as it comes.
    pub(crate) shards: Option<usize>,
}

/// What of a system's disk is accounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Of each key.
    pub(crate) copies: u64,
    /// Bytes of log that all nodes together keep as they are set, whatever is in it.
    pub(crate) log_bytes: u64,
}

/// A cluster that runs.
pub(crate) trait System: Sized {
    /// What of it is chosen.
    type Variant: Copy;
    /// A client whose puts also make keys that there are not yet.
    type Writer: Connection;

    /// Starts it, and waits until it is whole.
    async fn start(variant: Self::Variant, setup: Setup<'_>) -> Result<Self>;

    /// Its version.
    fn version(&self) -> String;

    /// How it was started and what drives it, one statement each.
    fn settings(&self) -> Vec<String>;

    /// Whether it has such requests.
    fn offers(&self, operation: Operation) -> bool;

    /// What it keeps.
    fn kept(&self) -> Kept;

    /// Process ids of all servers that run.
    fn processes(&mut self) -> Vec<u32>;

    /// Process id of a node; `None` if it does not run.
    fn process(&mut self, node: usize) -> Option<u32>;

    /// Where each node keeps its data.
    fn folders(&self) -> Vec<PathBuf>;

    /// Where of that they keep logs whose length is set ([`Kept::log_bytes`]).
    fn logs(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Puts a load on. What it reads is written first, and not measured.
    async fn load(&mut self, load: Load, durations: Durations) -> Result<Sample>;

    /// Clients that write, for so many requests in flight.
    async fn writers(&mut self, in_flight: usize) -> Result<Vec<Self::Writer>>;

    /// Waits until everybody serves and has everything.
    async fn wait_whole(&mut self, within: Duration) -> Result<()>;

    /// A node that does not lead, or leads no more than any other.
    async fn follower(&mut self) -> Result<usize>;

    /// SIGKILL to a node; returns when it is gone.
    fn kill(&mut self, node: usize) -> Result<()>;

    /// SIGTERM to a node; returns when it has ended in order.
    async fn end(&mut self, node: usize) -> Result<()>;

    /// Starts a node that was killed or has ended. It is not waited for.
    fn launch(&mut self, node: usize) -> Result<()>;

    /// Whether a node serves by its own word; why not.
    async fn serves(&mut self, node: usize) -> Result<(), String>;

    /// How far the log is now, as [`System::has`] takes it.
    async fn position(&mut self) -> Result<u64>;

    /// Whether a node serves and has everything up to there; why not.
    async fn has(&mut self, node: usize, position: u64) -> Result<(), String>;

    /// Kills who leads, and returns the time from then to the next write that is acknowledged. Afterwards the cluster is whole
    /// again. `round` counts from 0.
    async fn crash_leader(&mut self, round: u64) -> Result<Duration>;

    /// So many planned handovers, under a load with so many requests in flight. `None`: it has no such thing.
    async fn hand_over(&mut self, handovers: usize, in_flight: usize) -> Result<Option<Handovers>> {
        let _ = (handovers, in_flight);
        Ok(None)
    }

    /// Ends all processes.
    async fn stop(self) -> Result<()>;
}

/// Asks again and again until the answer is not a reason to wait.
pub(crate) async fn until<T>(
    what: &'static str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        let detail = match look().await {
            Ok(found) => return Ok(found),
            Err(detail) => detail,
        };
        if Instant::now() >= deadline {
            return Err(Error::TimedOut { what, within, detail });
        }
        sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_client_makes_different_is_measured_once() {
        let takers = |group| SystemName::value_variants().iter().filter(|name| name.takes(group)).count();
        assert_eq!(
            [Group::Put, Group::Crash, Group::Start, Group::Handover, Group::Growth].map(takers),
            [6, 6, 4, 2, 1]
        );
    }
}
