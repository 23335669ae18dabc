//! The operator's life ends at each of its writes in turn, before and after the API server has carried it out; what it was at comes to
//! the same end.

use std::{collections::BTreeMap, time::Duration};

use kv_kubernetes::{
    Image, run,
    suite::{Death, Kubernetes, Lives, Store},
};
use serde_json::{Value, json};

/// A change is carried out by an operator that isn't disturbed within this time.
const CARRIED_OUT_WITHIN: Duration = Duration::from_secs(240);
/// An operator that has written nothing for this time, of a store that is as it should be, has nothing left to write: it starts in a third
/// of it.
const NEXT_WRITE_WITHIN: Duration = Duration::from_secs(10);
/// Writes of one change, at most.
const WRITES: usize = 150;

#[test]
fn whatever_write_the_operator_dies_at_it_comes_to_the_same_objects() {
    run(&Image::OF_KV_CLUSTERS, async |cluster| {
        let kubernetes = Kubernetes::with_operator(cluster).await;
        kubernetes.fresh_namespace("kv-crash").await;
        let lives = Lives::take_over(&kubernetes).await;
        let (undisturbed, disturbed) = (
            Store { kubernetes: kubernetes.clone(), namespace: "kv-crash".into(), name: "calm".into() },
            Store { kubernetes: kubernetes.clone(), namespace: "kv-crash".into(), name: "torn".into() },
        );
        let first = json!({ "nodes": 1, "zookeeper": { "nodes": 1 } });
        let changes = [
            ("create", json!({})),
            ("scale out, and ZooKeeper too", json!({ "nodes": 2, "zookeeper": { "nodes": 3 } })),
            ("rolling change", json!({ "podTemplate": { "annotations": { "example.com/round": "2" } } })),
        ];
        let mut spec = first;
        for (what, change) in changes {
            for (field, value) in change.as_object().expect("a change") {
                spec[field] = value.clone();
            }
            // The one that is not disturbed goes first, by itself.
            undisturbed.apply(&spec).expect("it is accepted");
            lives.proxy.live(None);
            lives.begin().await;
            undisturbed.settled(CARRIED_OUT_WITHIN).await;
            lives.end().await;

            disturbed.apply(&spec).expect("it is accepted");
            let count = tear(&lives, &disturbed).await;
            eprintln!("{what}: {count} lives");
            assert!(count > 1, "{what}: the operator wrote nothing that it could have died at");
            assert_eq!(objects(&disturbed), objects(&undisturbed), "{what}");
        }
        lives.give_back().await;
        kubernetes.leave_namespace("kv-crash").await;
    });
}

/// Lets the operator die at its first write, then at a later one of its next life, and so on until it has nothing left to write; and
/// then live. Every other time the write is carried out. (A new life writes again what is there already, and that changes nothing: so
/// each life comes further.) By default every fourth write is one of these, each with `KV_KUBERNETES_FULL`. Returns how many lives that took.
async fn tear(lives: &Lives<'_>, store: &Store<'_>) -> usize {
    let step = if std::env::var_os("KV_KUBERNETES_FULL").is_some() { 1 } else { 4 };
    for (life, write) in (0..WRITES).step_by(step).enumerate() {
        let death = if life % 2 == 0 { Death::Before(write) } else { Death::After(write) };
        lives.proxy.live(Some(death));
        lives.begin().await;
        let died = tokio::select! {
            () = lives.proxy.died() => true,
            () = nothing_is_left(lives, store) => false,
        };
        lives.end().await;
        if !died {
            return life + 1;
        }
    }
    panic!("after {WRITES} writes it goes on:\n{}", lives.log().await);
}

async fn nothing_is_left(lives: &Lives<'_>, store: &Store<'_>) {
    loop {
        store.settled(CARRIED_OUT_WITHIN).await;
        let before = lives.proxy.writes().len();
        tokio::time::sleep(NEXT_WRITE_WITHIN).await;
        if lives.proxy.writes().len() == before && store.is_settled().await {
            return;
        }
    }
}

/// All objects of a store, without what differs between any two.
fn objects(store: &Store<'_>) -> BTreeMap<String, Value> {
    let kinds = "statefulsets,services,configmaps,serviceaccounts,poddisruptionbudgets,networkpolicies,persistentvolumeclaims,pods";
    let labels = format!("app.kubernetes.io/instance={}", store.name);
    let listed = store.kubernetes.kubectl(&[
        "get",
        kinds,
        "--namespace",
        &store.namespace,
        "--selector",
        &labels,
        "--output",
        "json",
    ]);
    // Both are compared under one name.
    let listed: Value = serde_json::from_str(&listed.replace(&store.name, "name")).expect("JSON");
    let items = listed["items"].as_array().expect("a list");
    items
        .iter()
        .map(|item| {
            let key = format!("{} {}", item["kind"], item["metadata"]["name"]);
            let mut spec = item["spec"].clone();
            for field in ["clusterIP", "clusterIPs", "nodeName", "volumeName"] {
                spec.as_object_mut().map(|spec| spec.remove(field));
            }
            let is_pod = item["kind"] == "Pod";
            let spec = if is_pod { json!({ "containers": spec["containers"].as_array().map(Vec::len) }) } else { spec };
            // The record's version counts reconfigurations, of which a torn growth may need more.
            let mut data = item["data"].clone();
            data.as_object_mut().map(|data| data.remove("version"));
            (key, json!({ "labels": item["metadata"]["labels"]["app.kubernetes.io/component"], "spec": spec, "data": data }))
        })
        .collect()
}
