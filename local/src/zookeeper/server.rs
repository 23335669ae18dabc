use std::{fmt::Write as _, fs, net::SocketAddr, path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::Jars;
use crate::{
    error::{Error, Result},
    process::{Launcher, Process},
};

/// Milliseconds: sessions from one second up, and expiry that is seen half a second late at most.
const TICK_TIME: u32 = 500;
const ASK_WITHIN: Duration = Duration::from_secs(2);
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Bytes of an answer to `srvr` that are read.
const ANSWER_BYTES: u64 = 16 * 1024;

/// What a server says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerMode {
    /// There is no other.
    Standalone,
    /// The leader of the ensemble.
    Leader,
    /// Follows the leader.
    Follower,
}

/// The addresses of one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) client: SocketAddr,
    pub(super) quorum: SocketAddr,
    pub(super) election: SocketAddr,
}

/// One ZooKeeper server as a child process.
#[derive(Debug)]
pub struct Server {
    name: String,
    client: SocketAddr,
    configuration: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Server {
    /// Writes the configuration of server `index` of the ensemble at `all`. Its data of an earlier run stays.
    pub(super) fn prepare(index: usize, all: &[Addresses], directory: PathBuf, log: PathBuf) -> Result<Self> {
        let data = directory.join("data");
        fs::create_dir_all(&data).map_err(Error::file("make", &data))?;
        let identity = data.join("myid");
        fs::write(&identity, format!("{}\n", index + 1)).map_err(Error::file("write", &identity))?;
        let client = all[index].client;
        let mut text = format!(
            "tickTime={TICK_TIME}\n\
             initLimit=20\n\
             syncLimit=10\n\
             minSessionTimeout={}\n\
             maxSessionTimeout=120000\n\
             dataDir={}\n\
             clientPort={}\n\
             clientPortAddress={}\n\
             maxClientCnxns=0\n\
             preAllocSize=4096\n\
             autopurge.snapRetainCount=3\n\
             admin.enableServer=false\n\
             reconfigEnabled=false\n\
             4lw.commands.whitelist=srvr,mntr\n",
            TICK_TIME * 2,
            data.display(),
            client.port(),
            client.ip(),
        );
        if all.len() > 1 {
            for (number, Addresses { client: _, quorum, election }) in (1..).zip(all) {
                let (ip, quorum, election) = (quorum.ip(), quorum.port(), election.port());
                // Writing to a string can't fail.
                let _ = writeln!(text, "server.{number}={ip}:{quorum}:{election}");
            }
        }
        let configuration = directory.join("zoo.cfg");
        fs::write(&configuration, text).map_err(Error::file("write", &configuration))?;
        let name = format!("zookeeper-{index}");
        Ok(Self { name, client, configuration, log, process: None })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.client
    }

    /// Whether its process runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    pub(super) fn launch(&mut self, launcher: &Launcher, jars: &Jars) -> Result<()> {
        if self.is_running() {
            return Err(Error::Running { process: self.name.clone() });
        }
        let arguments = [
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            // Else each Java leaves a file in /tmp when it is killed.
            "-XX:-UsePerfData",
            "-Djava.net.preferIPv4Stack=true",
            "-cp",
            &jars.class_path(),
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            &self.configuration.to_string_lossy(),
        ]
        .map(str::to_owned);
        let process = launcher.launch(&self.name, jars.java(), &arguments, &[], &self.log)?;
        self.process = Some(process);
        Ok(())
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        if !self.is_running() {
            return Err(Error::NotRunning { process: self.name.clone() });
        }
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    pub(super) fn wipe(&mut self) -> Result<()> {
        if self.is_running() {
            return Err(Error::Running { process: self.name.clone() });
        }
        // Beside it lies `myid`, which is configuration.
        let content = self.configuration.with_file_name("data").join("version-2");
        if content.exists() {
            fs::remove_dir_all(&content).map_err(Error::file("remove", &content))?;
        }
        Ok(())
    }

    /// What it says that it is; `None` if it is not serving.
    pub async fn mode(&self) -> Option<ServerMode> {
        let answer = timeout(ASK_WITHIN, self.ask("srvr")).await.ok()?.ok()?;
        let mode = answer.lines().find_map(|line| line.strip_prefix("Mode: "))?;
        match mode.trim() {
            "standalone" => Some(ServerMode::Standalone),
            "leader" => Some(ServerMode::Leader),
            "follower" => Some(ServerMode::Follower),
            _ => None,
        }
    }

    pub(super) async fn wait_serving(&mut self, within: Duration) -> Result<ServerMode> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(mode) = self.mode().await {
                return Ok(mode);
            }
            let Some(process) = &mut self.process else {
                return Err(Error::NotRunning { process: self.name.clone() });
            };
            if let Some(status) = process.ended() {
                return Err(process.ended_error(status));
            }
            if Instant::now() >= deadline {
                let detail = "it does not answer `srvr` with its mode".to_owned();
                let (process, log) = (self.name.clone(), self.log.clone());
                return Err(Error::NotReady { process, within, detail, log });
            }
            sleep(ASK_EVERY).await;
        }
    }

    async fn ask(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.client).await?;
        stream.write_all(command.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}
