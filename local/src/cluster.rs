use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    callers::Callers,
    directory::WorkDirectory,
    error::{Error, Result},
    node::{Folder, Node, NodeState, ROOT, Shared},
    options::{MAX_NODES, Options},
    ports::PortBlock,
    process::Launcher,
    proxy::{Mode, Proxy},
    zookeeper::{Ensemble, Jars},
};

/// How long nodes may take to leave in order before they are killed.
const LEAVE_WITHIN: Duration = Duration::from_secs(20);

/// A ZooKeeper and some nodes as child processes on loopback, each node behind two proxies of its own. All of it ends
/// when this is dropped, and a temporary directory goes with it.
///
/// The fields are in the order in which they are dropped: processes before what they use.
#[derive(Debug)]
pub struct LocalCluster {
    nodes: Vec<Node>,
    zookeeper: Ensemble,
    launcher: Arc<Launcher>,
    ports: PortBlock,
    options: Options,
    binary: PathBuf,
    callers: Arc<Callers>,
    directory: WorkDirectory,
}

impl LocalCluster {
    /// Starts ZooKeeper and the nodes. ZooKeeper serves when this returns; for the nodes see
    /// [`LocalCluster::wait_ready`].
    ///
    /// # Errors
    /// See [`Error`]: a bad option, a missing program, no ports, a process that ends.
    pub async fn start(options: Options) -> Result<Self> {
        options.check()?;
        let binary = options.find_node_binary()?;
        let directory = match &options.directory {
            Some(path) => WorkDirectory::kept(path)?,
            None => WorkDirectory::temporary()?,
        };
        let fetched = tokio::task::spawn_blocking(Jars::fetch).await;
        let jars = fetched
            .map_err(|error| Error::Start { program: "maven".to_owned(), source: std::io::Error::other(error) })??;
        let mut ports = PortBlock::claim(directory.last_ports())?;
        directory.record_ports(ports.base())?;
        let launcher = Arc::new(Launcher::new(directory.process_ids())?);
        let zookeeper =
            Ensemble::start(jars, &directory, options.zookeeper_servers, &mut ports, Arc::clone(&launcher)).await?;
        let nodes = options.nodes.max(directory.known_nodes()).min(MAX_NODES);
        let callers = Arc::default();
        let mut cluster = Self { nodes: Vec::new(), zookeeper, launcher, ports, options, binary, callers, directory };
        for _ in 0..nodes {
            cluster.add_node().await?;
        }
        Ok(cluster)
    }

    /// Starts one more node, and returns its number. It is not waited for.
    ///
    /// # Errors
    /// [`Error::Option`] past [`MAX_NODES`]; [`Error::Start`] and others of starting a process.
    pub async fn add_node(&mut self) -> Result<usize> {
        let index = self.nodes.len();
        if index >= MAX_NODES {
            let value = (index + 1).to_string();
            return Err(Error::Option { option: "the number of nodes", value, bound: "1 to 47" });
        }
        let shared = Shared {
            options: &self.options,
            binary: &self.binary,
            directory: &self.directory,
            zookeeper: &self.zookeeper.addresses(),
            callers: &self.callers,
        };
        let mut node = Node::prepare(index, shared, &mut self.ports).await?;
        node.launch(&self.launcher)?;
        self.nodes.push(node);
        Ok(index)
    }

    /// How many nodes there are, running or not.
    #[must_use]
    pub const fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`].
    pub fn node(&self, index: usize) -> Result<&Node> {
        let last = self.nodes.len().saturating_sub(1);
        self.nodes.get(index).ok_or(Error::NoSuchNode { index, last })
    }

    /// A node, to do something to.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`].
    pub fn node_mut(&mut self, index: usize) -> Result<&mut Node> {
        let last = self.nodes.len().saturating_sub(1);
        self.nodes.get_mut(index).ok_or(Error::NoSuchNode { index, last })
    }

    /// The number of the node called `name`.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name() == name)
    }

    /// ZooKeeper.
    #[must_use]
    pub const fn zookeeper(&self) -> &Ensemble {
        &self.zookeeper
    }

    /// ZooKeeper, to do something to.
    pub const fn zookeeper_mut(&mut self) -> &mut Ensemble {
        &mut self.zookeeper
    }

    /// What a client is given to find the cluster by: `host:port,…/root`, past all proxies.
    #[must_use]
    pub fn zookeeper_url(&self) -> String {
        let servers: Vec<_> = self.zookeeper.addresses().iter().map(ToString::to_string).collect();
        format!("{}{ROOT}", servers.join(","))
    }

    /// The cluster's root in ZooKeeper.
    #[must_use]
    pub const fn root(&self) -> &'static str {
        ROOT
    }

    /// Where everything lies: logs under `logs`, a node's volumes under its name.
    #[must_use]
    pub const fn directory(&self) -> &WorkDirectory {
        &self.directory
    }

    /// Waits until every node that runs is ready.
    ///
    /// # Errors
    /// [`Error::Ended`], [`Error::NotReady`].
    pub async fn wait_ready(&mut self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        for node in &mut self.nodes {
            if node.state() == NodeState::Running {
                node.wait_ready(deadline.saturating_duration_since(Instant::now())).await?;
            }
        }
        Ok(())
    }

    /// SIGKILL to a node; returns when its process is gone.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`], [`Error::NotRunning`].
    pub fn kill(&mut self, index: usize) -> Result<()> {
        self.node_mut(index)?.kill()
    }

    /// SIGSTOP to a node.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`], [`Error::NotRunning`].
    pub fn pause(&mut self, index: usize) -> Result<()> {
        self.node_mut(index)?.pause()
    }

    /// SIGCONT to a node.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`], [`Error::NotRunning`].
    pub fn resume(&mut self, index: usize) -> Result<()> {
        self.node_mut(index)?.resume()
    }

    /// Starts a node that was killed or left, with the volumes that it had. It is not waited for.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`], [`Error::Running`].
    pub fn start_node(&mut self, index: usize) -> Result<()> {
        let launcher = Arc::clone(&self.launcher);
        self.node_mut(index)?.launch(&launcher)
    }

    /// SIGTERM to a node, and waits until it has handed over and left. True if it left in order in time (20 s);
    /// otherwise it is killed.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`], [`Error::NotRunning`].
    pub async fn leave(&mut self, index: usize) -> Result<bool> {
        let node = self.node_mut(index)?;
        node.ask_to_end()?;
        node.wait_ended(LEAVE_WITHIN).await
    }

    /// Empties a volume of a stopped node.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`], [`Error::Running`], [`Error::File`].
    pub fn wipe(&mut self, index: usize, folder: Folder) -> Result<()> {
        self.node_mut(index)?.wipe(folder)
    }

    /// Cuts what reaches a node from peers and clients.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`], [`Error::Option`] without proxies.
    pub async fn rmi_down(&mut self, index: usize) -> Result<()> {
        self.set_inbound(index, Mode::Cut).await
    }

    /// Undoes [`LocalCluster::rmi_down`].
    ///
    /// # Errors
    /// As there; [`Error::Listen`] if another process has taken the port.
    pub async fn rmi_up(&mut self, index: usize) -> Result<()> {
        self.set_inbound(index, Mode::Pass).await
    }

    /// Cuts a node off ZooKeeper.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`], [`Error::Option`] without proxies.
    pub async fn zk_down(&mut self, index: usize) -> Result<()> {
        self.set_zookeeper(index, Mode::Cut).await
    }

    /// Undoes [`LocalCluster::zk_down`].
    ///
    /// # Errors
    /// As there; [`Error::Listen`] if another process has taken the port.
    pub async fn zk_up(&mut self, index: usize) -> Result<()> {
        self.set_zookeeper(index, Mode::Pass).await
    }

    /// Sets what happens to what reaches a node.
    ///
    /// # Errors
    /// As [`LocalCluster::rmi_up`].
    pub async fn set_inbound(&mut self, index: usize, mode: Mode) -> Result<()> {
        proxy(self.node_mut(index)?.inbound_proxy())?.set(mode).await
    }

    /// Sets what happens between a node and ZooKeeper.
    ///
    /// # Errors
    /// As [`LocalCluster::zk_up`].
    pub async fn set_zookeeper(&mut self, index: usize, mode: Mode) -> Result<()> {
        proxy(self.node_mut(index)?.zookeeper_proxy())?.set(mode).await
    }

    /// Sets what happens to what node `from` sends over connections that it opened to `to`, and to the answers. What `to`
    /// opens to `from` is another link.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`], [`Error::Option`] without proxies.
    pub fn set_link(&mut self, from: usize, to: usize, mode: Mode) -> Result<()> {
        self.node(from)?;
        proxy(self.node_mut(to)?.inbound_proxy())?.set_link(from, mode);
        Ok(())
    }

    /// Asks all nodes to leave at once, and waits until they have; then ZooKeeper ends too. True if every node that
    /// ran left in order.
    ///
    /// # Errors
    /// [`Error::Signal`].
    pub async fn stop(mut self) -> Result<bool> {
        let in_order = self.stop_nodes().await?;
        self.zookeeper.stop_all()?;
        Ok(in_order)
    }

    /// As [`LocalCluster::stop`], and ZooKeeper goes on.
    ///
    /// # Errors
    /// [`Error::Signal`].
    pub async fn stop_nodes(&mut self) -> Result<bool> {
        let mut leaving = Vec::new();
        for node in &mut self.nodes {
            if node.state() == NodeState::Paused {
                node.resume()?;
            }
            if node.state() == NodeState::Running {
                node.ask_to_end()?;
                leaving.push(node);
            }
        }
        let deadline = Instant::now() + LEAVE_WITHIN;
        let mut in_order = true;
        for node in leaving {
            let left = deadline.saturating_duration_since(Instant::now());
            in_order &= node.wait_ended(left).await?;
        }
        Ok(in_order)
    }
}

fn proxy(proxy: Option<&mut Proxy>) -> Result<&mut Proxy> {
    proxy.ok_or(Error::Option { option: "--no-proxies", value: "set".to_owned(), bound: "left out to cut connections" })
}
