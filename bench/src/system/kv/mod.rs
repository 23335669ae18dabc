mod handover;
mod shards;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kv_client::{Client, ClientOptions, Discovery, Scan, Transport, description::ShardDescription, keys::spread};
use kv_local::{Folder, LocalCluster, NodeState, Options};
use shards::MOST_AT_FIRST;

use super::{Kept, NODES, Setup, System, WHOLE_WITHIN, WRITE_WITHIN, WRITES_BEFORE_KILL, until};
use crate::{
    error::{Error, Result},
    load::{self, Connection, Durations, Load, first_write},
    report::{Handovers, Sample},
    workload::{Operation, SCAN_KEYS},
};

/// Bytes of log that a volume keeps as it comes (`--log-retention`), and volumes of a node.
const LOG_BYTES: u64 = 256 << 20;
const VOLUMES: [Folder; 2] = [Folder::Data, Folder::Bkpdata];

/// What of this store is chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KvVariant {
    /// Of each key.
    pub(crate) copies: usize,
    pub(crate) transport: Transport,
}

/// This store: three nodes and, for their configuration, one ZooKeeper.
#[derive(Debug)]
pub(crate) struct Kv {
    cluster: LocalCluster,
    client: Client,
    variant: KvVariant,
    shards: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct KvConnection(Client);

impl Kv {
    /// Every shard is served by its home, and has all its copies.
    async fn wait_shards(&self, within: Duration) -> Result<()> {
        until("the cluster is not whole", within, async || {
            let shards = self.shards().await?;
            let amiss = shards.iter().find(|shard| !is_home(shard));
            match amiss {
                None if !shards.is_empty() => Ok(()),
                None => Err("there are no shards yet".to_owned()),
                Some(shard) => Err(format!("shard {} of {} is served by {:?}", shard.shard, shard.home, shard.primary)),
            }
        })
        .await
    }

    async fn shards(&self) -> Result<Vec<ShardDescription>, String> {
        Ok(self.client.describe(false).await.map_err(|error| error.to_string())?.shards)
    }

    /// The number of the node that serves the key of the writer.
    async fn primary(&self) -> Result<usize> {
        let key = spread(0);
        let shards = self.shards().await.map_err(Error::request)?;
        let primary = shards.iter().find(|shard| holds(shard, &key));
        let primary = primary.and_then(|shard| self.cluster.index_of(&shard.primary));
        primary.ok_or_else(|| Error::request("nobody serves the writer's key"))
    }
}

/// Served by its home, with all its copies.
fn is_home(shard: &ShardDescription) -> bool {
    shard.available && shard.fully_replicated && shard.primary == shard.home && !shard.home.is_empty()
}

fn holds(shard: &ShardDescription, key: &Bytes) -> bool {
    *key >= shard.start && (shard.end.is_empty() || *key < shard.end)
}

impl System for Kv {
    type Variant = KvVariant;
    type Writer = KvConnection;

    async fn start(variant: KvVariant, setup: Setup<'_>) -> Result<Self> {
        let KvVariant { copies, transport } = variant;
        let options = Options {
            copies,
            directory: Some(setup.directory.to_owned()),
            proxies: false,
            shards: setup.shards.map(|shards| shards.min(MOST_AT_FIRST)),
            ..Options::with_nodes(NODES)
        };
        let mut cluster = LocalCluster::start(options).await?;
        cluster.wait_ready(WHOLE_WITHIN).await?;
        let discovery = Discovery::ZooKeeper(cluster.zookeeper_url());
        let client = Client::connect(ClientOptions { transport, ..ClientOptions::new(discovery) }).await;
        let system = Self { cluster, client: client.map_err(Error::request)?, variant, shards: setup.shards };
        system.wait_shards(WHOLE_WITHIN).await?;
        if let Some(shards) = setup.shards {
            system.split_into(shards).await?;
        }
        system.client.learn_routes().await.map_err(Error::request)?;
        Ok(system)
    }

    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn settings(&self) -> Vec<String> {
        let KvVariant { copies, transport } = self.variant;
        let transport = match transport {
            Transport::Pipeline => "its client's stream, one to each node",
            Transport::Unary => "one gRPC call for each request, over one connection to each node",
        };
        let mut settings = vec![
            format!("three nodes, {copies} copies of each key; a write is acknowledged when all copies in sync have synced it"),
            "settings as they come; each node leads a third of the shards; one ZooKeeper beside (256 MiB of heap), whose processor \
             time is counted and whose memory is not"
                .to_owned(),
            format!("driven by {transport}, with sessions (each write is applied once)"),
        ];
        settings.extend(self.shards.map(|shards| format!("{shards} shards")));
        settings
    }

    fn offers(&self, operation: Operation) -> bool {
        operation != Operation::StaleGet
    }

    fn kept(&self) -> Kept {
        let volumes = (NODES * VOLUMES.len()) as u64;
        Kept { copies: self.variant.copies as u64, log_bytes: LOG_BYTES * volumes }
    }

    fn processes(&mut self) -> Vec<u32> {
        // All that the cluster has ever started: those that are gone use no time.
        let ids = std::fs::read_to_string(self.cluster.directory().process_ids()).unwrap_or_default();
        ids.lines().filter_map(|id| id.trim().parse().ok()).collect()
    }

    fn process(&mut self, node: usize) -> Option<u32> {
        self.cluster.node_mut(node).ok()?.process_id()
    }

    fn folders(&self) -> Vec<PathBuf> {
        self.cluster.nodes().iter().flat_map(|node| VOLUMES.map(|volume| node.volume(volume))).collect()
    }

    fn logs(&self) -> Vec<PathBuf> {
        self.folders().iter().map(|volume| volume.join("log")).collect()
    }

    async fn load(&mut self, load: Load, durations: Durations) -> Result<Sample> {
        let connections = [KvConnection(self.client.clone())];
        load.prepare(&connections).await?;
        let servers = self.processes();
        load.drive(&connections, durations, &servers).await
    }

    async fn writers(&mut self, _: usize) -> Result<Vec<KvConnection>> {
        Ok(vec![KvConnection(self.client.clone())])
    }

    async fn wait_whole(&mut self, within: Duration) -> Result<()> {
        self.cluster.wait_ready(within).await?;
        self.wait_shards(within).await
    }

    async fn follower(&mut self) -> Result<usize> {
        // Each leads a third.
        Ok(NODES - 1)
    }

    fn kill(&mut self, node: usize) -> Result<()> {
        Ok(self.cluster.kill(node)?)
    }

    async fn end(&mut self, node: usize) -> Result<()> {
        if self.cluster.leave(node).await? {
            return Ok(());
        }
        Err(Error::request(format!("node {node} did not leave in order within its time")))
    }

    fn launch(&mut self, node: usize) -> Result<()> {
        Ok(self.cluster.start_node(node)?)
    }

    async fn serves(&mut self, node: usize) -> Result<(), String> {
        let failed = |error: &dyn std::error::Error| error.to_string();
        let found = self.cluster.node_mut(node).map_err(|error| failed(&error))?;
        if found.state() != NodeState::Running {
            return Err("it does not run".to_owned());
        }
        match found.http("/readyz").await {
            Ok((200, _)) => Ok(()),
            Ok((_, why)) => Err(why),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn position(&mut self) -> Result<u64> {
        // Each shard has a log of its own: `has` asks for all of them.
        Ok(0)
    }

    async fn has(&mut self, node: usize, _: u64) -> Result<(), String> {
        self.serves(node).await?;
        let shards = self.shards().await?;
        let amiss = shards.iter().find(|shard| {
            !shard.fully_replicated || shard.replicas.iter().any(|replica| replica.placed && !replica.in_sync)
        });
        match amiss {
            None if !shards.is_empty() => Ok(()),
            None => Err("there are no shards".to_owned()),
            Some(shard) => Err(format!("shard {} has not all its copies", shard.shard)),
        }
    }

    async fn crash_leader(&mut self, round: u64) -> Result<Duration> {
        let connection = KvConnection(self.client.clone());
        for _ in 0..=round % WRITES_BEFORE_KILL {
            connection.put(0, load::value(100)).await?;
        }
        let primary = self.primary().await?;
        let killed = Instant::now();
        self.cluster.kill(primary)?;
        let took = first_write(&connection, killed, WRITE_WITHIN).await?;
        self.cluster.start_node(primary)?;
        self.wait_whole(WHOLE_WITHIN).await?;
        Ok(took)
    }

    async fn hand_over(&mut self, handovers: usize, in_flight: usize) -> Result<Option<Handovers>> {
        handover::measure(self, handovers, in_flight).await.map(Some)
    }

    async fn stop(self) -> Result<()> {
        self.cluster.stop().await?;
        Ok(())
    }
}

impl Connection for KvConnection {
    async fn put(&self, number: u64, value: Bytes) -> Result<()> {
        self.0.put((spread(number), value)).await.map(drop).map_err(Error::request)
    }

    async fn get(&self, number: u64, value_bytes: usize) -> Result<()> {
        match self.0.get(spread(number)).await.map_err(Error::request)? {
            Some(entry) if entry.value.len() == value_bytes => Ok(()),
            _ => Err(Error::request(format!("key {number} has no value of that length"))),
        }
    }

    async fn stale_get(&self, number: u64, value_bytes: usize) -> Result<()> {
        self.get(number, value_bytes).await
    }

    async fn scan(&self, number: u64) -> Result<()> {
        let mut pages = self.0.scan(Scan::range(spread(number), Bytes::new()).limit(SCAN_KEYS as u64));
        let mut found = 0;
        while let Some(page) = pages.next_page().await.map_err(Error::request)? {
            found += page.entries.len();
        }
        if found == 0 { Err(Error::request("a scan found nothing")) } else { Ok(()) }
    }
}
