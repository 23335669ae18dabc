use std::time::Duration;

use kv_types::{NodeName, ShardId};
use uuid::Uuid;

/// Why the cluster can't do what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No session could be had within the time limit; nothing was sent.
    #[error("zookeeper is not connected: nothing was sent within {0:?}")]
    NotConnected(Duration),
    /// The request was sent and may or may not be applied.
    #[error("zookeeper's answer was lost: the request may be applied or not")]
    Unknown(#[source] Option<zookeeper_client::Error>),
    /// ZooKeeper refused the request: nothing was changed.
    #[error("zookeeper refused the request on {path}")]
    Refused {
        /// The znode, if the request was about one.
        path: String,
        /// What it said.
        source: zookeeper_client::Error,
    },
    /// The connect string can't be used.
    #[error("zookeeper address {value:?} {reason}: write host:port,host:port/path")]
    InvalidConnect {
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A setting is outside its bounds.
    #[error("{setting} is {value}: it must be {bound}")]
    InvalidSetting {
        /// Its name.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        bound: String,
    },
    /// A znode's content can't be read.
    #[error("znode {path} can't be read: {reason}")]
    Malformed {
        /// The znode.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A znode was written by a later version of this program.
    #[error("znode {path} has format {found}, this version knows up to {known}: start a newer version")]
    NewerFormat {
        /// The znode.
        path: String,
        /// Its format.
        found: u32,
        /// The highest known.
        known: u32,
    },
    /// The volumes belong to another cluster.
    #[error(
        "the volumes belong to cluster {volumes}, but {root} is cluster {found}: check the volumes and the zookeeper path"
    )]
    WrongCluster {
        /// As written on the volumes.
        volumes: Uuid,
        /// As found in ZooKeeper.
        found: Uuid,
        /// The root that was looked at.
        root: String,
    },
    /// The volumes belong to a cluster that ZooKeeper knows nothing of.
    #[error(
        "the volumes belong to cluster {volumes}, but there is no cluster at {root}: check the zookeeper path, or restore it with rebuild-zookeeper"
    )]
    ClusterMissing {
        /// As written on the volumes.
        volumes: Uuid,
        /// The root that was looked at.
        root: String,
    },
    /// There is a cluster already where one was to be made anew.
    #[error("{root} is cluster {found} already: only an empty path can be rebuilt")]
    ClusterExists {
        /// The cluster found.
        found: Uuid,
        /// Its root.
        root: String,
    },
    /// This node is not the master, or has just ceased to be it.
    #[error("this node is not the master: ask {}", .master.as_ref().map_or("again later, there is none", NodeName::as_str))]
    NotMaster {
        /// Who is.
        master: Option<NodeName>,
    },
    /// A split's child has the id of a shard that exists.
    #[error("shard {0} exists already: take another id for the child")]
    ShardExists(ShardId),
    /// There is no such shard.
    #[error("there is no shard {0}")]
    NoShard(ShardId),
    /// There is no such node, or it can't be given anything now.
    #[error("node {0} is not registered or is being drained")]
    NoNode(NodeName),
    /// A configuration is not one that may follow the present one.
    #[error("shard {shard}: {reason}")]
    InvalidChange {
        /// The shard.
        shard: ShardId,
        /// Which rule it breaks.
        reason: String,
    },
    /// Force-promote while a member of the last ISR may still serve.
    #[error("shard {shard}: {} of the last in-sync set is registered: only a shard without any can be forced", .nodes.join(", "))]
    MembersAlive {
        /// The shard.
        shard: ShardId,
        /// Names of the nodes.
        nodes: Vec<String>,
    },
    /// Force-promote of a copy that is not any more what it was when it was chosen. Nothing was changed.
    #[error("shard {shard}: the copy that was to lead {found}: look at the copies, and force one of them anew")]
    CopyChanged {
        /// The shard.
        shard: ShardId,
        /// What was found of the copy.
        found: String,
    },
    /// Force-promote by a minority.
    #[error("only {registered} of {known} known nodes are registered: a majority is needed")]
    NoMajority {
        /// How many are registered.
        registered: usize,
        /// How many are known.
        known: usize,
    },
    /// The part has been shut down.
    #[error("the cluster handle is shut down")]
    ShutDown,
}

impl Error {
    /// Whether the request may have been applied although it failed.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    pub(crate) fn refusal(&self) -> Option<&zookeeper_client::Error> {
        match self {
            Self::Refused { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// What a call into this crate comes to.
pub type Result<T, E = Error> = std::result::Result<T, E>;
