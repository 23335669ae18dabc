use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use kv_types::{NodeName, Placement, ShardConfig, ShardId, VolumeId};

use crate::{ClusterInfo, Controller, MasterInfo, NodeInfo, SharedConfig};

/// What ZooKeeper holds of the cluster, as this node last saw it. It may be out of date: nothing is decided by it alone.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Whether the copy is being kept up to date.
    pub connected: bool,
    /// The cluster's identity.
    pub cluster: Option<ClusterInfo>,
    /// The shared settings.
    pub config: Option<Versioned<SharedConfig>>,
    /// Registered nodes in order of their sequence number. Right after a restart a node may be listed twice.
    pub members: Vec<Member>,
    /// Known nodes, registered or not, as of their last registration.
    pub nodes: BTreeMap<NodeName, Versioned<NodeInfo>>,
    /// The master.
    pub master: Option<Versioned<MasterInfo>>,
    /// The fence of masters.
    pub controller: Option<Versioned<Controller>>,
    /// Where copies should be.
    pub placements: BTreeMap<ShardId, Versioned<Placement>>,
    /// Who serves what.
    pub shards: BTreeMap<ShardId, Versioned<ShardConfig>>,
    /// Nodes that are being drained.
    pub drains: BTreeSet<NodeName>,
}

/// A znode's content and what a compare-and-set of it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The content.
    pub value: T,
    /// The znode's version.
    pub version: i32,
    /// ZooKeeper's number of the change that made it: orders changes of different znodes.
    pub changed: i64,
    /// The session that an ephemeral znode belongs to; 0: none.
    pub owner: i64,
}

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The znode's name, `<guid>-<seq>`.
    pub name: String,
    /// Its place in the line: the lowest is the master, the second the sub-master.
    pub sequence: i64,
    /// The session that it lives by.
    pub owner: i64,
    /// Who it is.
    pub info: NodeInfo,
}

/// What a node is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Not registered.
    None,
    /// Any registered node but the first two.
    Slave,
    /// The next master.
    SubMaster,
    /// The cluster's controller.
    Master,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "gone",
            Self::Slave => "slave",
            Self::SubMaster => "sub-master",
            Self::Master => "master",
        })
    }
}

impl View {
    /// The latest registration of `node`.
    #[must_use]
    pub fn member(&self, node: &NodeName) -> Option<&Member> {
        self.members.iter().rev().find(|member| member.info.node == *node)
    }

    /// The registered node that owns `volume`.
    #[must_use]
    pub fn member_with(&self, volume: VolumeId) -> Option<&Member> {
        self.members.iter().rev().find(|member| member.info.has_volume(volume))
    }

    /// The node that owns `volume`, registered or not.
    #[must_use]
    pub fn node_with(&self, volume: VolumeId) -> Option<&NodeInfo> {
        let member = self.member_with(volume).map(|member| &member.info);
        member.or_else(|| self.nodes.values().map(|node| &node.value).find(|node| node.has_volume(volume)))
    }

    /// What `node` is.
    #[must_use]
    pub fn role(&self, node: &NodeName) -> Role {
        if self.member(node).is_none() {
            return Role::None;
        }
        if self.master_node() == Some(node) {
            return Role::Master;
        }
        if self.sub_master() == Some(node) { Role::SubMaster } else { Role::Slave }
    }

    /// The master, if there is one.
    #[must_use]
    pub fn master_node(&self) -> Option<&NodeName> {
        self.master.as_ref().map(|master| &master.value.id)
    }

    /// The next master: the first in line after the master.
    #[must_use]
    pub fn sub_master(&self) -> Option<&NodeName> {
        let master = self.master_node();
        let mut line = self.members.iter().map(|member| &member.info.node);
        match master {
            Some(master) => line.find(|node| *node != master),
            // Until the first in line has made itself master, the second is its sub-master.
            None => {
                let first = line.next()?;
                line.find(|node| *node != first)
            }
        }
    }

    /// The lowest id above all that exist. Another node may take it first.
    #[must_use]
    pub fn next_shard(&self) -> ShardId {
        self.shards.keys().chain(self.placements.keys()).max().map_or(ShardId(1), |id| id.next())
    }

    /// The volumes that hold a copy of a shard or should do so.
    #[must_use]
    pub fn volumes_of(&self, shard: ShardId) -> BTreeSet<VolumeId> {
        let placed = self.placements.get(&shard).map(|placement| &placement.value.replicas);
        let in_sync = self.shards.get(&shard).map(|config| &config.value.isr);
        placed.into_iter().chain(in_sync).flatten().copied().collect()
    }
}
