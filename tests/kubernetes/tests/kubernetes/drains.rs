//! Machines are drained under load.

use std::time::Duration;

use kv_kubernetes::{
    Image, MACHINES, run,
    suite::{Kubernetes, Load, Store},
};
use serde_json::json;

/// A node is replaced, with all its copies, within this time.
const REPLACED_WITHIN: Duration = Duration::from_secs(240);

#[test]
fn machines_are_drained_one_after_the_other() {
    run(&Image::OF_KV_CLUSTERS, async |cluster| {
        let kubernetes = Kubernetes::with_operator(cluster).await;
        let store = Store::running(&kubernetes, "kv-drains", &json!({})).await;
        for machine in MACHINES {
            let elsewhere = MACHINES.iter().find(|other| **other != machine).expect("there are three");
            let load = Load::start(&store, Some(elsewhere)).await;
            // The load's pod is nobody's; it is not on this machine anyway.
            let drain = ["drain", machine, "--pod-selector", "app.kubernetes.io/name=kvcluster", "--timeout=150s"];
            kubernetes.kubectl(&[&drain[..], &["--delete-emptydir-data"]].concat());
            kubernetes.kubectl(&["uncordon", machine]);
            store.settled(REPLACED_WITHIN).await;
            load.finish().await.assert_unharmed();
        }
        kubernetes.leave_namespace("kv-drains").await;
    });
}
