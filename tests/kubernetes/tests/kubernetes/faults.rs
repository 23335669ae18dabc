//! Pods and machines are lost under load.

use std::time::{Duration, Instant};

use kv_kubernetes::{
    Image, run,
    suite::{Kubernetes, Load, Store},
};
use kv_operator::api::{ClusterPhase, KvClusterStatus};
use serde_json::json;

/// A role has moved within this time after a pod's end: the status promises two seconds after the change itself.
const ROLE_WITHIN: Duration = Duration::from_secs(15);
/// The same after a machine's that ZooKeeper's leader was on, too: its followers notice that late, elect another one, and all sessions get
/// their 6 s anew.
const ROLE_OF_MACHINE_WITHIN: Duration = Duration::from_secs(40);
/// Operations wait so long when ZooKeeper's leader is lost with its machine: nothing takes over before there is another one, and that has
/// taken up to ten seconds on two busy cores.
const DEADLINE: Duration = Duration::from_secs(30);
/// The role of the master comes round among three nodes in this many moves.
const MOVES_MAX: u32 = 4;
/// Everything is back within this time.
const BACK_WITHIN: Duration = Duration::from_secs(180);

#[test]
fn the_masters_pod_and_then_its_machine_are_lost_under_load() {
    run(&Image::OF_KV_CLUSTERS, async |cluster| {
        let kubernetes = Kubernetes::with_operator(cluster).await;
        let store = Store::running(&kubernetes, "kv-faults", &json!({})).await;

        let (master, sub_master) = roles(&store.status().await);
        let load = Load::start(&store, Some(&machine_of(&store, "node", &sub_master).await)).await;
        lose_pod(&store, &master);
        takes_over(&store, &master, &sub_master, "pod", ROLE_WITHIN).await;
        store.settled(BACK_WITHIN).await;
        load.finish().await.assert_unharmed();

        let machine = master_beside_zookeepers_leader(&store).await;
        let (master, sub_master) = roles(&store.status().await);
        // One operator is enough for a store, and what is measured is not how soon Kubernetes gives it another machine.
        kubernetes.keep_operator_off(&machine);
        let sub_masters = machine_of(&store, "node", &sub_master).await;
        let load = Load::start_with(&store, Some(&sub_masters), DEADLINE).await;
        cluster.machine(&machine).and_then(|machine| machine.cut()).expect("its link goes down");
        takes_over(&store, &master, &sub_master, "machine", ROLE_OF_MACHINE_WITHIN).await;
        store.until("it is degraded", BACK_WITHIN, |status| status.phase == ClusterPhase::Degraded).await;
        cluster.machine(&machine).and_then(|machine| machine.heal()).expect("its link comes back");
        store.settled(BACK_WITHIN).await;
        load.finish().await.assert_unharmed();

        let events = kubernetes.kubectl(&["get", "events.events.k8s.io", "--namespace", "kv-faults"]);
        assert!(events.contains(&format!("{sub_master} is the master")), "an event says so:\n{events}");
        kubernetes.leave_namespace("kv-faults").await;
    });
}

async fn takes_over(store: &Store<'_>, master: &str, sub_master: &str, what: &str, within: Duration) {
    let lost = Instant::now();
    store.until("the sub-master is the master", within, |status| status.master.as_deref() == Some(sub_master)).await;
    eprintln!("{what} of {master} lost: {sub_master} is the master in the status after {:.1?}", lost.elapsed());
}

/// Moves the master's role on until it is where ZooKeeper's leader is: no loss of a machine is worse than of one with both.
async fn master_beside_zookeepers_leader(store: &Store<'_>) -> String {
    for _ in 0..MOVES_MAX {
        let status = store.status().await;
        let (master, sub_master) = roles(&status);
        let machine = machine_of(store, "node", &master).await;
        let leader = status.zookeeper.leader.expect("a leader");
        if machine_of(store, "zookeeper", &leader).await == machine {
            return machine;
        }
        lose_pod(store, &master);
        takes_over(store, &master, &sub_master, "pod", ROLE_WITHIN).await;
        store.settled(BACK_WITHIN).await;
        store.at_home(BACK_WITHIN).await;
    }
    panic!("none of {MOVES_MAX} masters was where ZooKeeper's leader is")
}

fn lose_pod(store: &Store<'_>, pod: &str) {
    store.kubernetes.kubectl(&["delete", "pod", pod, "--namespace", &store.namespace, "--grace-period=0", "--force"]);
}

fn roles(status: &KvClusterStatus) -> (String, String) {
    (status.master.clone().expect("a master"), status.sub_master.clone().expect("a sub-master"))
}

async fn machine_of(store: &Store<'_>, component: &str, pod: &str) -> String {
    let pods = store.pods(component).await;
    pods[pod].spec.as_ref().and_then(|spec| spec.node_name.clone()).expect("it runs somewhere")
}
