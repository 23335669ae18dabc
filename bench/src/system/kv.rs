use std::{
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kv_client::{Client, ClientOptions, Discovery, Scan, Transport, description::ShardDescription};
use kv_local::{LocalCluster, Options};

use super::{NODES, System, WHOLE_WITHIN, WRITE_WITHIN, WRITES_BEFORE_KILL, until};
use crate::{
    error::{Error, Result},
    keys::key,
    load::{self, Connection, Durations, first_write},
    report::Sample,
    workload::{Operation, SCAN_KEYS, Workload},
};

/// This store: three nodes and, for their configuration, one ZooKeeper.
#[derive(Debug)]
pub(crate) struct Kv {
    cluster: LocalCluster,
    client: Client,
    copies: usize,
    transport: Transport,
}

#[derive(Clone, Debug)]
struct KvConnection(Client);

impl Kv {
    pub(crate) async fn start(directory: &Path, copies: usize, transport: Transport) -> Result<Self> {
        let directory = Some(directory.to_owned());
        let options = Options { copies, directory, proxies: false, ..Options::with_nodes(NODES) };
        let mut cluster = LocalCluster::start(options).await?;
        cluster.wait_ready(WHOLE_WITHIN).await?;
        let discovery = Discovery::ZooKeeper(cluster.zookeeper_url());
        let client = Client::connect(ClientOptions { transport, ..ClientOptions::new(discovery) }).await;
        let system = Self { cluster, client: client.map_err(Error::request)?, copies, transport };
        system.wait_whole().await?;
        system.client.learn_routes().await.map_err(Error::request)?;
        Ok(system)
    }

    /// Every shard is served by its home, and has all its copies.
    async fn wait_whole(&self) -> Result<()> {
        until("the cluster is not whole", async || {
            let shards = self.shards().await?;
            let amiss = shards.iter().find(|shard| {
                !shard.available || !shard.fully_replicated || shard.primary != shard.home || shard.home.is_empty()
            });
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
        let key = key(0);
        let shards = self.shards().await.map_err(Error::request)?;
        let holds = |shard: &&ShardDescription| key >= shard.start && (shard.end.is_empty() || key < shard.end);
        let primary = shards.iter().find(holds).and_then(|shard| self.cluster.index_of(&shard.primary));
        primary.ok_or_else(|| Error::request("nobody serves the writer's key"))
    }
}

impl System for Kv {
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn settings(&self) -> Vec<String> {
        let copies = self.copies;
        let transport = match self.transport {
            Transport::Pipeline => "its client's stream, one to each node",
            Transport::Unary => "one gRPC call for each request",
        };
        vec![
            format!("three nodes, {copies} copies of each key; a write is acknowledged when all copies in sync have synced it"),
            "settings as they come; each node leads a third of the shards; one ZooKeeper beside, whose processor time is counted"
                .to_owned(),
            format!("driven by {transport}, with sessions (each write is applied once)"),
        ]
    }

    fn offers(&self, operation: Operation) -> bool {
        operation != Operation::StaleGet
    }

    fn processes(&mut self) -> Vec<u32> {
        // All that the cluster has ever started: those that are gone use no time.
        let ids = std::fs::read_to_string(self.cluster.directory().process_ids()).unwrap_or_default();
        ids.lines().filter_map(|id| id.trim().parse().ok()).collect()
    }

    async fn load(&mut self, workload: Workload, durations: Durations) -> Result<Sample> {
        let connections = [KvConnection(self.client.clone())];
        if workload.reads() {
            load::prepare(&connections, &workload).await?;
        }
        let servers = self.processes();
        load::drive(&connections, workload, durations, &servers).await
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
        self.cluster.wait_ready(WHOLE_WITHIN).await?;
        self.wait_whole().await?;
        Ok(took)
    }

    async fn stop(self) -> Result<()> {
        self.cluster.stop().await?;
        Ok(())
    }
}

impl Connection for KvConnection {
    async fn put(&self, number: u64, value: Bytes) -> Result<()> {
        self.0.put((key(number), value)).await.map(drop).map_err(Error::request)
    }

    async fn get(&self, number: u64, value_bytes: usize) -> Result<()> {
        match self.0.get(key(number)).await.map_err(Error::request)? {
            Some(entry) if entry.value.len() == value_bytes => Ok(()),
            _ => Err(Error::request(format!("key {number} has no value of that length"))),
        }
    }

    async fn stale_get(&self, number: u64, value_bytes: usize) -> Result<()> {
        self.get(number, value_bytes).await
    }

    async fn scan(&self, number: u64) -> Result<()> {
        let mut pages = self.0.scan(Scan::range(key(number), Bytes::new()).limit(SCAN_KEYS as u64));
        let mut found = 0;
        while let Some(page) = pages.next_page().await.map_err(Error::request)? {
            found += page.entries.len();
        }
        if found == 0 { Err(Error::request("a scan found nothing")) } else { Ok(()) }
    }
}
