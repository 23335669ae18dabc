use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{process::Command, time::timeout};

use super::{
    Jars,
    server::{Addresses, Server, ServerMode},
};
use crate::{
    directory::WorkDirectory,
    error::{Error, Result},
    ports::PortBlock,
    process::Launcher,
};

/// How long a server may take to serve; some 2 s alone, 4 s as one of three.
const SERVING_WITHIN: Duration = Duration::from_secs(60);
/// How long a command of ZooKeeper's own shell may take, a Java's start included.
const SHELL_WITHIN: Duration = Duration::from_secs(30);

/// One or three ZooKeeper servers.
#[derive(Debug)]
pub struct Ensemble {
    servers: Vec<Server>,
    jars: Jars,
    launcher: Arc<Launcher>,
}

impl Ensemble {
    /// Starts 1 or 3 servers on ports of `ports`, and returns when all serve.
    ///
    /// # Errors
    /// [`Error::Option`] for another number of them, and all of [`Error`] that starting a process can yield.
    pub async fn start(
        jars: Jars,
        directory: &WorkDirectory,
        servers: usize,
        ports: &mut PortBlock,
        launcher: Arc<Launcher>,
    ) -> Result<Self> {
        if !matches!(servers, 1 | 3) {
            let (option, bound) = ("the number of ZooKeeper servers", "1 or 3");
            return Err(Error::Option { option, value: servers.to_string(), bound });
        }
        let addresses = (0..servers)
            .map(|_| Ok(Addresses { client: ports.take()?, quorum: ports.take()?, election: ports.take()? }))
            .collect::<Result<Vec<_>>>()?;
        let servers = (0..servers)
            .map(|index| {
                let home = directory.path().join("zookeeper").join(index.to_string());
                let log = directory.log(&format!("zookeeper-{index}"));
                Server::prepare(index, &addresses, home, log)
            })
            .collect::<Result<Vec<_>>>()?;
        let mut ensemble = Self { servers, jars, launcher };
        ensemble.start_all().await?;
        Ok(ensemble)
    }

    /// Where clients connect, one address a server.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(Server::address).collect()
    }

    /// The servers.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Which server leads: the only one, or the leader of three. `None` if none does just now.
    pub async fn leader(&self) -> Option<usize> {
        for (index, server) in self.servers.iter().enumerate() {
            if matches!(server.mode().await, Some(ServerMode::Leader | ServerMode::Standalone)) {
                return Some(index);
            }
        }
        None
    }

    /// SIGKILL to one server; returns when it is gone.
    ///
    /// # Errors
    /// [`Error::NoSuchServer`], [`Error::NotRunning`].
    pub fn kill(&mut self, index: usize) -> Result<()> {
        self.server(index)?.kill()
    }

    /// Starts one server that was killed, with the data that it had, and returns when it serves.
    ///
    /// # Errors
    /// [`Error::NoSuchServer`], [`Error::Running`], [`Error::Ended`], [`Error::NotReady`] (without a majority).
    pub async fn start_server(&mut self, index: usize) -> Result<()> {
        self.server(index)?;
        let Self { servers, jars, launcher } = self;
        servers[index].launch(launcher, jars)?;
        servers[index].wait_serving(SERVING_WITHIN).await?;
        Ok(())
    }

    /// Kills all servers that run: ZooKeeper is gone when this returns.
    ///
    /// # Errors
    /// [`Error::Signal`].
    pub fn stop_all(&mut self) -> Result<()> {
        for server in &mut self.servers {
            if server.is_running() {
                server.kill()?;
            }
        }
        Ok(())
    }

    /// Starts all servers that don't run, with the data that they had, and returns when all serve.
    ///
    /// # Errors
    /// [`Error::Ended`], [`Error::NotReady`].
    pub async fn start_all(&mut self) -> Result<()> {
        self.launch_all()?;
        for server in &mut self.servers {
            server.wait_serving(SERVING_WITHIN).await?;
        }
        Ok(())
    }

    /// As [`Ensemble::start_all`], and waits for nothing.
    ///
    /// # Errors
    /// [`Error::Start`], [`Error::File`].
    pub fn launch_all(&mut self) -> Result<()> {
        let Self { servers, jars, launcher } = self;
        for server in servers {
            if !server.is_running() {
                server.launch(launcher, jars)?;
            }
        }
        Ok(())
    }

    /// Empties the servers of all that they hold.
    ///
    /// # Errors
    /// [`Error::Running`] unless all are stopped; [`Error::File`].
    pub fn wipe_all(&mut self) -> Result<()> {
        self.servers.iter_mut().try_for_each(Server::wipe)
    }

    /// Runs one command of ZooKeeper's own shell (`zkCli.sh`), such as `["get", "/kvclusters/local/master"]`, and
    /// returns what it prints.
    ///
    /// # Errors
    /// [`Error::Command`] if it fails (no such node, say), [`Error::NotReady`] if ZooKeeper doesn't answer.
    pub async fn shell(&self, arguments: &[&str]) -> Result<String> {
        let started = |source| Error::Start { program: self.jars.java().display().to_string(), source };
        let addresses: Vec<_> = self.addresses().iter().map(ToString::to_string).collect();
        let mut command = Command::new(self.jars.java());
        command
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"])
            .args(["-Dkv.zookeeper.log=ERROR", "-cp", &self.jars.class_path()])
            .args(["org.apache.zookeeper.ZooKeeperMain", "-server", &addresses.join(",")])
            .args(arguments)
            .kill_on_drop(true);
        let Ok(output) = timeout(SHELL_WITHIN, command.output()).await else {
            let detail = "its shell does not end".to_owned();
            let log = self.jars.java().to_owned();
            let process = "zookeeper".to_owned();
            return Err(Error::NotReady { process, within: SHELL_WITHIN, detail, log });
        };
        let output = output.map_err(started)?;
        let text = [&output.stdout[..], &output.stderr[..]].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let command = format!("zkCli {}", arguments.join(" "));
        Err(Error::Command { command, status: output.status, output: text })
    }

    fn server(&mut self, index: usize) -> Result<&mut Server> {
        let last = self.servers.len() - 1;
        self.servers.get_mut(index).ok_or(Error::NoSuchServer { index, last })
    }
}
