mod client;
mod programs;
mod report;
mod tool;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use client::EtcdClient;
use kv_local::Process;
use programs::Programs;
use tool::Tool;

use super::{Ground, NODES, System, WRITE_WITHIN, WRITES_BEFORE_KILL, until};
use crate::{
    error::{Error, Result},
    http,
    load::{self, Connection as _, Durations, first_write},
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

/// Three members with the settings that etcd comes with.
#[derive(Debug)]
pub(crate) struct Etcd {
    members: Vec<Member>,
    programs: Programs,
    ground: Ground,
    driver: Driver,
}

#[derive(Debug)]
struct Member {
    name: String,
    client: SocketAddr,
    arguments: Vec<String>,
    /// `None`: killed.
    process: Option<Process>,
}

impl Etcd {
    pub(crate) async fn start(directory: &Path, cache: &Path, driver: Driver) -> Result<Self> {
        let cache = cache.to_owned();
        let built = tokio::task::spawn_blocking(move || Programs::build(&cache)).await;
        let programs = built.map_err(Error::request)??;
        let mut ground = Ground::claim(directory)?;
        let mut addresses = Vec::new();
        for index in 0..NODES {
            addresses.push((format!("etcd-{index}"), ground.ports.take()?, ground.ports.take()?));
        }
        let cluster: Vec<_> = addresses.iter().map(|(name, _, peer)| format!("{name}=http://{peer}")).collect();
        let mut members = Vec::new();
        for (name, client, peer) in addresses {
            let data = ground.directory.path().join(&name);
            fs::create_dir_all(&data).map_err(Error::file("make", &data))?;
            let arguments = vec![
                format!("--name={name}"),
                format!("--data-dir={}", data.display()),
                format!("--listen-client-urls=http://{client}"),
                format!("--advertise-client-urls=http://{client}"),
                format!("--listen-peer-urls=http://{peer}"),
                format!("--initial-advertise-peer-urls=http://{peer}"),
                format!("--initial-cluster={}", cluster.join(",")),
                "--log-level=warn".to_owned(),
            ];
            members.push(Member { name, client, arguments, process: None });
        }
        let mut system = Self { members, programs, ground, driver };
        for index in 0..NODES {
            system.launch(index)?;
        }
        system.wait_whole().await?;
        Ok(system)
    }

    fn launch(&mut self, index: usize) -> Result<()> {
        let member = &mut self.members[index];
        let log = self.ground.directory.log(&member.name);
        let launcher = &self.ground.launcher;
        member.process = Some(launcher.launch(&member.name, &self.programs.server, &member.arguments, &[], &log)?);
        Ok(())
    }

    /// Every member answers, and knows a leader.
    async fn wait_whole(&self) -> Result<()> {
        until("etcd is not whole", async || {
            for member in &self.members {
                let health = http::json(member.client, "/health", "").await.map_err(|error| error.to_string())?;
                if health["health"] != "true" {
                    return Err(format!("{} says {health}", member.name));
                }
            }
            Ok(())
        })
        .await
    }

    async fn leader(&self) -> Result<usize> {
        until("etcd has no leader", async || {
            for (index, member) in self.members.iter().enumerate() {
                let status = http::json(member.client, "/v3/maintenance/status", "{}").await;
                let status = status.map_err(|error| error.to_string())?;
                if status["leader"].is_string() && status["leader"] == status["header"]["member_id"] {
                    return Ok(index);
                }
            }
            Err("no member says that it leads".to_owned())
        })
        .await
    }

    fn addresses(&self) -> Vec<String> {
        self.members.iter().map(|member| member.client.to_string()).collect()
    }
}

impl System for Etcd {
    fn version(&self) -> String {
        programs::version().to_owned()
    }

    fn settings(&self) -> Vec<String> {
        let driver = match self.driver {
            Driver::Tool => {
                "puts and gets: its own `benchmark`, with one connection to the leader for ten clients; all its gets are of one \
                 key; percentiles from its report. Mix and scans: gRPC from this program, as in etcd-tonic"
            }
            Driver::Tonic => {
                "driven by gRPC from this program, one connection to the leader for ten in flight, at most three"
            }
        };
        vec![
            "three members, each with every key; a write is acknowledged when two have synced it".to_owned(),
            "settings as they come".to_owned(),
            driver.to_owned(),
        ]
    }

    fn offers(&self, _: Operation) -> bool {
        true
    }

    fn processes(&mut self) -> Vec<u32> {
        self.members.iter().filter_map(|member| member.process.as_ref()).map(Process::id).collect()
    }

    async fn load(&mut self, workload: Workload, durations: Durations) -> Result<Sample> {
        let leader = self.leader().await?;
        let address = self.members[leader].client.to_string();
        let servers = self.processes();
        match (self.driver, workload.operation) {
            (Driver::Tool, Operation::Put | Operation::Get | Operation::StaleGet) => {
                let client = EtcdClient::new(&[address], REQUEST_WITHIN)?;
                let (key, value) = (Tool::read_key(&workload), load::value(workload.value_bytes));
                client.put_named(key.into(), value).await?;
                let tool = Tool { program: self.programs.tool.clone(), endpoints: self.addresses().join(",") };
                tool.drive(&workload, durations, &servers).await
            }
            _ => {
                let number = tool::connections(workload.in_flight).min(NODES);
                let clients: Result<Vec<_>> =
                    (0..number).map(|_| EtcdClient::new(std::slice::from_ref(&address), REQUEST_WITHIN)).collect();
                let clients = clients?;
                if workload.reads() {
                    load::prepare(&clients, &workload).await?;
                }
                load::drive(&clients, workload, durations, &servers).await
            }
        }
    }

    async fn crash_leader(&mut self, round: u64) -> Result<Duration> {
        let leader = self.leader().await?;
        let others: Vec<_> =
            self.members.iter().filter(|member| member.client != self.members[leader].client).collect();
        let others: Vec<_> = others.iter().map(|member| member.client.to_string()).collect();
        // It knows the other members and is connected to them, which is the best case of a client.
        let client = EtcdClient::new(&others, ATTEMPT_WITHIN)?;
        for _ in 0..=round % WRITES_BEFORE_KILL {
            client.put(0, load::value(100)).await?;
        }
        let killed = Instant::now();
        if let Some(mut process) = self.members[leader].process.take() {
            process.kill()?;
        }
        let took = first_write(&client, killed, WRITE_WITHIN).await?;
        self.launch(leader)?;
        self.wait_whole().await?;
        Ok(took)
    }

    async fn stop(mut self) -> Result<()> {
        for member in &mut self.members {
            if let Some(mut process) = member.process.take() {
                process.kill()?;
            }
        }
        Ok(())
    }
}
