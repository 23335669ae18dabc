use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kv_types::{NodeName, VolumeId};
use uuid::Uuid;

use crate::{BoottimeClock, Clock, Error, NodeInfo, Result, SharedConfig};

/// What a node needs to take part in a cluster.
#[derive(Clone)]
pub struct ClusterOptions {
    /// `host:port,host:port/root/path`.
    pub connect: String,
    /// This node.
    pub node: NodeName,
    /// Where peers and clients reach it.
    pub address: String,
    /// Its `data` volume.
    pub data: VolumeId,
    /// Its `bkpdata` volume.
    pub bkpdata: VolumeId,
    /// The cluster that its volumes belong to, if they belong to one already.
    pub cluster: Option<Uuid>,
    /// Where it stands.
    pub zone: Option<String>,
    /// Of the program.
    pub version: String,
    /// Session timeout T; the server may change it. 1 s to 60 s.
    pub session_timeout: Duration,
    /// How the cluster begins, if this is its first node.
    pub bootstrap: Bootstrap,
    /// As the master: how copies are placed.
    pub control: ControlOptions,
    /// For everything that is timed.
    pub clock: Arc<dyn Clock>,
}

/// How a cluster begins.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Copies of each shard, 0 to 7; 0: two, or one while there is one node.
    pub copies: usize,
    /// Length L of a lease, 100 ms to 10 s.
    pub lease: Duration,
    /// Bound below which writes are refused, 1 to `copies`.
    pub min_in_sync_copies: usize,
    /// Shards to begin with, 1 to [`Bootstrap::MAX_SHARDS`]; ignored with `split_keys`.
    pub initial_shards: u32,
    /// Where the shards part; empty: evenly by the first two bytes.
    pub split_keys: Vec<Bytes>,
    /// The master waits for so many nodes before it makes the shards …
    pub expected_nodes: usize,
    /// … but no longer than this.
    pub grace: Duration,
}

/// How the master places copies.
#[derive(Clone, Debug)]
pub struct ControlOptions {
    /// A node that stays away longer is replaced.
    pub rehome_after: Duration,
    /// So many shards at most are copied to another node at a time.
    pub max_in_motion: usize,
    /// Shards that are smaller count alike in the balance, in bytes.
    pub weight_bytes: u64,
}

impl Bootstrap {
    /// Most shards that a cluster begins with: they are made in one request, which ZooKeeper bounds to 1 MiB.
    pub const MAX_SHARDS: u32 = 256;
    const MAX_COPIES: usize = 7;

    /// The content of `config` that a new cluster gets.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] names the setting, its value and the bound.
    pub fn validate(&self) -> Result<SharedConfig> {
        let Self { copies, lease, min_in_sync_copies, initial_shards, split_keys, expected_nodes: _, grace: _ } = self;
        bounded("copies", *copies, 0, Self::MAX_COPIES)?;
        let copies = if *copies == 0 { 2 } else { *copies };
        bounded("lease in milliseconds", lease.as_millis(), 100, 10_000)?;
        bounded("min_in_sync_copies", *min_in_sync_copies, 1, copies)?;
        let ascending =
            split_keys.windows(2).all(|pair| pair[0] < pair[1]) && split_keys.iter().all(|key| !key.is_empty());
        if !ascending {
            let value = format!("{split_keys:?}");
            return Err(Error::InvalidSetting {
                setting: "split_keys",
                value,
                bound: "ascending and not empty".into(),
            });
        }
        let initial_shards = match split_keys.len() {
            0 => *initial_shards,
            keys => u32::try_from(keys + 1).unwrap_or(u32::MAX),
        };
        bounded("initial_shards", initial_shards, 1, Self::MAX_SHARDS)?;
        Ok(SharedConfig {
            copies,
            lease_millis: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            min_in_sync_copies: *min_in_sync_copies,
            initial_shards,
            split_keys: split_keys.clone(),
            shards_created: false,
        })
    }
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            copies: 0,
            lease: Duration::from_millis(800),
            min_in_sync_copies: 1,
            initial_shards: 12,
            split_keys: Vec::new(),
            expected_nodes: 1,
            grace: Duration::from_secs(3),
        }
    }
}

impl Default for ControlOptions {
    fn default() -> Self {
        Self { rehome_after: Duration::from_secs(600), max_in_motion: 4, weight_bytes: 16 << 20 }
    }
}

impl ClusterOptions {
    /// With defaults for all that has one.
    #[must_use]
    pub fn new(
        connect: impl Into<String>,
        node: NodeName,
        address: impl Into<String>,
        data: VolumeId,
        bkpdata: VolumeId,
    ) -> Self {
        Self {
            connect: connect.into(),
            node,
            address: address.into(),
            data,
            bkpdata,
            cluster: None,
            zone: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            session_timeout: Duration::from_secs(6),
            bootstrap: Bootstrap::default(),
            control: ControlOptions::default(),
            clock: Arc::new(BoottimeClock),
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        bounded("session_timeout in milliseconds", self.session_timeout.as_millis(), 1_000, 60_000)?;
        bounded("max_in_motion", self.control.max_in_motion, 1, 1_000)?;
        bounded("length of address", self.address.len(), 1, 512)?;
        bounded("length of zone", self.zone.as_ref().map_or(0, String::len), 0, 256)?;
        if self.data == self.bkpdata {
            let value = self.data.to_string();
            return Err(Error::InvalidSetting { setting: "bkpdata", value, bound: "another volume than data".into() });
        }
        self.bootstrap.validate().map(drop)
    }

    pub(crate) fn info(&self) -> NodeInfo {
        NodeInfo {
            node: self.node.clone(),
            address: self.address.clone(),
            data: self.data,
            bkpdata: self.bkpdata,
            zone: self.zone.clone(),
            version: self.version.clone(),
        }
    }
}

fn bounded<N: PartialOrd + std::fmt::Display + Copy>(setting: &'static str, value: N, low: N, high: N) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::InvalidSetting { setting, value: value.to_string(), bound: format!("{low} to {high}") })
}
