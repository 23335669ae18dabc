//! Nodes and members of ZooKeeper come and go under load.

use std::time::Duration;

use kv_kubernetes::{
    Image, run_beside,
    suite::{Kubernetes, Load, Store},
};
use kv_tests::wait;
use serde_json::json;

/// Nodes have come or gone, and all copies are where they should be, within this time.
const SCALED_WITHIN: Duration = Duration::from_secs(240);

/// Kubernetes' own controllers have cleaned up within this time.
const GONE_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn nodes_and_zookeeper_grow_and_shrink_under_load() {
    run_beside(&Image::OF_KV_CLUSTERS, async |cluster| {
        let kubernetes = Kubernetes::beside_others(cluster).await;
        let spec = json!({ "zookeeper": { "nodes": 1 }, "storage": { "onDelete": "Delete" } });
        let store = Store::running(&kubernetes, "kv-scaling", &spec).await;
        let load = Load::start(&store, None).await;

        scale_nodes(&store, 5).await;
        assert!(serves(&store, "demo-4").await, "homes have moved to new nodes");
        // As a person types it.
        kubernetes.kubectl(&["scale", "kvcluster/demo", "--replicas=3", "--namespace", "kv-scaling"]);
        let took = store.settled(SCALED_WITHIN).await;
        eprintln!("5 to 3 nodes: {took:.1?}");
        wait::until("onDelete: Delete takes the claims of nodes that are gone", GONE_WITHIN, async || {
            let claims = kubernetes.kubectl(&["get", "pvc", "--namespace", "kv-scaling", "--output", "name"]);
            if claims.contains("demo-3") || claims.contains("demo-4") { Err(claims) } else { Ok(()) }
        })
        .await;

        let before = store.pods("node").await;
        for members in [3, 5, 3] {
            store.change(&json!({ "zookeeper": { "nodes": members } })).await;
            let ready = format!("{members}/{members}");
            let took = store.until("ZooKeeper is as wished for", SCALED_WITHIN, |it| it.zookeeper.ready == ready).await;
            store.settled(SCALED_WITHIN).await;
            eprintln!("ZooKeeper of {members}: {took:.1?}");
        }
        let after = store.pods("node").await;
        assert!(before.iter().all(|(name, pod)| after[name].metadata.uid == pod.metadata.uid), "no node was restarted");
        load.finish().await.assert_unharmed();
        kubernetes.leave_namespace("kv-scaling").await;
    });
}

async fn scale_nodes(store: &Store<'_>, nodes: i32) {
    store.change(&json!({ "nodes": nodes })).await;
    let took = store.settled(SCALED_WITHIN).await;
    eprintln!("{nodes} nodes: {took:.1?}");
}

async fn serves(store: &Store<'_>, node: &str) -> bool {
    store
        .until("homes move", SCALED_WITHIN, |status| {
            status.nodes.iter().any(|it| it.name == node && it.shards_served > 0)
        })
        .await;
    true
}
