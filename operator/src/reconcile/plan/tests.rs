use std::collections::BTreeSet;

use super::*;
use crate::{
    nodes::{ClusterReport, NodeReport, ShardReport},
    reconcile::{
        decision::Action,
        fixtures::{cluster, external},
        names::Component,
        world::{ClaimState, ClaimTemplate, PodState, StatefulSetState, StorageClassState, Trouble},
    },
};

/// A cluster of three nodes at rest: demo-0 is the master, demo-1 the sub-master; every shard has two copies.
fn at_rest() -> World {
    let mut world = World {
        node_set: Some(StatefulSetState {
            uid: "set".into(),
            replicas: 3,
            update_revision: "new".into(),
            observed: true,
            ..StatefulSetState::default()
        }),
        ..World::default()
    };
    for ordinal in 0..3_u32 {
        let (name, uid) = (format!("demo-{ordinal}"), format!("uid-{ordinal}"));
        let pod = PodState { name, uid, revision: "new".into(), ready: true, ..PodState::default() };
        world.node_pods.insert(ordinal, pod);
    }
    world.report = Some(report(&[(0, 1), (1, 2), (2, 0)]));
    world
}

/// What the nodes say: of each shard, the ordinals of its home and its backup.
fn report(shards: &[(u32, u32)]) -> ClusterReport {
    let name = |ordinal: u32| format!("demo-{ordinal}");
    let shard = |(home, backup): &(u32, u32)| {
        let holders: BTreeSet<_> = [name(*home), name(*backup)].into();
        ShardReport {
            available: true,
            fully_replicated: true,
            home: name(*home),
            primary: name(*home),
            in_sync: holders.clone(),
            holders,
        }
    };
    let node = NodeReport { registered: true, answered: true, ready: true, ..NodeReport::default() };
    ClusterReport {
        at: std::time::Instant::now(),
        cluster: "id".into(),
        answered_by: name(0),
        zookeeper_connected: true,
        master: Some(name(0)),
        sub_master: Some(name(1)),
        nodes: (0..3).map(|ordinal| (name(ordinal), node.clone())).collect(),
        shards: shards.iter().map(shard).enumerate().map(|(id, shard)| (id as u64, shard)).collect(),
    }
}

fn deleted(decisions: &Decisions) -> Vec<&str> {
    decisions
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::DeletePod { pod, .. } => Some(pod.as_str()),
            _ => None,
        })
        .collect()
}

fn outdate(world: &mut World, ordinals: &[u32]) {
    for ordinal in ordinals {
        world.node_pods.get_mut(ordinal).unwrap().revision = "old".into();
    }
}

#[test]
fn at_rest_nothing_is_decided() {
    let decisions = plan(&external("{}"), &at_rest());
    assert_eq!(decisions.node_replicas, Some(3));
    assert!(decisions.actions.is_empty() && decisions.progress.is_empty() && decisions.hindrances.is_empty());
}

#[test]
fn slaves_are_replaced_before_the_sub_master_and_the_master_last() {
    let mut world = at_rest();
    for (outdated, next) in [(&[0, 1, 2][..], "demo-2"), (&[0, 1], "demo-1"), (&[0], "demo-0")] {
        let mut world = world.clone();
        outdate(&mut world, outdated);
        assert_eq!(deleted(&plan(&external("{}"), &world)), [next]);
    }
    // Roles are read again: they may have moved.
    world.report.as_mut().unwrap().master = Some("demo-2".into());
    outdate(&mut world, &[0, 1, 2]);
    assert_eq!(deleted(&plan(&external("{}"), &world)), ["demo-0"]);
}

#[test]
fn no_ready_node_is_replaced_while_another_is_missing_or_a_shard_lacks_a_copy() {
    type Spoil = fn(&mut World);
    let spoil: [(&str, Spoil); 7] = [
        ("a pod is missing", |world| drop(world.node_pods.remove(&1))),
        ("a pod is ending", |world| world.node_pods.get_mut(&1).unwrap().deleting = true),
        ("a newer pod is unready", |world| {
            let pod = world.node_pods.get_mut(&1).unwrap();
            (pod.ready, pod.revision) = (false, "new".into());
        }),
        ("a shard lacks a copy", |world| shard(world).fully_replicated = false),
        ("a shard is not served", |world| shard(world).available = false),
        ("a node has lost ZooKeeper", |world| world.report.as_mut().unwrap().zookeeper_connected = false),
        ("nobody says anything", |world| world.report = None),
    ];
    for (what, spoil) in spoil {
        let mut world = at_rest();
        outdate(&mut world, &[0, 1, 2]);
        spoil(&mut world);
        let decisions = plan(&external("{}"), &world);
        assert!(deleted(&decisions).is_empty(), "{what}: {decisions:?}");
        assert!(!decisions.progress.is_empty() || !decisions.hindrances.is_empty(), "{what}: it is said");
    }
}

fn shard(world: &mut World) -> &mut ShardReport {
    world.report.as_mut().unwrap().shards.get_mut(&1).unwrap()
}

#[test]
fn a_pod_stuck_on_an_older_revision_is_replaced_by_a_newer_one() {
    let mut world = at_rest();
    outdate(&mut world, &[0, 1, 2]);
    let stuck = world.node_pods.get_mut(&2).unwrap();
    stuck.ready = false;
    stuck.trouble = Some(Trouble { reason: "ImagePullBackOff".into(), message: "no such image".into() });
    for shard in world.report.as_mut().unwrap().shards.values_mut() {
        shard.in_sync.remove("demo-2");
        shard.fully_replicated = false;
    }
    assert_eq!(deleted(&plan(&external("{}"), &world)), ["demo-2"]);
}

#[test]
fn an_unready_node_with_the_only_copy_of_a_shard_is_waited_for() {
    let mut world = at_rest();
    outdate(&mut world, &[2]);
    world.node_pods.get_mut(&2).unwrap().ready = false;
    shard(&mut world).in_sync = ["demo-2".to_owned()].into();
    let decisions = plan(&external("{}"), &world);
    assert!(deleted(&decisions).is_empty(), "{decisions:?}");
}

#[test]
fn a_node_that_is_to_go_is_drained_first_and_goes_when_it_holds_nothing() {
    let two = external("{nodes: 2}");
    let mut world = at_rest();
    let decisions = plan(&two, &world);
    assert_eq!(decisions.actions, [Action::Drain { node: "demo-2".into(), undo: false }]);
    assert_eq!(decisions.node_replicas, Some(3));

    let report = world.report.as_mut().unwrap();
    report.nodes.get_mut("demo-2").unwrap().draining = true;
    let decisions = plan(&two, &world);
    assert!(decisions.actions.is_empty() && decisions.node_replicas == Some(3), "it still holds copies");

    world.report = Some(self::report(&[(0, 1), (1, 0)]));
    let decisions = plan(&two, &world);
    assert_eq!(decisions.node_replicas, Some(3), "it holds nothing, but may still be given something");
    world.report.as_mut().unwrap().nodes.get_mut("demo-2").unwrap().draining = true;
    assert_eq!(plan(&two, &world).node_replicas, Some(2));
}

#[test]
fn nodes_that_say_nothing_are_not_taken_away() {
    let mut world = at_rest();
    world.report = None;
    assert_eq!(plan(&external("{nodes: 2}"), &world).node_replicas, Some(3));
}

#[test]
fn there_are_never_fewer_nodes_than_copies() {
    let world = at_rest();
    let decisions = plan(&external("{nodes: 1}"), &world);
    assert_eq!(decisions.node_replicas, Some(3));
    assert_eq!(decisions.hindrances[0].reason, "TooFewNodesForCopies");
    assert!(decisions.actions.contains(&Action::Drain { node: "demo-2".into(), undo: false }), "as far as it can");
    assert!(!decisions.actions.contains(&Action::Drain { node: "demo-1".into(), undo: false }));
}

#[test]
fn a_drain_is_taken_back_when_the_node_is_to_stay() {
    let mut world = at_rest();
    world.report.as_mut().unwrap().nodes.get_mut("demo-2").unwrap().draining = true;
    let decisions = plan(&external("{}"), &world);
    assert_eq!(decisions.actions, [Action::Drain { node: "demo-2".into(), undo: true }]);
}

#[test]
fn new_nodes_are_made_at_once() {
    assert_eq!(plan(&external("{nodes: 5}"), &at_rest()).node_replicas, Some(5));
}

#[test]
fn without_its_stateful_set_the_pods_say_how_many_there_were() {
    let mut world = at_rest();
    world.node_set = None;
    assert_eq!(plan(&external("{nodes: 2}"), &world).node_replicas, Some(3));
}

#[test]
fn no_node_is_made_before_zookeeper() {
    let decisions = plan(&cluster("{}"), &World::default());
    assert_eq!(decisions.node_replicas, None);
    assert_eq!(decisions.zookeeper_replicas, Some(1));
}

/// The world at rest with its claims, all of 10 GiB.
fn with_claims(expandable: bool) -> World {
    let mut world = at_rest();
    for (template, ordinal) in [("data", 0), ("data", 1), ("data", 2), ("bkpdata", 0), ("bkpdata", 1), ("bkpdata", 2)] {
        let name = format!("{template}-demo-{ordinal}");
        let claim = ClaimState {
            name: name.clone(),
            uid: format!("uid-{name}"),
            requested_bytes: 10 << 30,
            capacity_bytes: 10 << 30,
            storage_class: Some("fast".into()),
            bound: true,
            ..ClaimState::default()
        };
        world.claims.insert(name, claim);
        let template_now = ClaimTemplate { size: "10Gi".into(), storage_class: None };
        world.node_set.as_mut().unwrap().claim_templates.insert(template.into(), template_now);
    }
    let class = StorageClassState { expandable, default: true };
    world.storage_classes = Some([("fast".to_owned(), class)].into());
    world
}

/// Does to the model what the decisions say, and plays the resizer: no provisioner here can expand.
fn follow(world: &mut World, decisions: &Decisions) {
    for action in &decisions.actions {
        match action {
            Action::GrowClaim { claim, size } => {
                assert_eq!(size, "20Gi");
                world.claims.get_mut(claim).unwrap().requested_bytes = 20 << 30;
            }
            Action::RecreateStatefulSet { .. } => world.node_set = None,
            Action::DeletePod { pod, .. } => {
                let claims = world.claims.values_mut().filter(|claim| claim.name.ends_with(pod.as_str()));
                claims.for_each(|claim| claim.resize_needs_restart = false);
            }
            other => panic!("{other:?} was not expected"),
        }
    }
    if world.node_set.is_none() && decisions.actions.is_empty() {
        let templates = &decisions.claim_templates;
        let of_nodes = templates.iter().filter(|((component, _), _)| *component == Component::Node);
        world.node_set = at_rest().node_set;
        let set = world.node_set.as_mut().unwrap();
        set.claim_templates = of_nodes.map(|((_, name), template)| ((*name).to_owned(), template.clone())).collect();
    }
}

#[test]
fn volumes_grow_in_place_and_the_stateful_set_is_made_anew_around_its_pods() {
    let wish = external("{storage: {data: {size: 20Gi}}}");
    let mut world = with_claims(true);
    let mut recreated = 0;
    for round in 0..12 {
        let decisions = plan(&wish, &world);
        assert_eq!(decisions.node_replicas, Some(3), "round {round}");
        recreated += decisions.actions.iter().filter(|it| matches!(it, Action::RecreateStatefulSet { .. })).count();
        if round == 5 {
            let claim = world.claims.get_mut("data-demo-1").unwrap();
            claim.resize_needs_restart = true;
        }
        follow(&mut world, &decisions);
        for claim in world.claims.values_mut() {
            claim.capacity_bytes = claim.requested_bytes;
        }
    }
    assert_eq!(recreated, 1);
    let decisions = plan(&wish, &world);
    assert!(decisions.actions.is_empty() && decisions.storage.is_empty(), "{decisions:?}");
    assert_eq!(world.node_set.unwrap().claim_templates["data"].size, "20Gi");
    assert_eq!(world.claims["data-demo-2"].capacity_bytes, 20 << 30);
    assert_eq!(world.claims["bkpdata-demo-2"].capacity_bytes, 10 << 30);
}

#[test]
fn a_class_that_cannot_expand_is_named_and_nothing_is_changed() {
    let decisions = plan(&external("{storage: {data: {size: 20Gi}}}"), &with_claims(false));
    assert!(decisions.actions.is_empty());
    let finding = &decisions.storage[0];
    assert_eq!(finding.reason, "ClassCannotExpand");
    assert!(finding.message.contains("data-demo-0") && finding.message.contains("fast"), "{}", finding.message);
}

#[test]
fn a_missing_class_is_named_and_another_one_is_enough() {
    let mut world = with_claims(true);
    let set = world.node_set.as_mut().unwrap();
    set.claim_templates.get_mut("data").unwrap().storage_class = Some("slow".into());
    for claim in world.claims.values_mut().filter(|claim| claim.name.starts_with("data")) {
        claim.storage_class = Some("slow".into());
        (claim.bound, claim.capacity_bytes) = (false, 0);
    }
    let decisions = plan(&external("{storage: {data: {storageClassName: slow}}}"), &world);
    assert_eq!(decisions.storage[0].reason, "StorageClassMissing");
    assert!(decisions.actions.is_empty());

    let decisions = plan(&external("{storage: {data: {storageClassName: fast}}}"), &world);
    let deleted = |action: &&Action| matches!(action, Action::DeleteClaim { .. });
    assert_eq!(decisions.actions.iter().filter(deleted).count(), 3);
    assert!(matches!(decisions.actions.last(), Some(Action::RecreateStatefulSet { .. })));
    assert_eq!(plan(&external("{}"), &world).actions, decisions.actions, "so is none, which is the default");
}
