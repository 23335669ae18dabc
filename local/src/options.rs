use std::{path::PathBuf, time::Duration};

use crate::error::{Error, Result};

/// Nodes of one cluster at most: what the ports of its range suffice for.
pub const MAX_NODES: usize = 47;

/// What a [`LocalCluster`](crate::LocalCluster) is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes to start with, 1 to [`MAX_NODES`]. A kept directory that knows more starts those too.
    pub nodes: usize,
    /// ZooKeeper servers: 1 or 3.
    pub zookeeper_servers: usize,
    /// Copies of each shard, fixed when the cluster is created. 2 unless changed, also when there is only one node at
    /// first: the second one then brings the second copy.
    pub copies: usize,
    /// Shards to create the cluster with; `None`: the node's default.
    pub shards: Option<usize>,
    /// ZooKeeper session timeout of the nodes.
    pub session_timeout: Duration,
    /// Length of the leases, fixed when the cluster is created.
    pub lease: Duration,
    /// Where to keep everything; `None`: in a temporary directory that goes at the end.
    pub directory: Option<PathBuf>,
    /// The `kv-node` to run; `None`: `KV_NODE_BINARY`, or else the one beside the running program.
    pub node_binary: Option<PathBuf>,
    /// Further arguments of each node.
    pub node_arguments: Vec<String>,
    /// Further environment of each node. `{name}` in a value stands for the node's name.
    pub node_environment: Vec<(String, String)>,
    /// Whether what reaches a node, and its way to ZooKeeper, goes through proxies. Without them nothing can be cut,
    /// and measurements don't include them.
    pub proxies: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 1,
            zookeeper_servers: 1,
            copies: 2,
            shards: None,
            session_timeout: Duration::from_secs(6),
            lease: Duration::from_millis(800),
            directory: None,
            node_binary: None,
            node_arguments: Vec::new(),
            node_environment: Vec::new(),
            proxies: true,
        }
    }
}

impl Options {
    /// Options for `nodes` nodes, the rest as in [`Options::default`].
    #[must_use]
    pub fn with_nodes(nodes: usize) -> Self {
        Self { nodes, ..Self::default() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if (1..=MAX_NODES).contains(&self.nodes) {
            return Ok(());
        }
        let (option, bound) = ("the number of nodes", "1 to 47");
        Err(Error::Option { option, value: self.nodes.to_string(), bound })
    }

    /// The `kv-node` to run. A test's own program lies one directory further down than the binaries.
    pub(crate) fn find_node_binary(&self) -> Result<PathBuf> {
        let named = self.node_binary.clone();
        let named = named.or_else(|| std::env::var_os("KV_NODE_BINARY").map(PathBuf::from));
        if let Some(path) = named {
            return if path.is_file() { Ok(path) } else { Err(Error::NoNodeBinary { path }) };
        }
        let program = std::env::current_exe().unwrap_or_default();
        let beside = program.with_file_name("kv-node");
        let above = program.parent().map(|directory| directory.with_file_name("kv-node"));
        [Some(beside.clone()), above]
            .into_iter()
            .flatten()
            .find(|path| path.is_file())
            .ok_or(Error::NoNodeBinary { path: beside })
    }
}
