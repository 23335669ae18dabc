use super::*;
use crate::{
    api::{ClusterPhase, ConditionStatus, NodeRole},
    nodes::{ClusterReport, NodeReport, ShardReport},
    reconcile::{
        decision::Finding,
        fixtures,
        names::Component,
        validate::Invalid,
        world::{ClaimState, PodState, StatefulSetState, Trouble},
    },
};
use ConditionKind::{Available, Degraded, Progressing, StorageReady, ZooKeeperQuorum};
use ConditionStatus::{False, True, Unknown};

/// A cluster of three nodes and three members, and what the operator is shown of it.
struct Case {
    cluster: ValidatedCluster,
    resource: KvCluster,
    world: World,
    decisions: Decisions,
    now: Timestamp,
}

impl Case {
    fn creating() -> Self {
        let spec = "{}";
        Self {
            cluster: fixtures::cluster(spec),
            resource: fixtures::resource(spec),
            world: World::default(),
            decisions: Decisions::default(),
            now: Timestamp::UNIX_EPOCH,
        }
    }

    /// All is well, and the resource says so.
    fn running() -> Self {
        let mut case = Self::creating();
        let names = case.cluster.names.clone();
        let set = || {
            Some(StatefulSetState { replicas: 3, update_revision: "r1".into(), observed: true, ..Default::default() })
        };
        let pods = |component| -> std::collections::BTreeMap<u32, PodState> {
            let pod = |ordinal| PodState {
                name: names.pod(component, ordinal),
                revision: "r1".into(),
                ready: true,
                ..PodState::default()
            };
            (0..3).map(|ordinal| (ordinal, pod(ordinal))).collect()
        };
        case.world.node_pods = pods(Component::Node);
        case.world.zookeeper_pods = pods(Component::ZooKeeper);
        (case.world.node_set, case.world.zookeeper_set) = (set(), set());
        case.world.ensemble_record = Some([("bootstrapped".to_owned(), "true".to_owned())].into());
        for (component, template) in case.cluster.volumes().into_keys() {
            for ordinal in 0..3 {
                let name = names.claim(template, component, ordinal);
                case.world.claims.insert(name.clone(), ClaimState { name, bound: true, ..ClaimState::default() });
            }
        }
        case.world.report = Some(report());
        case.round();
        case
    }

    fn status(&self) -> KvClusterStatus {
        status_at(Ok(&self.cluster), &self.resource, &self.world, &self.decisions, self.now)
    }

    /// A status that is written.
    fn round(&mut self) -> KvClusterStatus {
        let status = self.status();
        self.resource.status = Some(status.clone());
        status
    }

    fn report(&mut self) -> &mut ClusterReport {
        self.world.report.as_mut().expect("nodes answer")
    }

    fn node(&mut self, ordinal: u32) -> &mut PodState {
        self.world.node_pods.get_mut(&ordinal).expect("there is such a pod")
    }

    fn progress(&mut self, reason: &'static str) {
        self.decisions.progress = vec![Finding { reason, message: format!("{reason} goes on") }];
    }
}

fn report() -> ClusterReport {
    let node = NodeReport {
        registered: true,
        answered: true,
        ready: true,
        copies_in_sync: 1,
        copies_placed: 1,
        version: "0.1.0".into(),
        ..NodeReport::default()
    };
    let shard = |home: &str, backup: &str| ShardReport {
        available: true,
        fully_replicated: true,
        home: home.into(),
        primary: home.into(),
        holders: [home.to_owned(), backup.to_owned()].into(),
        in_sync: [home.to_owned(), backup.to_owned()].into(),
    };
    ClusterReport {
        at: std::time::Instant::now(),
        cluster: "uuid".into(),
        answered_by: "demo-2".into(),
        zookeeper_connected: true,
        master: Some("demo-0".into()),
        sub_master: Some("demo-1".into()),
        nodes: (0..3).map(|ordinal| (format!("demo-{ordinal}"), node.clone())).collect(),
        shards: [(0, shard("demo-0", "demo-1")), (1, shard("demo-1", "demo-2"))].into(),
    }
}

fn condition(status: &KvClusterStatus, kind: ConditionKind) -> &Condition {
    status.conditions.iter().find(|condition| condition.kind == kind).expect("every condition is there")
}

/// A condition's status and reason.
fn is(status: &KvClusterStatus, kind: ConditionKind) -> (ConditionStatus, &str) {
    let condition = condition(status, kind);
    (condition.status, &condition.reason)
}

#[test]
fn a_cluster_at_rest_is_running_and_says_all() {
    let mut case = Case::running();
    // Then it is the second round: the first was of a cluster that had never served.
    let status = case.round();
    assert_eq!((status.phase, status.message.as_str()), (ClusterPhase::Running, ""));
    assert_eq!((status.ready.as_str(), status.shards.summary.as_str(), status.replicas), ("3/3", "2/2", 3));
    assert_eq!((status.master.as_deref(), status.sub_master.as_deref()), (Some("demo-0"), Some("demo-1")));
    assert_eq!(status.zookeeper.ready, "3/3");
    assert!(status.zookeeper.bootstrapped && status.cluster_id.as_deref() == Some("uuid"));
    assert!(status.selector.contains("app.kubernetes.io/instance=demo"), "{}", status.selector);
    let roles: Vec<_> = status.nodes.iter().map(|node| (node.role, node.lag.as_str(), node.ready)).collect();
    let expected = [NodeRole::Master, NodeRole::SubMaster, NodeRole::Slave].map(|role| (role, "InSync", true));
    assert_eq!(roles, expected);
    for (kind, expected) in
        [(Available, True), (Progressing, False), (Degraded, False), (ZooKeeperQuorum, True), (StorageReady, True)]
    {
        assert_eq!(condition(&status, kind).status, expected, "{kind:?}");
    }
}

#[test]
fn nothing_changes_at_rest_or_under_load_and_times_tell_the_last_change() {
    let mut case = Case::running();
    let before = case.round();
    case.now = Timestamp::from_second(1000).expect("a time");
    case.report().at = std::time::Instant::now();
    case.report().answered_by = "demo-0".into();
    for node in case.report().nodes.values_mut() {
        node.lag = 4711;
    }
    assert_eq!(case.status(), before);

    case.report().shards.values_mut().for_each(|shard| shard.available = false);
    let after = case.round();
    assert_eq!(condition(&after, Available).last_transition_time.0, case.now);
    assert_eq!(condition(&after, StorageReady).last_transition_time.0, Timestamp::UNIX_EPOCH);
}

#[test]
fn a_status_is_the_same_after_it_was_written_and_read() {
    let mut case = Case::running();
    case.now = "2024-05-06T07:08:09.123456789Z".parse().expect("a time");
    case.report().shards.values_mut().for_each(|shard| shard.available = false);
    let written = serde_json::to_value(case.status()).expect("it can be written");
    case.resource.status = Some(serde_json::from_value(written).expect("it can be read"));
    case.now = "2024-05-06T07:09:09Z".parse().expect("a time");
    assert_eq!(Some(case.status()), case.resource.status);
}

#[test]
fn a_cluster_is_being_created_until_its_shards_are_served() {
    let mut case = Case::creating();
    case.progress("WaitingForZooKeeper");
    let status = case.round();
    assert_eq!(status.phase, ClusterPhase::Creating);
    assert_eq!((status.ready.as_str(), status.message.as_str()), ("0/3", "WaitingForZooKeeper goes on"));
    assert_eq!(is(&status, Available), (False, "Creating"));
    assert_eq!(is(&status, ZooKeeperQuorum), (Unknown, "Bootstrapping"));
    assert_eq!(is(&status, StorageReady), (False, "VolumesPending"));
    assert_eq!(is(&status, Degraded).0, False);
    assert_eq!(status.nodes.len(), 3);

    let trouble = Trouble { reason: "Unschedulable".into(), message: "0/3 nodes are available".into() };
    case.world.zookeeper_pods.insert(0, PodState { trouble: Some(trouble), ..PodState::default() });
    let status = case.round();
    assert_eq!((status.phase, is(&status, Degraded)), (ClusterPhase::Creating, (True, "Unschedulable")));
    assert_eq!(status.message, "pod demo-zk-0: Unschedulable: 0/3 nodes are available");
}

#[test]
fn shards_that_nobody_serves_are_named() {
    let mut case = Case::running();
    if let Some(shard) = case.report().shards.get_mut(&1) {
        shard.available = false;
    }
    let status = case.round();
    assert_eq!((status.phase, is(&status, Available)), (ClusterPhase::Unavailable, (False, "ShardsNotServed")));
    assert_eq!(status.message, "1 of 2 shards are not served: 1 of demo-1");
    assert_eq!((status.shards.summary.as_str(), is(&status, Degraded)), ("1/2", (True, "ShardsNotServed")));
}

#[test]
fn a_pod_that_is_lost_degrades_and_one_of_a_rolling_change_does_not() {
    let mut case = Case::running();
    case.round();
    case.world.node_pods.remove(&1);
    case.progress("PodMissing");
    let lost = case.status();
    assert_eq!((lost.phase, is(&lost, Degraded)), (ClusterPhase::Degraded, (True, "NodeNotReady")));
    assert!(lost.message.contains("demo-1"), "{}", lost.message);

    case.node(0).revision = "r0".into();
    let rolling = case.round();
    assert_eq!((rolling.phase, is(&rolling, Degraded).0), (ClusterPhase::Updating, False));
    assert_eq!((rolling.message.as_str(), is(&rolling, Progressing)), ("PodMissing goes on", (True, "PodMissing")));

    let trouble = Trouble { reason: "ImagePullBackOff".into(), message: "no such image".into() };
    case.node(0).trouble = Some(trouble);
    let stuck = case.status();
    assert_eq!((stuck.phase, is(&stuck, Degraded)), (ClusterPhase::Degraded, (True, "ImagePullBackOff")));
    assert!(stuck.message.starts_with("pod demo-0: ImagePullBackOff: no such image"), "{}", stuck.message);

    case.node(0).trouble = None;
    case.now = Timestamp::from_second(3600).expect("a time");
    assert_eq!(case.status().phase, ClusterPhase::Degraded, "a change that takes for ever is no excuse");
}

#[test]
fn copies_that_are_not_in_sync_and_a_master_that_is_missing_degrade() {
    let mut case = Case::running();
    case.round();
    // A home that moves: the old copies are there until the new ones are in sync.
    case.report().shards.values_mut().for_each(|shard| shard.fully_replicated = false);
    assert_eq!(case.status().phase, ClusterPhase::Running);
    case.report().shards.values_mut().for_each(|shard| shard.in_sync = ["demo-1".to_owned()].into());
    let status = case.status();
    assert_eq!((status.phase, is(&status, Degraded)), (ClusterPhase::Degraded, (True, "CopiesNotInSync")));
    case.report().master = None;
    assert_eq!(is(&case.status(), Degraded), (True, "NoMaster"));
}

#[test]
fn a_hindrance_stops_progress_and_is_told() {
    let mut case = Case::running();
    case.progress("RollingOut");
    case.decisions.hindrances = vec![Finding { reason: "NodesSilent", message: "no node answers".into() }];
    let status = case.round();
    assert_eq!((is(&status, Progressing), is(&status, Degraded)), ((False, "NodesSilent"), (True, "NodesSilent")));
    assert_eq!((status.phase, status.message.as_str()), (ClusterPhase::Degraded, "no node answers"));
}

#[test]
fn while_no_node_answers_the_operator_what_was_seen_last_stays() {
    let mut case = Case::running();
    let before = case.round();
    case.world.report = None;
    let silent = case.round();
    assert_eq!((silent.phase, is(&silent, Available)), (ClusterPhase::Degraded, (Unknown, "NodesSilent")));
    assert_eq!((&silent.master, &silent.shards, &silent.nodes), (&before.master, &before.shards, &before.nodes));

    case.world.node_pods.clear();
    let dead = case.round();
    assert_eq!((dead.phase, is(&dead, Available)), (ClusterPhase::Unavailable, (False, "NoNodeReady")));
    assert_eq!((dead.master, dead.shards.summary.as_str()), (None, "0/2"));
    assert!(dead.nodes.iter().all(|node| node.role == NodeRole::Unknown && !node.ready));
}

#[test]
fn a_node_that_left_is_gone_while_it_holds_something_and_then_not_listed() {
    let mut case = Case::running();
    let mut gone = NodeReport { copies_placed: 1, ..NodeReport::default() };
    case.report().nodes.insert("demo-10".into(), gone.clone());
    let last = case.status().nodes.pop().expect("nodes are listed");
    assert_eq!((last.name.as_str(), last.role, last.lag.as_str()), ("demo-10", NodeRole::Gone, "Unknown"));
    gone.copies_placed = 0;
    case.report().nodes.insert("demo-10".into(), gone);
    assert_eq!(case.status().nodes.len(), 3);
}

#[test]
fn a_quorum_that_is_lost_says_who_lacks_and_the_plans_words_come_first() {
    let mut case = Case::running();
    case.report().zookeeper_connected = false;
    for pod in case.world.zookeeper_pods.values_mut().skip(1) {
        pod.ready = false;
    }
    let status = case.round();
    assert_eq!((is(&status, ZooKeeperQuorum), status.phase), ((False, "TooFewMembers"), ClusterPhase::Degraded));
    assert_eq!(condition(&status, ZooKeeperQuorum).message, "1 of 3 members serve: demo-zk-1, demo-zk-2 are not");
    case.decisions.quorum = Some(Finding { reason: "QuorumLost", message: "set the annotation".into() });
    let status = case.round();
    assert_eq!((is(&status, ZooKeeperQuorum), status.message.as_str()), ((False, "QuorumLost"), "set the annotation"));

    case.cluster = fixtures::external("{}");
    case.decisions.quorum = None;
    let status = case.round();
    assert_eq!(
        (is(&status, ZooKeeperQuorum), status.zookeeper.ready.as_str()),
        ((False, "NodesNotConnected"), "external")
    );
    assert!(condition(&status, ZooKeeperQuorum).message.contains("zk-a:2181"));
    case.report().zookeeper_connected = true;
    assert_eq!(is(&case.round(), ZooKeeperQuorum), (True, "NodesConnected"));
}

#[test]
fn volumes_at_fault_are_named() {
    let mut case = Case::running();
    let status = |case: &Case| {
        let status = case.status();
        let condition = condition(&status, StorageReady);
        (condition.reason.clone(), condition.message.clone(), status.phase)
    };
    let set = |case: &mut Case, claim: ClaimState| case.world.claims.insert("data-demo-1".into(), claim);

    set(&mut case, ClaimState::default());
    let (reason, message, _) = status(&case);
    assert_eq!((reason.as_str(), message.as_str()), ("VolumesPending", "not bound yet: data-demo-1"));
    let trouble = Some(Trouble { reason: "NodeResizeError".into(), message: "no room".into() });
    set(&mut case, ClaimState { bound: true, trouble, ..ClaimState::default() });
    let (reason, message, phase) = status(&case);
    assert_eq!((reason.as_str(), message.as_str()), ("NodeResizeError", "claim data-demo-1: no room"));
    assert_eq!(phase, ClusterPhase::Degraded);
    set(&mut case, ClaimState { bound: true, deleting: true, ..ClaimState::default() });
    assert_eq!(status(&case).0, "VolumeDeleted");
    case.decisions.storage =
        vec![Finding { reason: "StorageClassMissing", message: "there is no storage class x".into() }];
    assert_eq!(status(&case).1, "there is no storage class x");
}

#[test]
fn an_invalid_resource_and_a_paused_one_go_on_to_report() {
    let mut case = Case::running();
    let invalid = Invalid { reason: "InvalidSize", message: "spec.storage.data.size: too small".into() };
    let status = status_at(Err(&invalid), &case.resource, &case.world, &case.decisions, case.now);
    assert_eq!((status.phase, status.message.as_str()), (ClusterPhase::Invalid, invalid.message.as_str()));
    assert_eq!((is(&status, Progressing), is(&status, Available).0), ((False, "InvalidSize"), True));
    assert_eq!((status.ready.as_str(), status.zookeeper.ready.as_str()), ("3/3", "3/3"));

    case.resource.spec.paused = true;
    case.progress("ScalingOut");
    let status = case.round();
    assert_eq!((status.phase, is(&status, Progressing)), (ClusterPhase::Paused, (False, "Paused")));
    assert!(condition(&status, Progressing).message.ends_with("ScalingOut goes on"));
    assert_eq!(status.master.as_deref(), Some("demo-0"));
}

#[test]
fn texts_of_others_are_cut() {
    let mut case = Case::running();
    let message = "ä".repeat(MAX_TEXT * 2);
    case.node(2).trouble = Some(Trouble { reason: "Crash Loop\n".into(), message });
    let status = case.status();
    assert_eq!(is(&status, Degraded), (True, "CrashLoop"));
    assert_eq!(status.message.chars().count(), MAX_TEXT + 1);
}
