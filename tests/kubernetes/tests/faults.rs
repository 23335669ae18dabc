//! Pods and machines are lost under load.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::time::{Duration, Instant};

use kv_kubernetes::{
    Image, run,
    suite::{Kubernetes, Load, Store},
};
use kv_operator::api::{ClusterPhase, KvClusterStatus};
use serde_json::json;

/// A role has moved within this time after a pod's end: the status promises two seconds after the change itself.
const ROLE_WITHIN: Duration = Duration::from_secs(15);
/// The same after a machine's. ZooKeeper's leader may have been on it: then its followers notice that after 5 s, elect another one, and all
/// sessions get their 6 s anew.
const ROLE_OF_MACHINE_WITHIN: Duration = Duration::from_secs(40);
/// Everything is back within this time.
const BACK_WITHIN: Duration = Duration::from_secs(180);

#[test]
fn the_masters_pod_and_then_its_machine_are_lost_under_load() {
    run(&Image::OF_KV_CLUSTERS, async |cluster| {
        let kubernetes = Kubernetes::with_operator(cluster).await;
        let store = Store::running(&kubernetes, "kv-faults", &json!({})).await;

        let (master, sub_master) = roles(&store.status().await);
        let load = Load::start(&store, Some(&machine_of(&store, &sub_master).await)).await;
        kubernetes.kubectl(&["delete", "pod", &master, "--namespace", "kv-faults", "--grace-period=0", "--force"]);
        takes_over(&store, &master, &sub_master, "pod", ROLE_WITHIN).await;
        store.settled(BACK_WITHIN).await;
        load.finish().await.assert_unharmed();

        let (master, sub_master) = roles(&store.status().await);
        let machine = machine_of(&store, &master).await;
        // One operator is enough for a store, and what is measured is not how soon Kubernetes gives it another machine.
        kubernetes.keep_operator_off(&machine);
        let load = Load::start(&store, Some(&machine_of(&store, &sub_master).await)).await;
        cluster.machine(&machine).and_then(|machine| machine.cut()).expect("its link goes down");
        takes_over(&store, &master, &sub_master, "machine", ROLE_OF_MACHINE_WITHIN).await;
        store.until("it is degraded", BACK_WITHIN, |status| status.phase == ClusterPhase::Degraded).await;
        cluster.machine(&machine).and_then(|machine| machine.heal()).expect("its link comes back");
        store.settled(BACK_WITHIN).await;
        load.finish().await.assert_unharmed();

        let events = kubernetes.kubectl(&["get", "events.events.k8s.io", "--namespace", "kv-faults"]);
        assert!(events.contains(&format!("{sub_master} is the master")), "an event says so:\n{events}");
        kubernetes.delete_namespace("kv-faults").await;
    });
}

async fn takes_over(store: &Store<'_>, master: &str, sub_master: &str, what: &str, within: Duration) {
    let lost = Instant::now();
    store.until("the sub-master is the master", within, |status| status.master.as_deref() == Some(sub_master)).await;
    eprintln!("{what} of {master} lost: {sub_master} is the master in the status after {:.1?}", lost.elapsed());
}

fn roles(status: &KvClusterStatus) -> (String, String) {
    (status.master.clone().expect("a master"), status.sub_master.clone().expect("a sub-master"))
}

async fn machine_of(store: &Store<'_>, pod: &str) -> String {
    let pods = store.pods("node").await;
    pods[pod].spec.as_ref().and_then(|spec| spec.node_name.clone()).expect("it runs somewhere")
}
