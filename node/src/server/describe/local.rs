//! What a node says of itself.

use std::collections::BTreeSet;

use kv_cluster::{NodeInfo, View};
use kv_proto::v1::{ClusterDescription, NodeDescription, ReplicaDescription, ShardDescription};
use kv_replication::core::RoleReport;
use kv_types::{Folder, VolumeId};

use crate::{driver::request::CopyReport, server::edge::Edge};

/// The description without nodes and shards.
pub(super) fn frame(edge: &Edge) -> ClusterDescription {
    let cluster = edge.driver.cluster();
    let view = cluster.view();
    ClusterDescription {
        cluster: cluster.cluster_uuid().to_string(),
        name: edge.options.cluster_name.clone(),
        zookeeper_connected: view.connected && !edge.driver.is_ceased(),
        master: view.master_node().map(ToString::to_string).unwrap_or_default(),
        sub_master: view.sub_master().map(ToString::to_string).unwrap_or_default(),
        nodes: Vec::new(),
        shards: Vec::new(),
        answered_by: edge.driver.node().to_string(),
    }
}

pub(super) fn describe(edge: &Edge) -> ClusterDescription {
    let view = edge.driver.cluster().view();
    let copies = edge.driver.copies();
    let shards = copies.iter().map(|copy| shard(edge, &view, copy)).collect();
    ClusterDescription { nodes: vec![node(edge, &view, &copies)], shards, ..frame(edge) }
}

fn node(edge: &Edge, view: &View, copies: &[CopyReport]) -> NodeDescription {
    let driver = &edge.driver;
    let name = driver.node();
    let info = view.nodes.get(name).map(|node| &node.value);
    let ready = driver.ready();
    let serving = |copy: &&CopyReport| matches!(copy.core.role, RoleReport::Primary { serving: true, .. });
    NodeDescription {
        shards_served: count(copies.iter().filter(serving)),
        copies_in_sync: count(copies.iter().filter(|copy| in_sync(copy))),
        ready: ready.is_ok(),
        detail: ready.err().unwrap_or_default(),
        data_bytes: driver.volume_bytes(Folder::Data),
        bkpdata_bytes: driver.volume_bytes(Folder::Bkpdata),
        answered: true,
        ..known_node(view, name.as_str(), info)
    }
}

/// A node as ZooKeeper has it.
pub(super) fn known_node(view: &View, name: &str, info: Option<&NodeInfo>) -> NodeDescription {
    let Some(info) = info else {
        return NodeDescription { node: name.to_owned(), role: "gone".to_owned(), ..NodeDescription::default() };
    };
    let placed = view.placements.values().flat_map(|placement| &placement.value.replicas);
    NodeDescription {
        node: name.to_owned(),
        address: info.address.clone(),
        role: view.role(&info.node).to_string(),
        data_volume: info.data.to_string(),
        bkpdata_volume: info.bkpdata.to_string(),
        version: info.version.clone(),
        zone: info.zone.clone().unwrap_or_default(),
        draining: view.drains.contains(&info.node),
        copies_placed: count(placed.filter(|volume| info.has_volume(**volume))),
        detail: "it did not answer".to_owned(),
        ..NodeDescription::default()
    }
}

fn shard(edge: &Edge, view: &View, copy: &CopyReport) -> ShardDescription {
    let config = copy.core.config.as_ref();
    let name = |volume: VolumeId| view.node_with(volume).map(|info| info.node.to_string()).unwrap_or_default();
    let (state, served, followers) = match &copy.core.role {
        RoleReport::Primary { serving, followers } => ("primary", *serving, followers.as_slice()),
        RoleReport::Member => ("member", false, [].as_slice()),
        RoleReport::Learner { .. } => ("learner", false, [].as_slice()),
    };
    let own = ReplicaDescription {
        node: edge.driver.node().to_string(),
        folder: copy.folder.to_string(),
        volume: copy.volume.to_string(),
        in_sync: in_sync(copy),
        placed: false,
        lag: 0,
        state: state.to_owned(),
    };
    let last = copy.core.last.seq.0;
    // Of the others it is told what the configuration says and how far they have got: what they are they say themselves.
    let in_isr = config.into_iter().flat_map(|config| &config.isr).copied();
    let known: BTreeSet<_> = in_isr.chain(followers.iter().map(|follower| follower.volume)).collect();
    let others = known.into_iter().filter(|volume| *volume != copy.volume).map(|volume| {
        let follower = followers.iter().find(|follower| follower.volume == volume);
        ReplicaDescription {
            node: name(volume),
            folder: folder_of(view, volume),
            volume: volume.to_string(),
            in_sync: config.is_some_and(|config| config.is_in_sync(volume)),
            lag: follower.map_or(0, |follower| last.saturating_sub(follower.matched.0)),
            ..ReplicaDescription::default()
        }
    });
    ShardDescription {
        shard: copy.shard.0,
        start: config.map(|config| config.range.start.clone()).unwrap_or_default(),
        end: config.and_then(|config| config.range.end.clone()).unwrap_or_default(),
        epoch: config.map_or(0, |config| config.epoch.0),
        lineage: config.map_or(0, |config| config.lineage.0),
        primary: config.map(|config| name(config.primary)).unwrap_or_default(),
        served_from: config.map(|config| folder_of(view, config.primary)).unwrap_or_default(),
        replicas: std::iter::once(own).chain(others).collect(),
        available: served,
        last_seq: last,
        commit_seq: copy.core.commit.0,
        size_bytes: copy.size_bytes,
        ..ShardDescription::default()
    }
}

/// "data" or "bkpdata"; empty for a volume of no known node.
pub(super) fn folder_of(view: &View, volume: VolumeId) -> String {
    let folder = |info: &NodeInfo| if info.data == volume { Folder::Data } else { Folder::Bkpdata };
    view.node_with(volume).map(|info| folder(info).to_string()).unwrap_or_default()
}

fn in_sync(copy: &CopyReport) -> bool {
    copy.core.config.as_ref().is_some_and(|config| config.is_in_sync(copy.volume))
}

pub(super) fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}
