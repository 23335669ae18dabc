//! kvctl on a running cluster: what it prints, what it does, how it ends.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{collections::BTreeMap, fs, time::Duration};

use bytes::Bytes;
use kv_client::{Client, description::ShardDescription};
use kv_local::{Folder, Options};
use kv_tests::{
    TestCluster, claims,
    kvctl::Kvctl,
    ledger::{assert_all_there, key_in},
    options, run, wait,
};
use serde_json::{Value, json};

/// What means "stuck".
const STUCK: Duration = Duration::from_secs(60);

#[test]
fn keys_and_changes_of_the_cluster() {
    run(async {
        let mut cluster = TestCluster::start("kvctl", options(3)).await;
        let kvctl = Kvctl::of_zookeeper(&cluster.local.zookeeper_url());
        keys(&cluster, &kvctl).await;
        status_and_shards(&cluster, &kvctl).await;
        handover_move_split(&cluster, &kvctl).await;
        drain(&cluster, &kvctl).await;
        bench(&kvctl).await;
        dead(&mut cluster, &kvctl).await;
    });
}

async fn keys(cluster: &TestCluster, kvctl: &Kvctl) {
    let put = kvctl.json(&["put", "key", "value"]).await;
    let revision = put["revision"].as_u64().expect("a put has a revision").to_string();
    assert_eq!(kvctl.prints(&["get", "key"]).await, "value\n");
    assert_eq!(kvctl.prints(&["get", "key", "--raw", "--confirmed"]).await, "value");
    let by_node = Kvctl::of_node(cluster.local.nodes()[1].advertised_address());
    assert_eq!(by_node.json(&["get", "key"]).await["value"], "value");
    kvctl.ends(3, &["get", "no-such-key"]).await;
    kvctl.ends(4, &["put", "key", "other", "--must-not-exist"]).await;
    kvctl.ends(4, &["put", "key", "other", "--expected-revision", "1000000"]).await;
    kvctl.prints(&["put", "key", "other", "--expected-revision", &revision]).await;
    kvctl.ends(2, &["put", "", "value"]).await;
    kvctl.ends(2, &["put", &"k".repeat(4097), "value"]).await;
    kvctl.ends(2, &["--key-format", "hex", "get", "xyz"]).await;
    kvctl.ends(2, &["put", "key"]).await;
    kvctl.ends(1, &["--cluster", "3f0b7f2e-0000-4000-8000-000000000000", "get", "key"]).await;

    kvctl.prints(&["--key-format", "hex", "--value-format", "base64", "put", "00ff", "AAEC/w=="]).await;
    let binary = kvctl.json(&["--key-format", "hex", "--value-format", "hex", "get", "00ff"]).await;
    assert_eq!(binary["value"], "000102ff");
    let file = cluster.local.directory().path().join("value");
    fs::write(&file, "from a file").expect("it can be written");
    kvctl.prints(&["put", "filed", "--file", &file.display().to_string()]).await;
    assert_eq!(kvctl.prints(&["get", "filed"]).await, "from a file\n");

    for number in 0..5 {
        kvctl.prints(&["put", &format!("scan-{number}"), &number.to_string()]).await;
    }
    let scanned = kvctl.prints(&["--output", "json", "scan", "--prefix", "scan-", "--reverse", "--limit", "3"]).await;
    let lines: Vec<Value> = scanned.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    let found: Vec<_> = lines.iter().filter_map(|entry| entry["key"].as_str()).collect();
    assert_eq!(found, ["scan-4", "scan-3", "scan-2"]);
    let deleted = kvctl.json(&["delete", "scan-0", "--previous"]).await;
    assert_eq!(deleted["existed"], true, "{deleted}");
    assert_eq!(kvctl.json(&["delete", "scan-0"]).await["existed"], false);
}

async fn status_and_shards(cluster: &TestCluster, kvctl: &Kvctl) {
    let (master, members) = cluster.master().await.expect("the cluster is alive");
    let status = kvctl.prints(&["status"]).await;
    let mut lines = status.lines();
    assert_eq!(lines.next(), Some("alive"));
    assert_eq!(lines.next(), Some(format!("master: {} ({})", master.address, master.id).as_str()));
    for (name, role) in members.iter().zip(["master", "sub-master", "slave"]) {
        let row = status.lines().find(|line| line.starts_with(name.as_str()));
        let row = row.unwrap_or_else(|| panic!("{name} is not in: {status}"));
        // Each of three nodes keeps four of twelve shards, and copies of four others.
        for part in [role, "yes", " 4 ", "8/8"] {
            assert!(row.contains(part), "{part:?} is not in {row:?}");
        }
    }
    let status = kvctl.json(&["status"]).await;
    assert_eq!(status["state"], "alive");
    assert_eq!(status["master"], json!({"id": master.id, "address": master.address}));
    assert_eq!(status["sub_master"], members[1]);
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(3));

    let shards = kvctl.json(&["shards"]).await;
    let shards = shards["shards"].as_array().expect("an array");
    assert_eq!(shards.len(), 12);
    for shard in shards {
        assert_eq!((&shard["available"], &shard["fully_replicated"]), (&json!(true), &json!(true)), "{shard}");
        assert_eq!(shard["replicas"].as_array().map(Vec::len), Some(2), "{shard}");
    }
    let table = kvctl.prints(&["shards"]).await;
    assert_eq!(table.lines().count(), 13, "a header and twelve shards: {table}");
}

async fn handover_move_split(cluster: &TestCluster, kvctl: &Kvctl) {
    let shard = cluster.describe().await.shards.swap_remove(3);
    let id = shard.shard.to_string();
    let backup = backup_of(&shard);
    let done = kvctl.json(&["handover", &id, &backup]).await;
    assert_eq!((&done["primary"], &done["shard"]), (&json!(backup), &json!(shard.shard)), "{done}");
    assert!(done["epoch"].as_u64() > Some(shard.epoch), "{done}");
    cluster.until_whole("a handover by kvctl").await;
    kvctl.ends(3, &["handover", "999", &backup]).await;
    kvctl.ends(3, &["handover", &id, "kv-9"]).await;

    let nodes = cluster.local.nodes().iter().map(|node| node.name().to_owned());
    let other = nodes.into_iter().find(|node| *node != shard.home && *node != backup).expect("there are three nodes");
    kvctl.prints(&["move", &id, &other]).await;
    cluster
        .until("the shard is at its new home", STUCK, |now| {
            let now = now.shards.iter().find(|now| now.shard == shard.shard).ok_or("it is gone")?;
            if now.home == other && now.primary == other && now.served_from == "data" {
                return Ok(());
            }
            Err(format!("its home is {}, and {} serves it from {}", now.home, now.primary, now.served_from))
        })
        .await;
    kvctl.ends(3, &["move", &id, "kv-9"]).await;
    kvctl.ends(3, &["move", "999", &other]).await;

    let at = key_in(&shard, "split-here").expect("there is room");
    let at_hex = hex(&at);
    let done = kvctl.json(&["--key-format", "hex", "split", &id, "--at", &at_hex]).await;
    assert_eq!(done["at"], at_hex, "{done}");
    cluster.until_whole("a split by kvctl").await;
    let shards = cluster.describe().await.shards;
    let find = |id: u64| shards.iter().find(|shard| shard.shard == id).expect("there is such a shard");
    let child = find(done["child"].as_u64().expect("the child has a number"));
    assert_eq!((&child.start[..], &child.end), (&at[..], &shard.end));
    assert_eq!((&find(shard.shard).start, &find(shard.shard).end[..]), (&shard.start, &at[..]));
    kvctl.ends(2, &["--key-format", "hex", "split", &id, "--at", &at_hex]).await;
    kvctl.ends(3, &["split", "999"]).await;
}

async fn drain(cluster: &TestCluster, kvctl: &Kvctl) {
    kvctl.ends(3, &["drain", "kv-9"]).await;
    let drained = kvctl.json(&["drain", "kv-2", "--wait"]).await;
    assert_eq!(drained, json!({"node": "kv-2", "draining": true, "remaining": 0}));
    let description = cluster.describe().await;
    assert_eq!(claims::served_by(&description, "kv-2"), Vec::<u64>::new());
    assert_eq!(claims::backed_up_by(&description, "kv-2"), Vec::<u64>::new());
    let status = kvctl.json(&["status"]).await;
    let node = status["nodes"].as_array().into_iter().flatten().find(|node| node["node"] == "kv-2");
    assert_eq!(node.map(|node| &node["draining"]), Some(&json!(true)), "{status}");
    kvctl.prints(&["drain", "kv-2", "--undo"]).await;
    cluster
        .until("it gets shards again", STUCK, |now| {
            if claims::served_by(now, "kv-2").is_empty() { Err("it serves nothing".into()) } else { Ok(()) }
        })
        .await;
    cluster.until_whole("a drain by kvctl").await;
}

async fn bench(kvctl: &Kvctl) {
    let small = ["--in-flight", "16", "--keys", "100", "--prepare"];
    let closed = kvctl.json(&[&["bench", "mixed", "--requests", "2000"], &small[..]].concat()).await;
    assert_eq!((&closed["requests"], &closed["not_found"]), (&json!(2000), &json!(0)), "{closed}");
    assert_eq!((&closed["definite_errors"], &closed["unknown_outcomes"]), (&json!(0), &json!(0)), "{closed}");
    for kind in ["put", "get"] {
        let latency = &closed["kinds"][kind]["latency_micros"];
        assert!(latency["p50"].as_u64() > Some(0) && latency["p99"].as_u64() >= latency["p50"].as_u64(), "{closed}");
    }
    let open = ["bench", "put", "--duration", "1s", "--rate", "500", "--distribution", "zipf", "--unary"];
    let open = kvctl.json(&[&open[..], &small].concat()).await;
    let done = open["requests"].as_u64().unwrap_or_default() + open["unsent"].as_u64().unwrap_or_default();
    assert!((450..=550).contains(&done), "{open}");
    let table = kvctl.prints(&[&["bench", "get", "--requests", "500"], &small[..]].concat()).await;
    assert!(table.contains("PER SECOND") && table.contains("errors: 0 definite, 0 of unknown outcome"), "{table}");
}

async fn dead(cluster: &mut TestCluster, kvctl: &Kvctl) {
    for index in 0..3 {
        cluster.local.kill(index).expect("it runs");
    }
    wait::until("kvctl says that the cluster is dead", STUCK, async || {
        let status = kvctl.run(&["status"]).await;
        if status.code == Some(5) && status.output == "dead\n" { Ok(()) } else { Err(status.text) }
    })
    .await;
    assert_eq!(kvctl.ends(5, &["--output", "json", "status"]).await, "{\"state\":\"dead\"}\n");
    kvctl.ends(5, &["--timeout", "2s", "get", "key"]).await;
    kvctl.ends(5, &["--timeout", "2s", "put", "key", "value"]).await;
    let by_node = Kvctl::of_node(cluster.local.nodes()[0].advertised_address());
    by_node.ends(5, &["--timeout", "2s", "status"]).await;
}

#[test]
fn a_shard_whose_copies_are_lost_is_rescued_by_force() {
    run(async {
        let options = Options { shards: Some(3), ..options(3) };
        let mut cluster = TestCluster::start("kvctl-force-promote", options).await;
        let kvctl = Kvctl::of_zookeeper(&cluster.local.zookeeper_url());
        let client = cluster.client().await;
        let shard = cluster.describe().await.shards.swap_remove(1);
        let id = shard.shard.to_string();
        let [home, backup] = [shard.home.clone(), backup_of(&shard)];
        let [home_at, backup_at] = [&home, &backup].map(|node| cluster.local.index_of(node).expect("a node"));
        let key = |name: &str| key_in(&shard, name).expect("there is room");
        client.put((key("on-both"), "kept")).await.expect("it is written");

        // Nothing is to be rescued yet, and only a person may say so.
        kvctl.ends(4, &["force-promote", &id, &backup, "--yes"]).await;
        kvctl.ends(2, &["force-promote", &id, &backup]).await;
        kvctl.ends(3, &["force-promote", "999", &backup, "--yes"]).await;
        kvctl.ends(3, &["force-promote", &id, "kv-9", "--yes"]).await;

        cluster.local.kill(backup_at).expect("it runs");
        client.put((key("on-the-home-alone"), "lost")).await.expect("the home serves alone");
        cluster.local.kill(home_at).expect("it runs");
        cluster.local.start_node(backup_at).expect("it is stopped");
        cluster
            .until("nobody serves the shard", STUCK, |now| {
                let back = now.nodes.iter().any(|node| node.node == backup && node.role != "gone");
                let gone = now.nodes.iter().any(|node| node.node == home && node.role == "gone");
                let served = now.shards.iter().any(|now| now.shard == shard.shard && now.available);
                if back && gone && !served { Ok(()) } else { Err(format!("{back}, {gone}, {served}")) }
            })
            .await;
        kvctl.ends(5, &["--timeout", "2s", "--key-format", "hex", "get", &hex(&key("on-both"))]).await;
        let promoted = until_promoted(&kvctl, &[&id, &backup]).await;
        assert!(promoted["message"].as_str().is_some_and(|message| message.contains("lineage 2")), "{promoted}");
        let kept = client.get(key("on-both")).await.expect("it is served").expect("both had it");
        assert_eq!(kept.value, "kept");
        assert_eq!(client.get(key("on-the-home-alone")).await.expect("it is served"), None, "its loss was announced");
        client.put((key("on-both"), "after")).await.expect("it is served");
        // What comes back is of another lineage: it starts over empty, and nothing of it comes up again.
        cluster.local.start_node(home_at).expect("it is stopped");
        cluster.until_whole("a rescue by force").await;
        assert_eq!(
            client.get(key("on-both")).await.expect("it is served").map(|entry| entry.value),
            Some("after".into())
        );
        assert_eq!(client.get(key("on-the-home-alone")).await.expect("it is served"), None);

        all_copies_destroyed(&mut cluster, &kvctl, &client, &shard).await;
    });
}

/// Both volumes of both nodes are gone: the range is made anew, empty, and the others have lost nothing.
async fn all_copies_destroyed(cluster: &mut TestCluster, kvctl: &Kvctl, client: &Client, shard: &ShardDescription) {
    let now = cluster.describe().await.shards;
    let now = now.into_iter().find(|now| now.shard == shard.shard).expect("there is such a shard");
    let (home, backup) = (now.home.clone(), backup_of(&now));
    let [home_at, backup_at] = [&home, &backup].map(|node| cluster.local.index_of(node).expect("a node"));
    let third = 3 - home_at - backup_at;
    for index in [home_at, backup_at] {
        cluster.local.kill(index).expect("it runs");
        for folder in [Folder::Data, Folder::Bkpdata] {
            cluster.local.wipe(index, folder).expect("it is stopped");
        }
        cluster.local.start_node(index).expect("it is stopped");
    }
    let third = cluster.name(third);
    let id = shard.shard.to_string();
    let promoted = until_promoted(kvctl, &[&id, &third, "--empty"]).await;
    assert_eq!(promoted["done"], true);
    let key = key_in(shard, "on-both").expect("there is room");
    assert_eq!(client.get(key.clone()).await.expect("it is served"), None, "the range is empty");
    client.put((key, "anew")).await.expect("it is served");
}

/// Repeats until the sessions of the old copies are over and enough nodes are registered.
async fn until_promoted(kvctl: &Kvctl, arguments: &[&str]) -> Value {
    let mut promoted = Value::Null;
    wait::until("the shard is promoted", STUCK, async || {
        let ended = kvctl.run(&[&["--output", "json", "force-promote", "--yes"], arguments].concat()).await;
        if ended.code != Some(0) {
            return Err(ended.text);
        }
        promoted = serde_json::from_str(&ended.output).map_err(|error| error.to_string())?;
        Ok(())
    })
    .await;
    promoted
}

#[test]
fn zookeeper_is_rebuilt_from_what_the_nodes_know() {
    run(async {
        let mut cluster = TestCluster::start("kvctl-rebuild", options(3)).await;
        let client = cluster.client_of_nodes().await;
        let before = cluster.describe().await;
        let mut written: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        for shard in &before.shards {
            let key = Bytes::from(key_in(shard, "before").expect("there is room"));
            written.insert(key.clone(), "written".into());
            client.put((key, "written")).await.expect("it is written");
        }
        let kvctl = Kvctl::of_node(cluster.local.nodes()[0].direct_address());
        kvctl.ends(4, &["rebuild-zookeeper", "--yes"]).await;

        cluster.local.zookeeper_mut().stop_all().expect("it runs");
        let data = cluster.local.directory().path().join("zookeeper/0/data/version-2");
        fs::remove_dir_all(&data).expect("ZooKeeper's data can go");
        cluster.local.zookeeper_mut().start_all().await.expect("it starts again");
        // An empty ZooKeeper is no ZooKeeper: the nodes go on.
        client.put(("meanwhile", "written")).await.expect("it is written");
        written.insert("meanwhile".into(), "written".into());

        kvctl.ends(2, &["rebuild-zookeeper"]).await;
        let done = kvctl.json(&["rebuild-zookeeper", "--yes"]).await;
        assert_eq!(done["done"], true, "{done}");
        cluster.until_whole("ZooKeeper was rebuilt").await;
        let after = cluster.describe().await;
        assert_eq!(after.cluster, before.cluster);
        let ranges = |shards: &[ShardDescription]| -> Vec<_> {
            shards.iter().map(|shard| (shard.shard, shard.start.clone(), shard.end.clone())).collect()
        };
        assert_eq!(ranges(&after.shards), ranges(&before.shards));
        assert_all_there(&client, &written).await;
        // It is a cluster like any other: it has a master, once the nodes have registered anew, and outlives it.
        cluster.until_another_master("nobody").await;
        let (master, _) = cluster.master().await.expect("the cluster is alive");
        cluster.local.kill(cluster.local.index_of(&master.id).expect("a node")).expect("it runs");
        cluster.until_another_master(&master.id).await;
        assert_all_there(&client, &written).await;
    });
}

fn backup_of(shard: &ShardDescription) -> String {
    let mut backups = shard.replicas.iter().filter(|copy| copy.in_sync && copy.folder == "bkpdata");
    backups.next().expect("there is a backup in sync").node.clone()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
