use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kv_local::{Process, zookeeper::Jars};
use zookeeper_client::{Acls, Client, CreateMode};

use super::{Ground, NODES, System, WRITE_WITHIN, WRITES_BEFORE_KILL, until};
use crate::{
    error::{Error, Result},
    http,
    load::{self, Connection, Durations, first_write},
    report::Sample,
    workload::{Operation, Workload},
};

/// The parent of all znodes that loads use.
const ROOT: &str = "/bench";
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// As its administrator's guide has it: half a minute to join, a quarter to follow.
const SETTINGS: &str = "tickTime=2000\ninitLimit=15\nsyncLimit=7\nmaxClientCnxns=0\nadmin.enableServer=false\n\
                        autopurge.snapRetainCount=3\nautopurge.purgeInterval=1\n4lw.commands.whitelist=srvr\n";
const HEAP: &str = "-Xmx1g";

/// Three servers.
#[derive(Debug)]
pub(crate) struct ZooKeeper {
    servers: Vec<Server>,
    jars: Jars,
    version: String,
    ground: Ground,
}

#[derive(Debug)]
struct Server {
    name: String,
    client: SocketAddr,
    arguments: Vec<String>,
    /// `None`: killed.
    process: Option<Process>,
}

#[derive(Clone, Debug)]
struct ZooKeeperConnection(Client);

impl ZooKeeper {
    pub(crate) async fn start(directory: &Path) -> Result<Self> {
        let jars = tokio::task::spawn_blocking(Jars::fetch).await.map_err(Error::request)??;
        let mut ground = Ground::claim(directory)?;
        let mut addresses = Vec::new();
        for _ in 0..NODES {
            addresses.push((ground.ports.take()?, ground.ports.take()?, ground.ports.take()?));
        }
        let mut ensemble = String::new();
        for (number, (_, quorum, election)) in (1..).zip(&addresses) {
            // Writing to a string can't fail.
            let _ = writeln!(ensemble, "server.{number}={}:{}:{}", quorum.ip(), quorum.port(), election.port());
        }
        let mut servers = Vec::new();
        for (index, (client, _, _)) in addresses.into_iter().enumerate() {
            servers.push(Server::prepare(index, client, &ensemble, &jars, ground.directory.path())?);
        }
        let mut system = Self { servers, jars, version: String::new(), ground };
        for index in 0..NODES {
            system.launch(index)?;
        }
        system.wait_whole().await?;
        let state = http::ask(system.servers[0].client, "srvr").await?;
        let version = state.lines().find_map(|line| line.strip_prefix("Zookeeper version: "));
        system.version = version.and_then(|version| version.split('-').next()).unwrap_or("unknown").to_owned();
        let root = system.connect(0).await?;
        root.0
            .create(ROOT, b"", &CreateMode::Persistent.with_acls(Acls::anyone_all()))
            .await
            .map_err(Error::request)?;
        Ok(system)
    }

    fn launch(&mut self, index: usize) -> Result<()> {
        let server = &mut self.servers[index];
        let log = self.ground.directory.log(&server.name);
        server.process =
            Some(self.ground.launcher.launch(&server.name, self.jars.java(), &server.arguments, &[], &log)?);
        Ok(())
    }

    /// Every server serves, and one leads. Its number.
    async fn wait_whole(&self) -> Result<usize> {
        until("ZooKeeper is not whole", async || {
            let mut leader = None;
            for (index, server) in self.servers.iter().enumerate() {
                let state = http::ask(server.client, "srvr").await.map_err(|error| error.to_string())?;
                match state.lines().find_map(|line| line.strip_prefix("Mode: ")) {
                    Some("leader") => leader = Some(index),
                    Some("follower") => {}
                    _ => return Err(format!("{} says {:?}", server.name, state.lines().next())),
                }
            }
            leader.ok_or_else(|| "no server says that it leads".to_owned())
        })
        .await
    }

    async fn connect(&self, index: usize) -> Result<ZooKeeperConnection> {
        self.connect_to(&self.servers[index].client.to_string()).await
    }

    async fn connect_to(&self, servers: &str) -> Result<ZooKeeperConnection> {
        let connector = Client::connector().with_session_timeout(SESSION_TIMEOUT);
        connector.connect(servers).await.map(ZooKeeperConnection).map_err(Error::request)
    }
}

impl Server {
    fn prepare(index: usize, client: SocketAddr, ensemble: &str, jars: &Jars, directory: &Path) -> Result<Self> {
        let name = format!("zookeeper-{index}");
        let home = directory.join(&name);
        let [data, log] = ["data", "log"].map(|folder| home.join(folder));
        for folder in [&data, &log] {
            fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
        }
        let identity = data.join("myid");
        fs::write(&identity, format!("{}\n", index + 1)).map_err(Error::file("write", &identity))?;
        let configuration = home.join("zoo.cfg");
        let (data, log, ip, port) = (data.display(), log.display(), client.ip(), client.port());
        let own = format!("dataDir={data}\ndataLogDir={log}\nclientPort={port}\nclientPortAddress={ip}\n");
        let text = format!("{SETTINGS}{own}{ensemble}");
        fs::write(&configuration, text).map_err(Error::file("write", &configuration))?;
        let arguments = [
            HEAP,
            // Else each Java leaves a file in /tmp when it is killed.
            "-XX:-UsePerfData",
            "-Djava.net.preferIPv4Stack=true",
            "-cp",
            &jars.class_path(),
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            &configuration.to_string_lossy(),
        ];
        Ok(Self { name, client, arguments: arguments.map(str::to_owned).into(), process: None })
    }
}

impl System for ZooKeeper {
    fn version(&self) -> String {
        self.version.clone()
    }

    fn settings(&self) -> Vec<String> {
        vec![
            "three servers, each with every key in memory; a write is acknowledged when two have synced it".to_owned(),
            format!("{}, {HEAP} of heap, syncs as they come (`forceSync=yes`)", SETTINGS.trim_end().replace('\n', ", ")),
            "driven from this program by a client in Rust that pipelines, one session to the leader for ten requests in flight"
                .to_owned(),
            "gets are `sync` and `getData`, sent together: linearizable unless a leader is replaced unnoticed; stale gets are \
             `getData` alone"
                .to_owned(),
        ]
    }

    fn offers(&self, operation: Operation) -> bool {
        operation != Operation::Scan
    }

    fn processes(&mut self) -> Vec<u32> {
        self.servers.iter().filter_map(|server| server.process.as_ref()).map(Process::id).collect()
    }

    async fn load(&mut self, workload: Workload, durations: Durations) -> Result<Sample> {
        let leader = self.wait_whole().await?;
        let mut connections = Vec::new();
        for _ in 0..workload.in_flight.div_ceil(10) {
            connections.push(self.connect(leader).await?);
        }
        // A write is `setData` too, which needs its znode.
        load::prepare(&connections.iter().cloned().map(Making).collect::<Vec<_>>(), &workload).await?;
        load::drive(&connections, workload, durations, &self.processes()).await
    }

    async fn crash_leader(&mut self, round: u64) -> Result<Duration> {
        let leader = self.wait_whole().await?;
        let others = self.servers.iter().enumerate().filter(|(index, _)| *index != leader);
        let others: Vec<_> = others.map(|(_, server)| server.client.to_string()).collect();
        // It knows the other servers, which is the best case of a client.
        let connection = self.connect_to(&others.join(",")).await?;
        for _ in 0..=round % WRITES_BEFORE_KILL {
            Making(connection.clone()).put(0, load::value(100)).await?;
        }
        let killed = Instant::now();
        if let Some(mut process) = self.servers[leader].process.take() {
            process.kill()?;
        }
        let took = first_write(&connection, killed, WRITE_WITHIN).await?;
        self.launch(leader)?;
        self.wait_whole().await?;
        Ok(took)
    }

    async fn stop(mut self) -> Result<()> {
        for server in &mut self.servers {
            if let Some(mut process) = server.process.take() {
                process.kill()?;
            }
        }
        Ok(())
    }
}

fn path(number: u64) -> String {
    format!("{ROOT}/{number:011}")
}

impl ZooKeeperConnection {
    async fn read(
        read: impl Future<Output = Result<(Vec<u8>, zookeeper_client::Stat), zookeeper_client::Error>>,
        bytes: usize,
    ) -> Result<()> {
        let (value, _) = read.await.map_err(Error::request)?;
        if value.len() == bytes { Ok(()) } else { Err(Error::request("a znode has no value of that length")) }
    }
}

impl Connection for ZooKeeperConnection {
    async fn put(&self, number: u64, value: Bytes) -> Result<()> {
        self.0.set_data(&path(number), &value, None).await.map(drop).map_err(Error::request)
    }

    async fn get(&self, number: u64, value_bytes: usize) -> Result<()> {
        let path = path(number);
        // Both are sent at once: a session's requests are carried out in their order.
        let (synced, read) = (self.0.sync(&path), self.0.get_data(&path));
        synced.await.map_err(Error::request)?;
        Self::read(read, value_bytes).await
    }

    async fn stale_get(&self, number: u64, value_bytes: usize) -> Result<()> {
        Self::read(self.0.get_data(&path(number)), value_bytes).await
    }

    async fn scan(&self, _: u64) -> Result<()> {
        Err(Error::request("ZooKeeper has no scans"))
    }
}

/// Makes the znodes that there are not yet.
#[derive(Clone, Debug)]
struct Making(ZooKeeperConnection);

impl Connection for Making {
    async fn put(&self, number: u64, value: Bytes) -> Result<()> {
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        match self.0.0.create(&path(number), &value, &options).await {
            Ok(_) => Ok(()),
            Err(zookeeper_client::Error::NodeExists) => self.0.put(number, value).await,
            Err(error) => Err(Error::request(error)),
        }
    }

    async fn get(&self, number: u64, value_bytes: usize) -> Result<()> {
        self.0.get(number, value_bytes).await
    }

    async fn stale_get(&self, number: u64, value_bytes: usize) -> Result<()> {
        self.0.stale_get(number, value_bytes).await
    }

    async fn scan(&self, number: u64) -> Result<()> {
        self.0.scan(number).await
    }
}
