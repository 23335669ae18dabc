use std::{
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    callers::Callers,
    directory::WorkDirectory,
    error::{Error, Result},
    http,
    options::Options,
    ports::PortBlock,
    process::{Launcher, Process},
    proxy::Proxy,
};

const ASK_EVERY: Duration = Duration::from_millis(25);
/// Root of the cluster in ZooKeeper.
pub(crate) const ROOT: &str = "/kvclusters/local";

/// One of a node's two volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    /// Shards whose home the node is.
    Data,
    /// Copies of others' shards.
    Bkpdata,
}

impl Folder {
    /// Its name, as in commands and directories.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Bkpdata => "bkpdata",
        }
    }
}

/// What a node's process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It runs.
    Running,
    /// It was stopped by SIGSTOP.
    Paused,
    /// It has no process.
    Stopped,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// One node: its process, its addresses, its volumes and its two proxies.
#[derive(Debug)]
pub struct Node {
    name: String,
    directory: PathBuf,
    log: PathBuf,
    direct: SocketAddr,
    http: SocketAddr,
    inbound: Option<Proxy>,
    zookeeper: Option<Proxy>,
    binary: PathBuf,
    prefix: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    process: Option<Process>,
    callers: Arc<Callers>,
    index: usize,
}

/// What all nodes of a cluster share.
pub(crate) struct Shared<'a> {
    pub(crate) options: &'a Options,
    pub(crate) binary: &'a Path,
    pub(crate) directory: &'a WorkDirectory,
    pub(crate) zookeeper: &'a [SocketAddr],
    pub(crate) callers: &'a Arc<Callers>,
}

impl Node {
    /// Gives node `index` its ports, its proxies and its command line; it is not started.
    pub(crate) async fn prepare(index: usize, shared: Shared<'_>, ports: &mut PortBlock) -> Result<Self> {
        let Shared { options, binary, directory: work, zookeeper, callers } = shared;
        let name = format!("kv-{index}");
        let directory = work.path().join(&name);
        fs::create_dir_all(&directory).map_err(Error::file("make", &directory))?;
        let (direct, http) = (ports.take()?, ports.take()?);
        let (inbound_address, zookeeper_address) = (ports.take()?, ports.take()?);
        let (inbound, zookeeper_proxy) = if options.proxies {
            let inbound = Proxy::start_for(inbound_address, vec![direct], Arc::clone(callers)).await?;
            let zookeeper = Proxy::start(zookeeper_address, zookeeper.to_vec()).await?;
            (Some(inbound), Some(zookeeper))
        } else {
            (None, None)
        };
        let servers = zookeeper_proxy.as_ref().map_or_else(
            || zookeeper.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            |proxy| proxy.address().to_string(),
        );
        let advertised = inbound.as_ref().map_or(direct, Proxy::address);
        let mut arguments: Vec<String> = [
            ("--name", name.clone()),
            ("--zookeeper", format!("{servers}{ROOT}")),
            ("--listen", direct.to_string()),
            ("--advertise", advertised.to_string()),
            ("--http", http.to_string()),
            ("--data", directory.join(Folder::Data.name()).display().to_string()),
            ("--bkpdata", directory.join(Folder::Bkpdata.name()).display().to_string()),
            ("--nodes", options.nodes.to_string()),
            ("--copies", options.copies.to_string()),
            ("--session-timeout", format!("{}ms", options.session_timeout.as_millis())),
            ("--lease", format!("{}ms", options.lease.as_millis())),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        arguments.insert(0, "run".to_owned());
        if let Some(shards) = options.shards {
            arguments.extend(["--shards".to_owned(), shards.to_string()]);
        }
        arguments.extend(options.node_arguments.iter().cloned());
        let named = |(variable, value): &(String, String)| (variable.clone(), value.replace("{name}", &name));
        let environment = options.node_environment.iter().map(named).collect();
        Ok(Self {
            log: work.log(&name),
            name,
            directory,
            direct,
            http,
            inbound,
            zookeeper: zookeeper_proxy,
            binary: binary.to_owned(),
            prefix: Vec::new(),
            arguments,
            environment,
            process: None,
            callers: Arc::clone(callers),
            index,
        })
    }

    /// Its name: `kv-0`, `kv-1`, …
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens itself, past its proxy: also reachable when it is cut off.
    #[must_use]
    pub const fn direct_address(&self) -> SocketAddr {
        self.direct
    }

    /// Where its peers and clients reach it: its inbound proxy, if it has one.
    #[must_use]
    pub fn advertised_address(&self) -> SocketAddr {
        self.inbound.as_ref().map_or(self.direct, Proxy::address)
    }

    /// Its health and metrics.
    #[must_use]
    pub const fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Its log file.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The directory of a volume.
    #[must_use]
    pub fn volume(&self, folder: Folder) -> PathBuf {
        self.directory.join(folder.name())
    }

    /// The proxy before it, for what reaches it from peers and clients. `None` without proxies.
    pub const fn inbound_proxy(&mut self) -> Option<&mut Proxy> {
        self.inbound.as_mut()
    }

    /// The proxy between it and ZooKeeper. `None` without proxies.
    pub const fn zookeeper_proxy(&mut self) -> Option<&mut Proxy> {
        self.zookeeper.as_mut()
    }

    /// What its process is doing.
    pub fn state(&mut self) -> NodeState {
        let Some(process) = &mut self.process else {
            return NodeState::Stopped;
        };
        if process.ended().is_some() {
            NodeState::Stopped
        } else if process.is_paused() {
            NodeState::Paused
        } else {
            NodeState::Running
        }
    }

    /// The process id; `None` if it is stopped.
    pub fn process_id(&mut self) -> Option<u32> {
        (self.state() != NodeState::Stopped).then(|| self.process.as_ref().map(Process::id))?
    }

    pub(crate) fn launch(&mut self, launcher: &Launcher) -> Result<()> {
        if self.state() != NodeState::Stopped {
            return Err(Error::Running { process: self.name.clone() });
        }
        let arguments: Vec<_> = match self.prefix.split_first() {
            None => self.arguments.clone(),
            Some((_, others)) => {
                let binary = self.binary.display().to_string();
                others.iter().cloned().chain([binary]).chain(self.arguments.iter().cloned()).collect()
            }
        };
        let program = self.prefix.first().map_or(self.binary.as_path(), Path::new);
        let process = launcher.launch(&self.name, program, &arguments, &self.environment, &self.log)?;
        self.callers.set(self.index, process.id());
        self.process = Some(process);
        Ok(())
    }

    /// Further arguments for its next start, such as another log level.
    pub fn add_arguments(&mut self, arguments: impl IntoIterator<Item = String>) {
        self.arguments.extend(arguments);
    }

    /// A program, with its arguments, that its next starts go through: it must become the node (by `exec`) without another
    /// process id. Empty: none.
    pub fn start_through(&mut self, prefix: Vec<String>) {
        self.prefix = prefix;
    }

    /// A variable of the environment of its next starts.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.retain(|(given, _)| given != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// SIGKILL; returns when the process is gone.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Signal`].
    pub fn kill(&mut self) -> Result<()> {
        self.running()?.kill()
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Signal`].
    pub fn pause(&mut self) -> Result<()> {
        self.running()?.pause()
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Signal`].
    pub fn resume(&mut self) -> Result<()> {
        self.running()?.resume()
    }

    /// SIGTERM: it hands over what it serves and leaves. Does not wait for that.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Signal`].
    pub fn ask_to_end(&mut self) -> Result<()> {
        self.running()?.ask_to_end()
    }

    /// Waits for the end of its process, and kills it after `within`. True if it ended by itself and in order.
    ///
    /// # Errors
    /// [`Error::Signal`].
    pub async fn wait_ended(&mut self, within: Duration) -> Result<bool> {
        let Some(process) = &mut self.process else {
            return Ok(true);
        };
        let status = process.wait_or_kill(within).await?;
        Ok(status.is_some_and(|status| status.success()))
    }

    /// Empties a volume, as if its disk had been replaced.
    ///
    /// # Errors
    /// [`Error::Running`] unless it is stopped; [`Error::File`].
    pub fn wipe(&mut self, folder: Folder) -> Result<()> {
        if self.state() != NodeState::Stopped {
            return Err(Error::Running { process: self.name.clone() });
        }
        let path = self.volume(folder);
        fs::create_dir_all(&path).map_err(Error::file("make", &path))?;
        // Not removed itself: it may be a mount point.
        for entry in fs::read_dir(&path).map_err(Error::file("read", &path))? {
            let entry = entry.map_err(Error::file("read", &path))?;
            let (path, kind) = (entry.path(), entry.file_type());
            let removed = match kind {
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
                Err(error) => Err(error),
            };
            removed.map_err(Error::file("remove", &path))?;
        }
        Ok(())
    }

    /// Status and body of a path of its HTTP port, such as `/metrics`.
    ///
    /// # Errors
    /// Those of the connection; `TimedOut` after 2 s.
    pub async fn http(&self, path: &str) -> std::io::Result<(u16, String)> {
        http::get(self.http, path).await
    }

    /// Waits until `/livez` says that it runs; it may still be far from ready.
    ///
    /// # Errors
    /// As [`Node::wait_ready`].
    pub async fn wait_alive(&mut self, within: Duration) -> Result<()> {
        self.wait_for("/livez", within).await
    }

    /// Waits until `/readyz` says that it is ready: registered, and every placed copy in sync.
    ///
    /// # Errors
    /// [`Error::Ended`], [`Error::NotRunning`], [`Error::NotReady`].
    pub async fn wait_ready(&mut self, within: Duration) -> Result<()> {
        self.wait_for("/readyz", within).await
    }

    async fn wait_for(&mut self, path: &str, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let detail = match self.http(path).await {
                Ok((200, _)) => return Ok(()),
                Ok((status, body)) => format!("{path} says {status}: {}", body.trim()),
                Err(error) => format!("{path}: {error}"),
            };
            let Some(process) = &mut self.process else {
                return Err(Error::NotRunning { process: self.name.clone() });
            };
            if let Some(status) = process.ended() {
                return Err(process.ended_error(status));
            }
            if Instant::now() >= deadline {
                let (process, log) = (self.name.clone(), self.log.clone());
                return Err(Error::NotReady { process, within, detail, log });
            }
            sleep(ASK_EVERY).await;
        }
    }

    fn running(&mut self) -> Result<&mut Process> {
        if self.state() == NodeState::Stopped {
            return Err(Error::NotRunning { process: self.name.clone() });
        }
        self.process.as_mut().ok_or_else(|| Error::NotRunning { process: self.name.clone() })
    }
}
