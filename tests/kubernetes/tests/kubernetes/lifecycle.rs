//! A store's life: made, used, deleted, found again; and the operator's: upgraded, uninstalled.

use std::time::Duration;

use kv_kubernetes::{
    Image, run,
    suite::{Kubernetes, NAMESPACE, Store},
};
use kv_operator::api::ClusterPhase;
use serde_json::json;

/// Restarts of the operator and its first rounds are over within this time.
const OPERATOR_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn a_minimal_resource_becomes_a_store_that_serves_and_is_found_again_after_its_deletion() {
    run(&Image::OF_KV_CLUSTERS, async |cluster| {
        let kubernetes = Kubernetes::with_operator(cluster).await;
        let store = Store::running(&kubernetes, "kv-lifecycle", &json!({})).await;
        shows_how_it_is(&store).await;
        is_restricted(&store).await;

        store.kvctl("demo-0", &["put", "greeting", "hello"]).expect("a put");
        assert_eq!(store.kvctl("demo-2", &["get", "greeting"]).expect("a get").trim(), "hello");

        an_operator_that_starts_restarts_nothing(&store).await;
        a_paused_store_is_left_alone(&store).await;

        store.delete().await;
        let claims = kubernetes.kubectl(&["get", "pvc", "--namespace", "kv-lifecycle", "--output", "name"]);
        assert_eq!(claims.lines().count(), 9, "the volumes are kept: {claims}");
        store.apply(&json!({})).expect("it is accepted");
        store.settled(Duration::from_secs(120)).await;
        assert_eq!(store.kvctl("demo-1", &["get", "greeting"]).expect("a get").trim(), "hello", "the data is back");

        an_operator_that_is_gone_leaves_the_store_running(&store).await;
        kubernetes.leave_namespace("kv-lifecycle").await;
    });
}

async fn shows_how_it_is(store: &Store<'_>) {
    let shown = store.kubernetes.kubectl(&["get", "kvclusters", "--namespace", &store.namespace]);
    eprintln!("{shown}");
    let status = store.status().await;
    let columns = shown.lines().nth(1).expect("a line");
    for expected in ["demo", "3/3", "12/12", "Running", status.master.as_deref().expect("a master")] {
        assert!(columns.contains(expected), "{expected}: {columns}");
    }
    assert_ne!(status.master, status.sub_master);
    assert_eq!(status.nodes.len(), 3);
    // Homes that still move have a copy too few for a moment.
    store.until("all is replicated", OPERATOR_WITHIN, |status| status.shards.fully_replicated == 12).await;
}

async fn is_restricted(store: &Store<'_>) {
    for pod in store.pods("node").await.values().chain(store.pods("zookeeper").await.values()) {
        let spec = pod.spec.as_ref().expect("a pod has one");
        let volumes = spec.volumes.iter().flatten();
        assert!(volumes.into_iter().all(|volume| volume.projected.is_none()), "no token is mounted");
        assert_eq!(spec.automount_service_account_token, Some(false));
    }
}

async fn an_operator_that_starts_restarts_nothing(store: &Store<'_>) {
    let before = store.uids().await;
    restart_operator(store);
    settled_again(store).await;
    assert_eq!(store.uids().await, before);
}

async fn a_paused_store_is_left_alone(store: &Store<'_>) {
    let before = store.uids().await;
    store.change(&json!({ "paused": true, "podTemplate": { "annotations": { "example.com/why": "paused" } } })).await;
    store.until("it is paused", OPERATOR_WITHIN, |status| status.phase == ClusterPhase::Paused).await;
    restart_operator(store);
    store.until("it is paused", OPERATOR_WITHIN, |status| status.phase == ClusterPhase::Paused).await;
    assert_eq!(store.uids().await, before);
    store.change(&json!({ "paused": false, "podTemplate": { "annotations": null } })).await;
    store.settled(OPERATOR_WITHIN).await;
    assert_eq!(store.uids().await, before);
}

async fn an_operator_that_is_gone_leaves_the_store_running(store: &Store<'_>) {
    let before = store.uids().await;
    let said = store.kubernetes.helm(&["uninstall", "kv", "--namespace", NAMESPACE, "--wait"]);
    eprintln!("{said}");
    assert_eq!(store.uids().await, before);
    assert_eq!(store.kvctl("demo-0", &["get", "greeting"]).expect("a get").trim(), "hello");
    store.kubernetes.install_operator(&[]);
    settled_again(store).await;
    assert_eq!(store.uids().await, before);
}

fn restart_operator(store: &Store<'_>) {
    store.kubernetes.kubectl(&["rollout", "restart", "deployment/kv-operator", "--namespace", NAMESPACE]);
    store.kubernetes.kubectl(&[
        "rollout",
        "status",
        "deployment/kv-operator",
        "--namespace",
        NAMESPACE,
        "--timeout=90s",
    ]);
}

/// A change that means nothing to the pods, seen through by the operator: it has looked at everything once more.
async fn settled_again(store: &Store<'_>) {
    let paused = store.get().await.spec.paused;
    store.change(&json!({ "paused": !paused })).await;
    store
        .until("the operator has seen it", OPERATOR_WITHIN, |status| (status.phase == ClusterPhase::Paused) != paused)
        .await;
    store.change(&json!({ "paused": paused })).await;
    store.settled(OPERATOR_WITHIN).await;
}
