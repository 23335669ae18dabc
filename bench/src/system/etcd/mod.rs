mod client;
mod programs;
mod report;
mod tool;

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use client::EtcdClient;
use programs::Programs;
use tool::Tool;

use super::{Kept, NODES, Setup, System, WHOLE_WITHIN, WRITE_WITHIN, WRITES_BEFORE_KILL, members::Members, until};
use crate::{
    error::{Error, Result},
    http,
    load::{self, Connection as _, Durations, Load, first_write},
    report::Sample,
    workload::{Operation, Workload},
};

/// Of a request of a load: longer means that it is stuck.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// Of a write while there is no leader: then another member is asked.
const ATTEMPT_WITHIN: Duration = Duration::from_millis(250);

/// What puts loads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// etcd's own tool, as far as it has such loads.
    Tool,
    /// This program: what the client costs is seen from the difference.
    Tonic,
}

/// What differs from how it comes: a quota that nothing measured here reaches, the largest that its guide advises, and
/// compaction, without which it would keep every revision.
const SETTINGS: [&str; 3] =
    ["--quota-backend-bytes=8589934592", "--auto-compaction-mode=revision", "--auto-compaction-retention=10000"];

/// Three members with the settings that etcd comes with, but for [`SETTINGS`].
#[derive(Debug)]
pub(crate) struct Etcd {
    members: Members,
    programs: Programs,
    driver: Driver,
}

impl Etcd {
    /// Every member answers, and knows a leader.
    async fn wait_members(&self, within: Duration) -> Result<()> {
        until("etcd is not whole", within, async || {
            for (name, client) in self.members.all() {
                healthy(name, client).await?;
            }
            Ok(())
        })
        .await
    }

    async fn leader(&self) -> Result<usize> {
        until("etcd has no leader", WHOLE_WITHIN, async || {
            for (index, (_, client)) in self.members.all().enumerate() {
                // One that is away may not lead.
                let Ok(status) = status(client).await else { continue };
                if status["leader"].is_string() && status["leader"] == status["header"]["member_id"] {
                    return Ok(index);
                }
            }
            Err("no member says that it leads".to_owned())
        })
        .await
    }

    /// Connections to the leader; reads that may be out of date may be asked of any member.
    async fn connect(&self, workload: &Workload) -> Result<Vec<EtcdClient>> {
        let number = tool::connections(workload.in_flight).min(NODES);
        let leader = self.members.client(self.leader().await?).to_string();
        let addresses = match workload.operation {
            Operation::StaleGet => self.members.addresses(),
            _ => vec![leader; number],
        };
        addresses.into_iter().take(number).map(|address| EtcdClient::new(&[address], REQUEST_WITHIN)).collect()
    }
}

async fn healthy(name: &str, client: SocketAddr) -> Result<(), String> {
    let health = http::json(client, "/health", "").await.map_err(|error| error.to_string())?;
    if health["health"] == "true" { Ok(()) } else { Err(format!("{name} says {health}")) }
}

async fn status(client: SocketAddr) -> Result<serde_json::Value, String> {
    http::json(client, "/v3/maintenance/status", "{}").await.map_err(|error| error.to_string())
}

/// Numbers of 64 bits are strings there.
fn number(status: &serde_json::Value, field: &str) -> Result<u64, String> {
    let text = status[field].as_str().and_then(|text| text.parse().ok());
    text.ok_or_else(|| format!("its status has no {field}"))
}

impl System for Etcd {
    type Variant = Driver;
    type Writer = EtcdClient;

    async fn start(driver: Driver, setup: Setup<'_>) -> Result<Self> {
        let cache = setup.cache.to_owned();
        let built = tokio::task::spawn_blocking(move || Programs::build(&cache)).await;
        let programs = built.map_err(Error::request)??;
        let mut members = Members::none_in(setup.directory)?;
        let mut addresses = Vec::new();
        for index in 0..NODES {
            addresses.push((format!("etcd-{index}"), members.take_port()?, members.take_port()?));
        }
        let cluster: Vec<_> = addresses.iter().map(|(name, _, peer)| format!("{name}=http://{peer}")).collect();
        for (name, client, peer) in addresses {
            let data = members.folder(&name)?;
            let mut arguments = vec![
                format!("--name={name}"),
                format!("--data-dir={}", data.display()),
                format!("--listen-client-urls=http://{client}"),
                format!("--advertise-client-urls=http://{client}"),
                format!("--listen-peer-urls=http://{peer}"),
                format!("--initial-advertise-peer-urls=http://{peer}"),
                format!("--initial-cluster={}", cluster.join(",")),
                "--log-level=warn".to_owned(),
            ];
            arguments.extend(SETTINGS.map(str::to_owned));
            members.add(name, client, &programs.server, arguments);
        }
        members.launch_all()?;
        let system = Self { members, programs, driver };
        system.wait_members(WHOLE_WITHIN).await?;
        Ok(system)
    }

    fn version(&self) -> String {
        programs::version().to_owned()
    }

    fn settings(&self) -> Vec<String> {
        let driver = match self.driver {
            Driver::Tool => {
                "puts and gets: its own `benchmark`, with one connection to the leader for ten clients (stale gets: to all members); \
                 all its gets are of one key, which is the easiest case; percentiles from its report. All else: gRPC from this \
                 program, as in etcd-tonic"
            }
            Driver::Tonic => {
                "driven by gRPC from this program, one connection to the leader for ten in flight, at most three (stale gets: one \
                 to each member)"
            }
        };
        vec![
            "three members, each with every key; a write is acknowledged when two have synced it".to_owned(),
            format!("settings as they come, but for {}", SETTINGS.map(|setting| format!("`{setting}`")).join(", ")),
            driver.to_owned(),
        ]
    }

    fn offers(&self, _: Operation) -> bool {
        true
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
        let workload = load.workload;
        let clients = self.connect(&workload).await?;
        let servers = self.processes();
        let has_such = matches!(workload.operation, Operation::Put | Operation::Get | Operation::StaleGet);
        // Its tool can't be told which keys there are.
        if self.driver == Driver::Tool && has_such && load.keys == workload.keys() {
            let (key, value) = (Tool::read_key(&workload), load::value(workload.value_bytes));
            clients[0].put_named(key.into(), value).await?;
            let tool = Tool { program: self.programs.tool.clone(), endpoints: self.members.addresses().join(",") };
            return tool.drive(&workload, durations, &servers).await;
        }
        load.prepare(&clients).await?;
        load.drive(&clients, durations, &servers).await
    }

    async fn writers(&mut self, in_flight: usize) -> Result<Vec<EtcdClient>> {
        self.connect(&Workload { operation: Operation::Put, value_bytes: 0, in_flight }).await
    }

    async fn wait_whole(&mut self, within: Duration) -> Result<()> {
        self.wait_members(within).await
    }

    async fn follower(&mut self) -> Result<usize> {
        Ok((self.leader().await? + 1) % NODES)
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
        healthy("it", self.members.client(node)).await
    }

    async fn position(&mut self) -> Result<u64> {
        let leader = self.members.client(self.leader().await?);
        let index = async { number(&status(leader).await?, "raftIndex") };
        index.await.map_err(Error::request)
    }

    async fn has(&mut self, node: usize, position: u64) -> Result<(), String> {
        let client = self.members.client(node);
        let applied = number(&status(client).await?, "raftAppliedIndex")?;
        if applied < position {
            return Err(format!("it has applied {applied} of {position}"));
        }
        healthy("it", client).await
    }

    async fn crash_leader(&mut self, round: u64) -> Result<Duration> {
        let leader = self.leader().await?;
        // It knows the other members and is connected to them, which is the best case of a client.
        let client = EtcdClient::new(&self.members.others(leader), ATTEMPT_WITHIN)?;
        for _ in 0..=round % WRITES_BEFORE_KILL {
            client.put(0, load::value(100)).await?;
        }
        let killed = Instant::now();
        self.members.kill(leader)?;
        let took = first_write(&client, killed, WRITE_WITHIN).await?;
        self.members.launch(leader)?;
        self.wait_members(WHOLE_WITHIN).await?;
        Ok(took)
    }

    async fn stop(mut self) -> Result<()> {
        self.members.kill_all()
    }
}
