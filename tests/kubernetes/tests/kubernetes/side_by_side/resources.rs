//! Resources that can't be carried out: refused by the API server, or told as a condition.

use std::time::Duration;

use kv_kubernetes::{
    Image, run_beside,
    suite::{Kubernetes, Store},
};
use kv_operator::api::ConditionKind::{Degraded, Progressing, StorageReady};
use kv_operator::api::ConditionStatus::{False, True};
use serde_json::{Value, json};

/// What is wrong is told within this time.
const TOLD_WITHIN: Duration = Duration::from_secs(60);
/// What was wrong and is corrected runs within this time.
const MENDED_WITHIN: Duration = Duration::from_secs(180);

/// A small store: one node, one member.
fn small() -> Value {
    json!({ "nodes": 1, "zookeeper": { "nodes": 1 } })
}

#[test]
fn what_can_be_seen_from_the_resource_alone_is_refused_with_what_to_write() {
    run_beside(&Image::OF_KV_CLUSTERS, async |cluster| {
        let kubernetes = Kubernetes::beside_others(cluster).await;
        kubernetes.fresh_namespace("kv-refused").await;
        let store = Store { kubernetes: kubernetes.clone(), namespace: "kv-refused".into(), name: "demo".into() };
        let refused = |store: &Store<'_>, spec: &Value, because: &str| {
            let said = store.apply(spec).expect_err(&format!("{spec} is refused"));
            assert!(said.contains(because), "{spec}: {because}: {said}");
        };
        for (spec, because) in [
            (json!({ "copies": 3, "nodes": 2 }), "there can't be more copies of a shard than nodes"),
            (json!({ "minInSyncCopies": 3 }), "at most the number of copies"),
            (json!({ "nodes": 0 }), "greater than or equal to 1"),
            (json!({ "zookeeper": { "nodes": 2 } }), "an odd number"),
            (json!({ "zookeeper": { "nodes": 3, "external": { "connect": "zk:2181" } } }), "either external"),
            (json!({ "zookeeper": { "external": { "connect": "zk" } } }), "connect"),
            (json!({ "shards": { "initial": 4, "splitKeys": ["m"] } }), "either initial"),
            (json!({ "storage": { "data": { "size": "much" } } }), "not a quantity"),
            (json!({ "storage": { "data": { "size": "0" } } }), "more than nothing"),
            (json!({ "imagePullPolicy": "Sometimes" }), "write Always, IfNotPresent or Never"),
            (json!({ "settings": { "lease": "soon" } }), "lease"),
        ] {
            refused(&store, &spec, because);
        }
        for (name, because) in [
            ("demo-zk", "it must not end in -zk"),
            ("a-name-that-is-far-too-long-for-what-is-named-after-it", "at most 40 characters"),
            ("1demo", "beginning with a letter"),
        ] {
            refused(&store.named(name), &small(), because);
        }
        let paused = |mut spec: Value| {
            spec["paused"] = json!(true);
            spec
        };
        let first = json!({
            "nodes": 3, "copies": 2, "storage": { "data": { "size": "2Gi" } },
            "shards": { "initial": 4 }, "settings": { "lease": "1s" },
        });
        store.apply(&paused(first.clone())).expect("it is accepted");
        for (change, because) in [
            (json!({ "copies": 3 }), "copies: it is fixed"),
            (json!({ "minInSyncCopies": 2 }), "minInSyncCopies: it is fixed"),
            (json!({ "shards": { "initial": 5 } }), "shards: they are fixed"),
            (json!({ "settings": { "lease": "2s" } }), "settings.lease: it is fixed"),
            (json!({ "storage": { "data": { "size": "1Gi" } } }), "volumes can grow and never shrink"),
            (json!({ "zookeeper": { "external": { "connect": "zk:2181" } } }), "can't move between"),
        ] {
            let mut spec = paused(first.clone());
            for (field, value) in change.as_object().expect("a change") {
                spec[field] = value.clone();
            }
            refused(&store, &spec, because);
        }
        kubernetes.leave_namespace("kv-refused").await;
    });
}

#[test]
fn what_is_impossible_is_a_condition_and_correcting_the_resource_is_enough() {
    run_beside(&Image::OF_KV_CLUSTERS, async |cluster| {
        let kubernetes = Kubernetes::beside_others(cluster).await;
        kubernetes.fresh_namespace("kv-impossible").await;
        let store =
            |name: &str| Store { kubernetes: kubernetes.clone(), namespace: "kv-impossible".into(), name: name.into() };
        let with = |more: Value| {
            let mut spec = small();
            for (field, value) in more.as_object().expect("a change") {
                spec[field] = value.clone();
            }
            spec
        };
        let (class, image, room, bound) = (store("class"), store("image"), store("room"), store("bound"));
        let accepted = |store: &Store<'_>, spec: &Value| drop(store.apply(spec).expect("it is accepted"));
        accepted(&class, &with(json!({ "storage": { "data": { "storageClassName": "nowhere" } } })));
        accepted(&image, &with(json!({ "image": "localhost/kv-node:nowhere", "imagePullPolicy": "Never" })));
        accepted(&room, &with(json!({ "resources": { "requests": { "memory": "900Gi" } } })));
        accepted(&bound, &with(json!({ "settings": { "sessionTimeout": "10m" } })));
        let well = store("well");
        accepted(&well, &small());

        class.told(StorageReady, False, &["StorageClassMissing", "nowhere", "spec.storage.data"], TOLD_WITHIN).await;
        image.told(Degraded, True, &["pod image-", "ErrImageNeverPull"], TOLD_WITHIN).await;
        room.told(Degraded, True, &["room-0", "Unschedulable", "memory"], TOLD_WITHIN).await;
        bound.told(Progressing, False, &["spec.settings.sessionTimeout", "10m", "write 1s to 1m"], TOLD_WITHIN).await;
        well.settled(MENDED_WITHIN).await;

        for mended in [&class, &image, &room, &bound] {
            accepted(mended, &small());
        }
        for mended in [&class, &image, &room, &bound] {
            let took = mended.settled(MENDED_WITHIN).await;
            eprintln!("{}: mended in {took:.1?}", mended.name);
        }
        let took = kubernetes.delete_namespace("kv-impossible").await;
        eprintln!("namespace with stores deleted in {took:.1?}");
    });
}
