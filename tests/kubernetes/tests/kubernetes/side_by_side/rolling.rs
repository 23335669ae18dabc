//! Pods are replaced under load: by changes of the resource, by an image that can't be had.

use std::time::Duration;

use kv_kubernetes::{
    Image, run_beside,
    suite::{Kubernetes, Load, Store},
};
use kv_operator::api::ConditionKind::Degraded;
use kv_operator::api::ConditionStatus::True;
use serde_json::json;

/// Three nodes are replaced one after the other within this time.
const ROLLED_WITHIN: Duration = Duration::from_secs(240);

#[test]
fn resources_and_image_change_and_a_bad_image_stops_at_the_first_pod() {
    run_beside(&Image::OF_KV_CLUSTERS, async |cluster| {
        let kubernetes = Kubernetes::beside_others(cluster).await;
        let store = Store::running(&kubernetes, "kv-changes", &json!({ "zookeeper": { "nodes": 1 } })).await;
        let load = Load::start(&store, None).await;

        let before = store.uids().await;
        store.change(&json!({ "resources": { "requests": { "cpu": "60m", "memory": "200Mi" } } })).await;
        let took = store.settled(ROLLED_WITHIN).await;
        let after = store.uids().await;
        let nodes = ["demo-0", "demo-1", "demo-2"];
        assert!(nodes.iter().all(|pod| before[*pod] != after[*pod]), "{before:?} {after:?}");
        assert_eq!(before["demo-zk-0"], after["demo-zk-0"], "ZooKeeper has nothing to do with it");
        eprintln!("rolling change: {took:.1?}");

        let image = store.pods("node").await["demo-0"].spec.as_ref().and_then(|it| it.containers[0].image.clone());
        store.change(&json!({ "image": "localhost/kv-node:no-such-tag", "imagePullPolicy": "Never" })).await;
        store.told(Degraded, True, &["pod demo-", "ErrImageNeverPull"], ROLLED_WITHIN).await;
        let stuck = store.uids().await;
        assert_eq!(nodes.iter().filter(|pod| stuck[**pod] != after[**pod]).count(), 1, "it stops at the first");
        store.change(&json!({ "image": image, "imagePullPolicy": null })).await;
        store.settled(ROLLED_WITHIN).await;
        load.finish().await.assert_unharmed();
        kubernetes.leave_namespace("kv-changes").await;
    });
}
