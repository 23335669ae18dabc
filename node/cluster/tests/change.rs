//! Changes of shards and their delivery, against a real ZooKeeper.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod support;

use std::time::Duration;

use kv_cluster::{CasOutcome, Cluster, ClusterEvent, Error, Rebuild, SplitChange};
use kv_types::{Epoch, KeyRange, Lineage, ShardConfig, ShardId};
use support::{Mode, Node, name, registered, root, within, zookeeper};
use tokio::time::{Instant, sleep};

const SHARD: ShardId = ShardId(1);

fn config(node: &Node) -> ShardConfig {
    node.cluster.view().shards[&SHARD].value.clone()
}

#[tokio::test]
async fn the_first_shards_are_placed_evenly_and_told() {
    let Some(server) = zookeeper().await else { return };
    let mut nodes = registered(&server, &root(), 2).await;
    let view = nodes[0].cluster.view();
    for node in 0..2 {
        assert_eq!(view.placements.values().filter(|placement| placement.value.home == name(node)).count(), 2);
    }
    for (shard, config) in &view.shards {
        let ShardConfig { epoch, lineage, range: _, primary, isr } = &config.value;
        let placement = &view.placements[shard].value;
        assert_eq!((*epoch, *lineage, isr.len()), (Epoch(1), Lineage(1), 2));
        assert_eq!(Some(*primary), placement.home_volume());
        assert!(placement.replicas.iter().all(|volume| isr.contains(volume)));
    }
    let mut ranges: Vec<_> = view.shards.values().map(|config| config.value.range.clone()).collect();
    ranges.sort_by(|a, b| a.start.cmp(&b.start));
    assert!(ranges.windows(2).all(|pair| pair[0].end.as_ref() == Some(&pair[1].start)));

    let mut told = (0, 0);
    nodes[1]
        .hears("all shards and placements", |event| {
            match event {
                ClusterEvent::ShardConfig { .. } => told.0 += 1,
                ClusterEvent::Placement { .. } => told.1 += 1,
                _ => {}
            }
            (told == (4, 4)).then_some(())
        })
        .await;
}

#[tokio::test]
async fn one_of_two_changes_wins_and_the_loser_learns_what_won() {
    let Some(server) = zookeeper().await else { return };
    let mut nodes = registered(&server, &root(), 2).await;
    let first = config(&nodes[0]);
    let [a, b] = [first.isr[0], first.isr[1]];
    let (shrink, takeover) = (first.successor(a, [a]), first.successor(b, [b]));
    let outcomes = tokio::join!(
        nodes[0].cluster.compare_and_set(SHARD, Epoch(1), shrink.clone()),
        nodes[1].cluster.compare_and_set(SHARD, Epoch(1), takeover.clone()),
    );
    let (winner, version) = match outcomes {
        (CasOutcome::Won(version), CasOutcome::Lost { newer }) if newer == shrink => (shrink, version),
        (CasOutcome::Lost { newer }, CasOutcome::Won(version)) if newer == takeover => (takeover, version),
        other => panic!("{other:?}"),
    };
    for node in &mut nodes {
        let told = node
            .hears("the change", |event| match event {
                ClusterEvent::ShardConfig { shard: SHARD, config, version } if config.epoch == Epoch(2) => {
                    Some((config, version))
                }
                _ => None,
            })
            .await;
        assert_eq!(told, (winner.clone(), version));
    }
    // Long after: the version is not known any more, but what holds is.
    let lost = nodes[0].cluster.compare_and_set(SHARD, Epoch(1), first.successor(a, [a, b])).await;
    assert_eq!(lost, CasOutcome::Lost { newer: winner.clone() });
    assert_eq!(nodes[1].cluster.quorum_read(SHARD).await.expect("reads"), winner);
    // At once after a change that the view can't have seen yet.
    let third = winner.successor(winner.primary, [a, b]);
    assert!(matches!(nodes[0].cluster.compare_and_set(SHARD, Epoch(2), third.clone()).await, CasOutcome::Won(_)));
    let fourth = third.successor(winner.primary, [winner.primary]);
    assert!(matches!(nodes[0].cluster.compare_and_set(SHARD, Epoch(3), fourth.clone()).await, CasOutcome::Won(_)));
    assert_eq!(nodes[1].cluster.quorum_read(SHARD).await.expect("reads"), fourth);
    assert!(matches!(nodes[1].cluster.quorum_read(ShardId(99)).await, Err(Error::NoShard(ShardId(99)))));
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_unknown_until_a_higher_epoch_is_seen() {
    let Some(server) = zookeeper().await else { return };
    let nodes = registered(&server, &root(), 2).await;
    let first = config(&nodes[0]);
    let new = first.successor(first.primary, [first.primary]);
    nodes[0].proxy.set(Mode::DropAnswers);
    let outcome = within("outcome", nodes[0].cluster.compare_and_set(SHARD, Epoch(1), new.clone())).await;
    assert_eq!(outcome, CasOutcome::Unknown);
    nodes[1].sees("it was applied", |view| view.shards[&SHARD].value == new).await;
    nodes[0].proxy.set(Mode::Cut);
    nodes[0].proxy.set(Mode::Pass);
    nodes[0].sees("its own change", |view| view.shards[&SHARD].value == new).await;
    let again = nodes[0].cluster.compare_and_set(SHARD, Epoch(1), new.clone()).await;
    assert_eq!(again, CasOutcome::Lost { newer: new });

    // Not sent at all, and not known to be not sent.
    nodes[0].proxy.set(Mode::Cut);
    let next = first.successor(first.primary, [first.primary]).successor(first.primary, first.isr.clone());
    let outcome = within("outcome", nodes[0].cluster.compare_and_set(SHARD, Epoch(2), next)).await;
    assert_eq!(outcome, CasOutcome::Unknown);
}

#[tokio::test]
async fn a_split_makes_the_child_in_the_same_step() {
    let Some(server) = zookeeper().await else { return };
    let mut nodes = registered(&server, &root(), 2).await;
    let parent = config(&nodes[0]);
    let (low, high) = parent.range.split(&"\x10".into()).expect("inside");
    let new_parent = ShardConfig { range: low, ..parent.successor(parent.primary, parent.isr.clone()) };
    let child_config = ShardConfig { range: high, ..parent.clone() };
    let child = nodes[0].cluster.view().next_shard();
    assert_eq!(child, ShardId(5));
    let split = SplitChange { parent: SHARD, expected: Epoch(1), new_parent, child, child_config };

    let taken = SplitChange { child: ShardId(2), ..split.clone() };
    assert!(matches!(nodes[0].cluster.split(&taken).await, Err(Error::ShardExists(ShardId(2)))));
    let gap = SplitChange { child_config: ShardConfig { range: KeyRange::all(), ..parent.clone() }, ..split.clone() };
    assert!(matches!(nodes[0].cluster.split(&gap).await, Err(Error::InvalidChange { .. })));
    assert_eq!(nodes[0].cluster.quorum_read(SHARD).await.expect("reads"), parent, "nothing was changed");

    assert!(matches!(nodes[0].cluster.split(&split).await, Ok(CasOutcome::Won(_))));
    assert!(matches!(nodes[0].cluster.split(&split).await, Ok(CasOutcome::Lost { .. })));
    nodes[1]
        .hears("the child", |event| {
            matches!(event, ClusterEvent::ShardConfig { shard, ref config, .. } if shard == child && *config == split.child_config)
                .then_some(())
        })
        .await;
    let view = nodes[1].sees("the child's placement", |view| view.placements.contains_key(&child)).await;
    // Balance may have moved one of the two since.
    assert_eq!(view.placements[&child].value.replicas.len(), 2);
}

#[tokio::test]
async fn placement_follows_nodes_drains_and_requests() {
    let Some(server) = zookeeper().await else { return };
    let root = root();
    let nodes = registered(&server, &root, 2).await;
    let view = nodes[0].cluster.view();
    let (shard, _) = view.placements.iter().find(|(_, at)| at.value.home == name(0)).expect("one");
    within("move", nodes[0].cluster.move_home(*shard, &name(1))).await.expect("moves");
    nodes[0].sees("the new home", |view| view.placements[shard].value.home == name(1)).await;
    assert!(matches!(nodes[0].cluster.move_home(ShardId(9), &name(1)).await, Err(Error::NoShard(_))));
    assert!(matches!(nodes[0].cluster.move_home(*shard, &name(9)).await, Err(Error::NoNode(_))));
    assert!(matches!(nodes[0].cluster.set_drain(&name(9), true).await, Err(Error::NoNode(_))));

    let third = support::start(&server, &root, 2).await;
    within("register", third.cluster.register()).await.expect("registers");
    nodes[1].cluster.set_drain(&name(0), true).await.expect("marks");
    nodes[1].cluster.set_drain(&name(0), true).await.expect("is marked");
    let drained = [nodes[0].options.data, nodes[0].options.bkpdata];
    // Nobody copies here, so only as many shards leave as may be in motion at a time.
    nodes[1]
        .sees("homes leave the node", |view| {
            view.drains.contains(&name(0))
                && view
                    .placements
                    .values()
                    .filter(|at| at.value.replicas.iter().any(|volume| drained.contains(volume)))
                    .count()
                    == 0
        })
        .await;
    nodes[1].cluster.set_drain(&name(0), false).await.expect("takes it back");
    nodes[1].sees("the mark is gone", |view| view.drains.is_empty()).await;
}

#[tokio::test]
async fn a_lost_shard_is_forced_only_when_its_copies_are_gone() {
    let Some(server) = zookeeper().await else { return };
    let root = root();
    let nodes = registered(&server, &root, 2).await;
    let third = support::start(&server, &root, 2).await;
    within("register", third.cluster.register()).await.expect("registers");
    third.sees("all", |view| view.members.len() == 3).await;
    let first = config(&nodes[0]);
    let (lost, owner) =
        (first.primary, nodes[0].cluster.view().member_with(first.primary).expect("registered").info.node.clone());
    let (gone, left) = if owner == name(0) { (&nodes[0], &nodes[1]) } else { (&nodes[1], &nodes[0]) };
    let alone = first.successor(lost, [lost]);
    assert!(matches!(gone.cluster.compare_and_set(SHARD, Epoch(1), alone.clone()).await, CasOutcome::Won(_)));

    let forced = |lineage| ShardConfig { lineage, ..alone.successor(third.options.data, [third.options.data]) };
    let same_lineage = third.cluster.force_promote(SHARD, &forced(Lineage(1)), || Ok(())).await;
    assert!(matches!(same_lineage, Err(Error::InvalidChange { .. })), "{same_lineage:?}");
    let alive = third.cluster.force_promote(SHARD, &forced(Lineage(2)), || Ok(())).await;
    assert!(matches!(alive, Err(Error::MembersAlive { .. })), "{alive:?}");
    gone.proxy.set(Mode::Cut);
    third.sees("it is gone", |view| view.member(&owner).is_none()).await;
    // The copy is looked at when the fence time is over, and not before.
    let (began, timeout) = (Instant::now(), third.cluster.session_timeout());
    let dropped = || {
        assert!(began.elapsed() >= timeout);
        Err("was dropped meanwhile".to_owned())
    };
    let changed = within("force", third.cluster.force_promote(SHARD, &forced(Lineage(2)), dropped)).await;
    assert!(matches!(changed, Err(Error::CopyChanged { .. })), "{changed:?}");
    assert_eq!(third.cluster.quorum_read(SHARD).await.expect("reads"), alone, "nothing was changed");
    let outcome = within("force", third.cluster.force_promote(SHARD, &forced(Lineage(2)), || Ok(()))).await;
    assert!(matches!(outcome, Ok(CasOutcome::Won(_))), "{outcome:?}");

    left.proxy.set(Mode::Cut);
    third.sees("a minority is left", |view| view.members.len() == 1).await;
    let next =
        ShardConfig { lineage: Lineage(3), ..forced(Lineage(2)).successor(third.options.data, [third.options.data]) };
    let minority = third.cluster.force_promote(SHARD, &next, || Ok(())).await;
    assert!(matches!(minority, Err(Error::NoMajority { registered: 1, known: 3 })), "{minority:?}");
}

#[tokio::test]
async fn zookeepers_content_is_rebuilt_at_an_empty_root_only() {
    let Some(server) = zookeeper().await else { return };
    let old_root = root();
    let nodes = registered(&server, &old_root, 2).await;
    let view = nodes[0].cluster.view();
    let rebuild = Rebuild {
        cluster: nodes[0].cluster.cluster_uuid(),
        config: nodes[0].cluster.config().clone(),
        nodes: view.nodes.values().map(|node| node.value.clone()).collect(),
        shards: view.shards.iter().map(|(id, at)| (*id, at.value.clone(), view.placements[id].value.clone())).collect(),
    };
    let limit = Duration::from_secs(10);
    let error =
        Cluster::rebuild_zookeeper(&format!("{}{old_root}", &*server), &rebuild, limit).await.expect_err("not empty");
    assert!(matches!(error, Error::ClusterExists { .. }), "{error}");
    let new_root = root();
    Cluster::rebuild_zookeeper(&format!("{}{new_root}", &*server), &rebuild, limit).await.expect("rebuilds");

    let (_, proxy) = support::options(&server, &new_root, 0).await;
    let mut options = nodes[0].options.clone();
    options.connect = format!("{}{new_root}", proxy.address());
    options.cluster = Some(rebuild.cluster);
    let node = support::start_with(options, proxy).await;
    within("register", node.cluster.register()).await.expect("registers");
    let rebuilt = node.sees("a master", |view| view.master.is_some()).await;
    assert_eq!(rebuilt.shards.len(), 4);
    assert!(
        rebuilt
            .shards
            .iter()
            .all(|(id, at)| at.value.epoch > view.shards[id].value.epoch && at.value.isr == view.shards[id].value.isr)
    );
    sleep(Duration::from_millis(500)).await;
    assert_eq!(node.cluster.view().shards.len(), 4, "the first shards are not made again");
}

#[tokio::test]
async fn a_cluster_that_is_lost_or_another_one_is_not_taken_for_the_own() {
    let Some(server) = zookeeper().await else { return };
    let root = root();
    let nodes = registered(&server, &root, 2).await;
    let before = nodes[0].cluster.view();
    let person = zookeeper_client::Client::connect(&server).await.expect("connects");
    person.delete(&format!("{root}/shards/1"), None).await.expect("deletes");
    // Without the znode a change can't be made, but the shard does not count as gone.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(nodes[0].cluster.view().shards, before.shards);
    let read = nodes[0].cluster.quorum_read(SHARD).await;
    assert!(matches!(read, Err(Error::Malformed { .. })), "{read:?}");

    // Another cluster at the same root, as after a loss of everything and a new node's start.
    for node in &nodes {
        node.proxy.set(Mode::Cut);
    }
    let text = |uuid| format!("{{\"format\":1,\"uuid\":\"{uuid}\"}}");
    let path = format!("{root}/cluster");
    let other = uuid::Uuid::new_v4();
    person.set_data(&path, text(other).as_bytes(), None).await.expect("writes");
    sleep(nodes[0].cluster.session_timeout() * 2).await;
    for node in &nodes {
        node.proxy.set(Mode::Pass);
    }
    sleep(Duration::from_secs(3)).await;
    for node in &nodes {
        let view = node.cluster.view();
        assert!(!view.connected && !node.cluster.is_registered());
        assert_eq!(view.shards, before.shards);
        assert!(node.cluster.age() > Duration::from_secs(3), "a strange zookeeper's answers don't count");
    }
    let members = person.list_children(&format!("{root}/members")).await.expect("lists");
    assert_eq!(members, Vec::<String>::new());

    person.set_data(&path, text(nodes[0].cluster.cluster_uuid()).as_bytes(), None).await.expect("writes");
    for node in &nodes {
        node.sees("the own cluster", |view| view.connected && view.members.len() == 2 && view.master.is_some()).await;
    }
}
