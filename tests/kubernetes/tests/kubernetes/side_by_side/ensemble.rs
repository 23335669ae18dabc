//! Members of ZooKeeper and their volumes are lost, a few and all of them, under load.

use std::time::{Duration, Instant};

use kv_kubernetes::{
    Image, run_beside,
    suite::{Kubernetes, Load, Store},
};
use kv_operator::api::{ConditionKind::ZooKeeperQuorum, ConditionStatus};
use serde_json::json;

/// A condition follows what happens within this time.
const TOLD_WITHIN: Duration = Duration::from_secs(150);
/// A quorum is back within this time.
const BACK_WITHIN: Duration = Duration::from_secs(180);

#[test]
fn no_empty_ensemble_serves_and_what_the_condition_says_to_do_works() {
    run_beside(&Image::OF_KV_CLUSTERS, async |cluster| {
        let kubernetes = Kubernetes::beside_others(cluster).await;
        // While ZooKeeper is away nobody can take over: a copy must not try to because this machine is busy.
        let spec = json!({ "settings": { "lease": "10s" } });
        let store = Store::running(&kubernetes, "kv-zookeeper", &spec).await;
        // A handover whose outcome ZooKeeper can't tell any more waits for it, and with it the shard.
        store.at_home(BACK_WITHIN).await;
        let nodes = store.pods("node").await;
        let load = Load::start(&store, None).await;

        the_leader_is_killed(&store).await;
        one_volume_is_lost(&store).await;
        most_volumes_are_lost(&store).await;
        all_volumes_are_lost(&store).await;

        for (name, pod) in store.pods("node").await {
            let (before, now) = (&nodes[&name], pod.status.as_ref());
            assert_eq!(before.metadata.uid, pod.metadata.uid, "{name} was never restarted");
            let restarts = now.and_then(|status| status.container_statuses.as_ref()).map(|all| all[0].restart_count);
            assert_eq!(restarts, Some(0), "{name}");
        }
        let figures = load.finish().await;
        figures.assert_unharmed();
        kubernetes.leave_namespace("kv-zookeeper").await;
    });
}

async fn the_leader_is_killed(store: &Store<'_>) {
    let leader = store.status().await.zookeeper.leader.expect("a leader");
    let killed = store.kubernetes.cluster.kill_container(&store.namespace, &leader, "zookeeper");
    killed.expect("its processes are killed");
    store
        .until("another leads", BACK_WITHIN, |status| {
            status.zookeeper.leader.as_deref().is_some_and(|now| now != leader)
        })
        .await;
    store.settled(BACK_WITHIN).await;
    store.at_home(BACK_WITHIN).await;
}

/// A member whose volume is lost comes back by itself, with what the others have.
async fn one_volume_is_lost(store: &Store<'_>) {
    lose(store, &["demo-zk-2"]);
    store.settled(BACK_WITHIN).await;
    store.at_home(BACK_WITHIN).await;
    eprintln!("one volume lost: back");
}

/// The survivor alone is no quorum, and two empty members beside it are none: a person has to say that their volumes are gone.
async fn most_volumes_are_lost(store: &Store<'_>) {
    lose(store, &["demo-zk-1", "demo-zk-2"]);
    let lost = ConditionStatus::False;
    let said = store.told(ZooKeeperQuorum, lost, &["QuorumLost", "demo-zk-0", "from-member-0"], TOLD_WITHIN).await;
    assert!(said.contains("data-demo-zk-0 holds data"), "{said}");
    store.annotate("kvcluster.io/recover-zookeeper=new-ensemble");
    store.told(ZooKeeperQuorum, lost, &["no new ensemble is begun", "data-demo-zk-0"], TOLD_WITHIN).await;
    recover(store, "from-member-0").await;
}

/// With all volumes lost nothing serves but on request, and then the nodes give back what they know.
async fn all_volumes_are_lost(store: &Store<'_>) {
    lose(store, &["demo-zk-0", "demo-zk-1", "demo-zk-2"]);
    let lost = ConditionStatus::False;
    store.told(ZooKeeperQuorum, lost, &["QuorumLost", "new-ensemble", "kvctl rebuild-zookeeper"], TOLD_WITHIN).await;
    store.annotate("kvcluster.io/recover-zookeeper=new-ensemble");
    store.told(ZooKeeperQuorum, ConditionStatus::True, &[], BACK_WITHIN).await;
    let rebuilt = kv_tests::wait::until("ZooKeeper is rebuilt from the nodes", BACK_WITHIN, async || {
        store.kvctl("demo-0", &["rebuild-zookeeper", "--yes"]).map(drop)
    })
    .await;
    let took = store.settled(BACK_WITHIN).await;
    eprintln!("all volumes lost: rebuilt after {rebuilt:.1?}, settled after another {took:.1?}");
}

async fn recover(store: &Store<'_>, how: &str) {
    let asked = Instant::now();
    store.annotate(&format!("kvcluster.io/recover-zookeeper={how}"));
    store.told(ZooKeeperQuorum, ConditionStatus::True, &[], BACK_WITHIN).await;
    eprintln!("{how}: a quorum after {:.1?}", asked.elapsed());
    store.settled(BACK_WITHIN).await;
    store.at_home(BACK_WITHIN).await;
    let left = store.get().await.metadata.annotations.unwrap_or_default();
    assert!(!left.contains_key("kvcluster.io/recover-zookeeper"), "it is done: {left:?}");
}

/// Empties volumes, all before any of the pods starts anew.
fn lose(store: &Store<'_>, pods: &[&str]) {
    for pod in pods {
        let wiped = store.kubernetes.cluster.wipe_volume(&store.namespace, &format!("data-{pod}"));
        wiped.expect("the volume is emptied");
    }
    let delete = ["delete", "pod", "--namespace", &store.namespace, "--grace-period=0", "--force"];
    store.kubernetes.kubectl(&[&delete[..], pods].concat());
    for pod in pods {
        // What the pod has written between the two is no less lost.
        let _ = store.kubernetes.cluster.wipe_volume(&store.namespace, &format!("data-{pod}"));
    }
}
