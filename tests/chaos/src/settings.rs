use std::time::Duration;

use kv_local::{Folder, Options};
use rand::{Rng, RngExt as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use serde::Serialize;

/// What one round's cluster is made of, drawn from its seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// The round's seed.
    pub seed: u64,
    /// For how long faults begin.
    pub seconds: u64,
    /// Nodes: 3 or 5.
    pub nodes: usize,
    /// Copies of each shard: 2 or 3.
    pub copies: usize,
    /// Shards.
    pub shards: usize,
    /// ZooKeeper's servers: 1 or 3.
    pub zookeeper_servers: usize,
    /// Length of leases, in milliseconds.
    pub lease_millis: u64,
    /// Timeout of the nodes' sessions with ZooKeeper, in milliseconds.
    pub session_timeout_millis: u64,
    /// Size of the files of the log, in MiB. Of the log as much is kept, so that copies that were away need snapshots.
    pub segment_mebibytes: u64,
    /// The node and the folder that lie on a small file system of their own, if this machine can have one.
    #[serde(serialize_with = "small_volume")]
    pub small_volume: (usize, Folder),
    /// Whether nodes run under a wall clock that can be set, if this machine can do that.
    pub clocks: bool,
}

/// How big a cluster of a round may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Three nodes and one ZooKeeper: starts in seconds.
    Small,
    /// Three or five nodes, one or three servers of ZooKeeper.
    Any,
}

impl Settings {
    /// The settings of this seed.
    #[must_use]
    pub fn draw(seed: u64, size: Size) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let nodes = if size == Size::Any && random.random_bool(0.3) { 5 } else { 3 };
        let copies = if random.random_bool(if nodes == 5 { 0.7 } else { 0.3 }) { 3 } else { 2 };
        let zookeeper_servers = if size == Size::Any && random.random_bool(0.7) { 3 } else { 1 };
        let folder = one_of(&mut random, [Folder::Data, Folder::Bkpdata]);
        Self {
            seed,
            seconds: if size == Size::Any { random.random_range(45..75) } else { 12 },
            nodes,
            copies,
            shards: one_of(&mut random, [3, 6]),
            zookeeper_servers,
            lease_millis: one_of(&mut random, [400, 800, 800, 1_500]),
            session_timeout_millis: one_of(&mut random, [2_000, 3_000, 6_000]),
            segment_mebibytes: one_of(&mut random, [1, 1, 4]),
            small_volume: (random.random_range(0..nodes), folder),
            clocks: random.random_bool(0.5),
        }
    }

    /// Length of leases.
    #[must_use]
    pub const fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_millis)
    }

    /// Timeout of sessions.
    #[must_use]
    pub const fn session_timeout(&self) -> Duration {
        Duration::from_millis(self.session_timeout_millis)
    }

    /// Options of the cluster.
    #[must_use]
    pub fn options(&self) -> Options {
        let segment = format!("{}MiB", self.segment_mebibytes);
        let arguments =
            ["--segment-size", &segment, "--log-retention", &segment, "--memtable-size", "1MiB"].map(str::to_owned);
        Options {
            nodes: self.nodes,
            zookeeper_servers: self.zookeeper_servers,
            copies: self.copies,
            shards: Some(self.shards),
            session_timeout: self.session_timeout(),
            lease: self.lease(),
            node_arguments: arguments.to_vec(),
            ..Options::default()
        }
    }
}

/// One of some, each as likely.
pub(crate) fn one_of<T: Copy, const N: usize>(random: &mut impl Rng, choices: [T; N]) -> T {
    choices.choose(random).copied().unwrap_or(choices[0])
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn small_volume<S: serde::Serializer>((node, folder): &(usize, Folder), serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("kv-{node}/{}", folder.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_cluster_and_seeds_differ() {
        assert_eq!(Settings::draw(7, Size::Any), Settings::draw(7, Size::Any));
        let drawn: Vec<_> = (0..200).map(|seed| Settings::draw(seed, Size::Any)).collect();
        for nodes in [3, 5] {
            for copies in [2, 3] {
                assert!(drawn.iter().any(|settings| settings.nodes == nodes && settings.copies == copies));
            }
        }
        assert!(drawn.iter().any(|settings| settings.zookeeper_servers == 1));
        let small = (0..200).map(|seed| Settings::draw(seed, Size::Small));
        assert!(small.into_iter().all(|settings| settings.nodes == 3 && settings.zookeeper_servers == 1));
    }
}
