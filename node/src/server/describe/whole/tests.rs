use kv_cluster::{NodeInfo, Versioned};
use kv_types::{Epoch, KeyRange, Lineage, NodeName};
use uuid::Uuid;

use super::*;

const SHARD: ShardId = ShardId(1);

fn volume(number: u128) -> VolumeId {
    VolumeId(Uuid::from_u128(number))
}

fn versioned<T>(value: T) -> Versioned<T> {
    Versioned { value, version: 0, changed: 0, owner: 0 }
}

fn node(name: &str, data: u128) -> (NodeName, Versioned<NodeInfo>) {
    let node = NodeName::new(name).expect("valid");
    let info = NodeInfo {
        node: node.clone(),
        address: format!("{name}:1"),
        data: volume(data),
        bkpdata: volume(data + 1),
        zone: None,
        version: "1".into(),
    };
    (node, versioned(info))
}

/// Shard 1: home `a` (volume 10), backup `b` (volume 21), both in sync at epoch 3.
fn view() -> View {
    let isr = vec![volume(10), volume(21)];
    let config = ShardConfig {
        epoch: Epoch(3),
        lineage: Lineage(0),
        range: KeyRange::all(),
        primary: volume(10),
        isr: isr.clone(),
    };
    let placement = Placement { home: NodeName::new("a").expect("valid"), replicas: isr, copies: 2 };
    View {
        nodes: [node("a", 10), node("b", 20)].into(),
        shards: [(SHARD, versioned(config))].into(),
        placements: [(SHARD, versioned(placement))].into(),
        ..View::default()
    }
}

fn says(
    name: &str,
    volume: VolumeId,
    state: &str,
    shard: ShardDescription,
    lag: Option<(VolumeId, u64)>,
) -> ClusterDescription {
    let own = ReplicaDescription {
        node: name.into(),
        folder: "data".into(),
        volume: volume.to_string(),
        state: state.into(),
        ..ReplicaDescription::default()
    };
    let other = lag.map(|(volume, lag)| ReplicaDescription {
        volume: volume.to_string(),
        lag,
        ..ReplicaDescription::default()
    });
    let shard = ShardDescription {
        shard: 1,
        primary: "a".into(),
        replicas: std::iter::once(own).chain(other).collect(),
        ..shard
    };
    let node = NodeDescription { node: name.into(), ready: true, answered: true, ..NodeDescription::default() };
    ClusterDescription {
        nodes: vec![node],
        shards: vec![shard],
        answered_by: name.into(),
        ..ClusterDescription::default()
    }
}

#[test]
fn the_primary_tells_progress_and_lag_and_each_node_its_own_state() {
    let served =
        ShardDescription { epoch: 3, available: true, last_seq: 9, commit_seq: 8, ..ShardDescription::default() };
    let primary = says("a", volume(10), "primary", served, Some((volume(21), 4)));
    let member = says("b", volume(21), "member", ShardDescription { epoch: 3, ..ShardDescription::default() }, None);
    for answers in [[primary.clone(), member.clone()], [member, primary]] {
        let whole = merge(ClusterDescription::default(), &view(), answers.into_iter());
        let shard = &whole.shards[0];
        assert!(shard.available && shard.fully_replicated);
        assert_eq!((shard.last_seq, shard.commit_seq, shard.primary.as_str()), (9, 8, "a"));
        let replicas: Vec<_> = shard.replicas.iter().map(|r| (r.state.as_str(), r.lag, r.in_sync, r.placed)).collect();
        assert_eq!(replicas, [("primary", 0, true, true), ("member", 4, true, true)]);
        let nodes: Vec<_> = whole.nodes.iter().map(|n| (n.node.as_str(), n.lag, n.copies_placed, n.answered)).collect();
        assert_eq!(nodes, [("a", 0, 1, true), ("b", 4, 1, true)]);
    }
}

#[test]
fn a_silent_node_is_described_from_zookeeper_and_its_shards_are_not_available() {
    let member = says("b", volume(21), "member", ShardDescription { epoch: 3, ..ShardDescription::default() }, None);
    let whole = merge(ClusterDescription::default(), &view(), [member].into_iter());
    let shard = &whole.shards[0];
    assert!(!shard.available);
    assert_eq!((shard.primary.as_str(), shard.served_from.as_str(), shard.home.as_str()), ("a", "data", "a"));
    assert_eq!(shard.replicas[0].state, "absent");
    let silent = &whole.nodes[0];
    assert_eq!(
        (silent.node.as_str(), silent.role.as_str(), silent.answered, silent.ready),
        ("a", "gone", false, false)
    );
    assert!(!silent.detail.is_empty());
}

#[test]
fn a_copy_that_is_placed_and_not_in_sync_means_not_fully_replicated() {
    let mut view = view();
    if let Some(config) = view.shards.get_mut(&SHARD) {
        config.value.isr = vec![volume(10)];
    }
    let whole = merge(ClusterDescription::default(), &view, std::iter::empty());
    assert!(!whole.shards[0].fully_replicated);
}
