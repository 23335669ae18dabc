//! Images for pods, made without a registry: of our programs by the users' Containerfiles, and of programs of this host.

mod build;
mod closure;
mod node;
mod tools;
mod zookeeper;

pub(crate) use build::Archive;

use std::path::PathBuf;

use crate::{
    error::{Error, Result},
    layout::Layout,
};

/// What holds a pod's namespaces.
pub(crate) const PAUSE: &str = "localhost/kv-pause:1";
/// A shell with the usual programs, `kvctl` and what else the suites run in pods.
pub const TOOLS: &str = "localhost/kv-tools:1";
/// The nodes' image: `kv-node`, `kvctl` and `kv-zookeeper-member`.
pub const NODE: &str = "localhost/kv-node:test";
/// The operator's image.
pub const OPERATOR: &str = "localhost/kv-operator:test";
/// ZooKeeper with the paths of the official image.
pub const ZOOKEEPER: &str = "localhost/kv-zookeeper:3.9.4";

/// An image that pods can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// [`PAUSE`]
    Pause,
    /// [`TOOLS`]
    Tools,
    /// [`NODE`]
    Node,
    /// [`OPERATOR`]
    Operator,
    /// [`ZOOKEEPER`]
    ZooKeeper,
}

impl Image {
    /// What a cluster itself needs.
    pub const OF_THE_CLUSTER: [Self; 2] = [Self::Pause, Self::Tools];
    /// What a `KvCluster` needs.
    pub const OF_KV_CLUSTERS: [Self; 3] = [Self::Node, Self::Operator, Self::ZooKeeper];

    /// As manifests name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pause => PAUSE,
            Self::Tools => TOOLS,
            Self::Node => NODE,
            Self::Operator => OPERATOR,
            Self::ZooKeeper => ZOOKEEPER,
        }
    }

    /// What it is called where nobody has set a name: so the chart and the samples work as they are.
    pub(crate) fn default_name(self) -> Option<String> {
        let ours = |program: &str| format!("docker.io/kvcluster/{program}:{}", env!("CARGO_PKG_VERSION"));
        match self {
            Self::Pause | Self::Tools => None,
            Self::Node => Some(ours("kv-node")),
            Self::Operator => Some(ours("kv-operator")),
            Self::ZooKeeper => Some("docker.io/library/zookeeper:3.9.4".to_owned()),
        }
    }

    /// Its archive, made anew if what it is made from has changed.
    ///
    /// # Errors
    /// [`Error::NotBuilt`] for programs that are not there; else if a program or the disk fails.
    pub(crate) fn archive(self, layout: &Layout) -> Result<Archive> {
        match self {
            Self::Pause => tools::pause(layout),
            Self::Tools => tools::tools(layout),
            Self::Node => node::node(layout),
            Self::Operator => node::operator(layout),
            Self::ZooKeeper => zookeeper::zookeeper(layout),
        }
    }
}

/// A program of the workspace, as built last: beside the program that runs now, or above a test.
fn built(name: &'static str, package: &'static str) -> Result<PathBuf> {
    let this = std::env::current_exe().map_err(Error::file("find", &PathBuf::from("/proc/self/exe")))?;
    let mut folder = this.parent().unwrap_or(&this).to_owned();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let path = folder.join(name);
    if path.is_file() { Ok(path) } else { Err(Error::NotBuilt { name, package, path }) }
}
