use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use kv_local::zookeeper::Jars;
use tokio::time::timeout;
use zookeeper_client::{Acls, Client, CreateMode};

use super::{Kept, NODES, Setup, System, WHOLE_WITHIN, WRITE_WITHIN, WRITES_BEFORE_KILL, members::Members, until};
use crate::{
    error::{Error, Result},
    http,
    load::{self, Connection, Durations, Load, first_write},
    report::Sample,
    workload::Operation,
};

/// The parent of all znodes that loads use.
const ROOT: &str = "/bench";
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// Of a request: its client waits for ever for a server that is gone.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// As its administrator's guide has it: half a minute to join, a quarter to follow.
const SETTINGS: &str = "tickTime=2000\ninitLimit=15\nsyncLimit=7\nmaxClientCnxns=0\nadmin.enableServer=false\n\
                        autopurge.snapRetainCount=3\nautopurge.purgeInterval=1\n4lw.commands.whitelist=srvr\n";
/// MiB of heap as its scripts give it. For more data it is [`HEAP_PER_LIVE`] times that: it keeps everything there, a snapshot that
/// is sent to a follower and garbage beside, and its guide warns of nothing more than of a heap that is swapped or full.
const LEAST_HEAP: u64 = 1_000;
const HEAP_PER_LIVE: u64 = 4;

/// Three servers.
#[derive(Debug)]
pub(crate) struct ZooKeeper {
    members: Members,
    version: String,
    heap: u64,
}

#[derive(Clone, Debug)]
struct ZooKeeperConnection(Client);

impl ZooKeeper {
    /// Every server serves, and one leads. Its number.
    async fn wait_members(&self, within: Duration) -> Result<usize> {
        until("ZooKeeper is not whole", within, async || {
            let mut leader = None;
            for (index, (name, client)) in self.members.all().enumerate() {
                let state = state(client).await?;
                match field(&state, "Mode") {
                    Some("leader") => leader = Some(index),
                    Some("follower") => {}
                    _ => return Err(format!("{name} says {:?}", state.lines().next())),
                }
            }
            leader.ok_or_else(|| "no server says that it leads".to_owned())
        })
        .await
    }

    /// Who leads, whether or not all others are there.
    async fn leader(&self) -> Result<usize> {
        until("ZooKeeper has no leader", WHOLE_WITHIN, async || {
            for (index, (_, client)) in self.members.all().enumerate() {
                if state(client).await.is_ok_and(|state| field(&state, "Mode") == Some("leader")) {
                    return Ok(index);
                }
            }
            Err("no server says that it leads".to_owned())
        })
        .await
    }

    async fn connect(&self, servers: &str) -> Result<ZooKeeperConnection> {
        let connector = Client::connector().with_session_timeout(SESSION_TIMEOUT);
        let connected = timeout(REQUEST_WITHIN, connector.connect(servers)).await;
        match connected {
            Ok(connected) => connected.map(ZooKeeperConnection).map_err(Error::request),
            Err(_) => Err(Error::request(format!("no session at {servers} within {REQUEST_WITHIN:?}"))),
        }
    }

    /// A session for ten requests in flight: to the leader, and by turns to all servers for what may be out of date.
    async fn sessions(&self, in_flight: usize, operation: Operation) -> Result<Vec<ZooKeeperConnection>> {
        let leader = self.leader().await?;
        let mut sessions = Vec::new();
        for number in 0..in_flight.div_ceil(10) {
            let server = if operation == Operation::StaleGet { (leader + number) % NODES } else { leader };
            sessions.push(self.connect(&self.members.client(server).to_string()).await?);
        }
        Ok(sessions)
    }
}

async fn state(client: SocketAddr) -> Result<String, String> {
    http::ask(client, "srvr").await.map_err(|error| error.to_string())
}

fn field<'a>(state: &'a str, name: &str) -> Option<&'a str> {
    let named = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
    state.lines().find_map(named).map(str::trim)
}

/// The last transaction that a server that serves has.
fn transaction(state: &str) -> Result<u64, String> {
    let first = || format!("it says {:?}", state.lines().next().unwrap_or_default());
    let text = field(state, "Zxid").and_then(|text| text.strip_prefix("0x")).ok_or_else(first)?;
    u64::from_str_radix(text, 16).map_err(|_| first())
}

/// Writes a server's configuration, and returns its command line.
fn prepare(
    folder: &Path,
    index: usize,
    client: SocketAddr,
    ensemble: &str,
    heap: u64,
    jars: &Jars,
) -> Result<Vec<String>> {
    let [data, log] = ["data", "log"].map(|part| folder.join(part));
    for part in [&data, &log] {
        fs::create_dir_all(part).map_err(kv_local::Error::file("make", part))?;
    }
    let identity = data.join("myid");
    fs::write(&identity, format!("{}\n", index + 1)).map_err(kv_local::Error::file("write", &identity))?;
    let configuration = folder.join("zoo.cfg");
    let (data, log, ip, port) = (data.display(), log.display(), client.ip(), client.port());
    let own = format!("dataDir={data}\ndataLogDir={log}\nclientPort={port}\nclientPortAddress={ip}\n");
    let text = format!("{SETTINGS}{own}{ensemble}");
    fs::write(&configuration, text).map_err(kv_local::Error::file("write", &configuration))?;
    let arguments = [
        &format!("-Xmx{heap}m"),
        // Else each Java leaves a file in /tmp when it is killed.
        "-XX:-UsePerfData",
        "-Djava.net.preferIPv4Stack=true",
        "-cp",
        &jars.class_path(),
        "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        &configuration.to_string_lossy(),
    ];
    Ok(arguments.map(str::to_owned).into())
}

impl System for ZooKeeper {
    type Variant = ();
    type Writer = Making;

    async fn start((): (), setup: Setup<'_>) -> Result<Self> {
        let jars = tokio::task::spawn_blocking(Jars::fetch).await.map_err(Error::request)??;
        let mut members = Members::none_in(setup.directory)?;
        let mut addresses = Vec::new();
        for _ in 0..NODES {
            addresses.push((members.take_port()?, members.take_port()?, members.take_port()?));
        }
        let mut ensemble = String::new();
        for (number, (_, quorum, election)) in (1..).zip(&addresses) {
            // Writing to a string can't fail.
            let _ = writeln!(ensemble, "server.{number}={}:{}:{}", quorum.ip(), quorum.port(), election.port());
        }
        let heap = LEAST_HEAP.max(setup.live_bytes.saturating_mul(HEAP_PER_LIVE) >> 20);
        for (index, (client, _, _)) in addresses.into_iter().enumerate() {
            let name = format!("zookeeper-{index}");
            let folder = members.folder(&name)?;
            let arguments = prepare(&folder, index, client, &ensemble, heap, &jars)?;
            members.add(name, client, jars.java(), arguments);
        }
        members.launch_all()?;
        let mut system = Self { members, version: String::new(), heap };
        system.wait_members(WHOLE_WITHIN).await?;
        let state = http::ask(system.members.client(0), "srvr").await?;
        let version = state.lines().find_map(|line| line.strip_prefix("Zookeeper version: "));
        system.version = version.and_then(|version| version.split('-').next()).unwrap_or("unknown").to_owned();
        let root = system.connect(&system.members.client(0).to_string()).await?;
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        bounded(root.0.create(ROOT, b"", &options)).await?;
        Ok(system)
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn settings(&self) -> Vec<String> {
        let (settings, heap) = (SETTINGS.trim_end().replace('\n', ", "), self.heap);
        vec![
            "three servers, each with every key in memory; a write is acknowledged when two have synced it".to_owned(),
            format!(
                "{settings}; {heap} MiB of heap at most, as its scripts give it ({HEAP_PER_LIVE} times the data where that is more); \
                 syncs as they come (`forceSync=yes`), log and snapshots in folders of their own on the same disk"
            ),
            "driven from this program by a client in Rust that pipelines, one session to the leader for ten requests in flight \
             (stale gets: to all servers by turns)"
                .to_owned(),
            "gets are `sync` and `getData`, sent together: linearizable unless a leader is replaced unnoticed; stale gets are \
             `getData` alone; puts are `setData` of znodes that are there"
                .to_owned(),
        ]
    }

    fn offers(&self, operation: Operation) -> bool {
        operation != Operation::Scan
    }

    fn kept(&self) -> Kept {
        // It is asked for no length of log: what it keeps counts.
        Kept { copies: NODES as u64, log_bytes: 0 }
    }

    fn processes(&mut self) -> Vec<u32> {
        self.members.processes()
    }

    fn process(&mut self, node: usize) -> Option<u32> {
        self.members.process(node)
    }

    fn folders(&self) -> Vec<PathBuf> {
        self.members.folders()
    }

    async fn load(&mut self, load: Load, durations: Durations) -> Result<Sample> {
        let sessions = self.sessions(load.workload.in_flight, load.workload.operation).await?;
        // A write is `setData` too, which needs its znode.
        load.prepare_all(&sessions.iter().cloned().map(Making).collect::<Vec<_>>()).await?;
        load.drive(&sessions, durations, &self.processes()).await
    }

    async fn writers(&mut self, in_flight: usize) -> Result<Vec<Making>> {
        Ok(self.sessions(in_flight, Operation::Put).await?.into_iter().map(Making).collect())
    }

    async fn wait_whole(&mut self, within: Duration) -> Result<()> {
        self.wait_members(within).await.map(drop)
    }

    async fn follower(&mut self) -> Result<usize> {
        Ok((self.wait_members(WHOLE_WITHIN).await? + 1) % NODES)
    }

    fn kill(&mut self, node: usize) -> Result<()> {
        self.members.kill(node)
    }

    async fn end(&mut self, node: usize) -> Result<()> {
        self.members.end(node).await
    }

    fn launch(&mut self, node: usize) -> Result<()> {
        self.members.launch(node)
    }

    async fn serves(&mut self, node: usize) -> Result<(), String> {
        transaction(&state(self.members.client(node)).await?).map(drop)
    }

    async fn position(&mut self) -> Result<u64> {
        let mut last = 0;
        for (_, client) in self.members.all() {
            // The one that is away has none.
            if let Ok(state) = state(client).await {
                last = last.max(transaction(&state).unwrap_or_default());
            }
        }
        Ok(last)
    }

    async fn has(&mut self, node: usize, position: u64) -> Result<(), String> {
        let has = transaction(&state(self.members.client(node)).await?)?;
        if has >= position { Ok(()) } else { Err(format!("it has {has:#x} of {position:#x}")) }
    }

    async fn crash_leader(&mut self, round: u64) -> Result<Duration> {
        let leader = self.wait_members(WHOLE_WITHIN).await?;
        // It knows the other servers, which is the best case of a client.
        let connection = self.connect(&self.members.others(leader).join(",")).await?;
        for _ in 0..=round % WRITES_BEFORE_KILL {
            Making(connection.clone()).put(0, load::value(100)).await?;
        }
        let killed = Instant::now();
        self.members.kill(leader)?;
        let took = first_write(&connection, killed, WRITE_WITHIN).await?;
        self.members.launch(leader)?;
        self.wait_members(WHOLE_WITHIN).await?;
        Ok(took)
    }

    async fn stop(mut self) -> Result<()> {
        self.members.kill_all()
    }
}

fn path(number: u64) -> String {
    format!("{ROOT}/{number:011}")
}

async fn bounded<T>(request: impl Future<Output = Result<T, zookeeper_client::Error>>) -> Result<T> {
    match timeout(REQUEST_WITHIN, request).await {
        Ok(answer) => answer.map_err(Error::request),
        Err(_) => Err(Error::request(format!("no answer within {REQUEST_WITHIN:?}"))),
    }
}

impl ZooKeeperConnection {
    async fn read(
        read: impl Future<Output = Result<(Vec<u8>, zookeeper_client::Stat), zookeeper_client::Error>>,
        bytes: usize,
    ) -> Result<()> {
        let (value, _) = bounded(read).await?;
        if value.len() == bytes { Ok(()) } else { Err(Error::request("a znode has no value of that length")) }
    }
}

impl Connection for ZooKeeperConnection {
    async fn put(&self, number: u64, value: Bytes) -> Result<()> {
        bounded(self.0.set_data(&path(number), &value, None)).await.map(drop)
    }

    async fn get(&self, number: u64, value_bytes: usize) -> Result<()> {
        let path = path(number);
        // Both are sent at once: a session's requests are carried out in their order.
        let (synced, read) = (self.0.sync(&path), self.0.get_data(&path));
        bounded(synced).await?;
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
pub(crate) struct Making(ZooKeeperConnection);

impl Connection for Making {
    async fn put(&self, number: u64, value: Bytes) -> Result<()> {
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        let created = async {
            match self.0.0.create(&path(number), &value, &options).await {
                Err(zookeeper_client::Error::NodeExists) => Ok(false),
                created => created.map(|_| true),
            }
        };
        if bounded(created).await? { Ok(()) } else { self.0.put(number, value).await }
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
