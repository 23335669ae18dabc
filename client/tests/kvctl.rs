//! The binary as a script sees it: what it prints and with which code it ends.

#![allow(clippy::expect_used, reason = "only tests are here, and clippy does not see that of helpers")]

mod fake;

use std::{process::Stdio, sync::atomic::Ordering};

use fake::{Fault, Running, refusal};
use kv_proto::v1::ErrorReason;
use tokio::{io::AsyncWriteExt as _, process::Command};

struct Ended {
    code: i32,
    out: String,
    err: String,
}

async fn kvctl(nodes: &[Running], arguments: &[&str]) -> Ended {
    kvctl_reading(nodes, arguments, "").await
}

async fn kvctl_reading(nodes: &[Running], arguments: &[&str], input: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvctl"));
    command.env_remove("KVCTL_ZOOKEEPER").env_remove("RUST_LOG").kill_on_drop(true);
    command.env("KVCTL_NODE", &nodes[0].address);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("the binary starts");
    let mut stdin = process.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).await.expect("it reads");
    drop(stdin);
    let output = process.wait_with_output().await.expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ended { code: output.status.code().expect("no signal"), out: text(output.stdout), err: text(output.stderr) }
}

#[tokio::test]
async fn keys_are_put_read_scanned_and_deleted() {
    let nodes = fake::cluster(1).await;
    let put = kvctl(&nodes, &["put", "user:1", "one"]).await;
    assert_eq!((put.code, put.out.as_str()), (0, "revision 1\n"), "{}", put.err);
    let get = kvctl(&nodes, &["get", "user:1"]).await;
    assert_eq!((get.code, get.out.as_str()), (0, "one\n"));
    let piped = kvctl_reading(&nodes, &["put", "user:2", "-", "-o", "json", "--previous"], "two\n").await;
    assert_eq!((piped.code, piped.out.as_str()), (0, "{\"previous\":null,\"revision\":2}\n"));
    assert_eq!(kvctl(&nodes, &["get", "user:2", "--raw"]).await.out, "two\n");
    let binary = kvctl(&nodes, &["put", "ff", "AAE=", "--key-format", "hex", "--value-format", "base64"]).await;
    assert_eq!(binary.code, 0, "{}", binary.err);
    assert_eq!(kvctl(&nodes, &["get", "ff", "--key-format", "hex", "--value-format", "hex"]).await.out, "0001\n");
    let scan = kvctl(&nodes, &["scan", "--prefix", "user:"]).await;
    assert_eq!(scan.out, "user:1\tone\nuser:2\ttwo\\n\n");
    let keys = kvctl(&nodes, &["scan", "--keys-only", "-o", "json", "--limit", "1"]).await;
    assert_eq!(keys.out, "{\"key\":\"user:1\",\"revision\":1}\n");
    let delete = kvctl(&nodes, &["delete", "user:1", "--previous"]).await;
    assert_eq!((delete.code, delete.out.as_str()), (0, "revision 4\nprevious (revision 1): one\n"));
    assert_eq!(kvctl(&nodes, &["delete", "user:1"]).await.out, "there was no such key\n");
}

#[tokio::test]
async fn every_documented_code_is_given() {
    let nodes = fake::cluster(1).await;
    let short = ["--timeout", "500ms"];
    let code = async |arguments: &[&str]| kvctl(&nodes, &[arguments, &short].concat()).await;
    assert_eq!(code(&["put", "k", "v"]).await.code, 0);
    nodes[0].fail_next([Fault::Refuse(refusal(ErrorReason::Fault))]);
    assert_eq!(code(&["get", "k"]).await.code, 1);
    assert_eq!(code(&["get", "k", "--key-format", "hex"]).await.code, 2);
    assert_eq!(code(&["get"]).await.code, 2);
    let missing = code(&["get", "nothing"]).await;
    assert_eq!(
        (missing.code, missing.out.as_str(), missing.err.as_str()),
        (3, "", "kvctl: there is no key \"nothing\"\n")
    );
    assert_eq!(code(&["put", "k", "w", "--must-not-exist"]).await.code, 4);
    nodes[0].fail_next((0..200).map(|_| Fault::Refuse(refusal(ErrorReason::NotAvailable))));
    assert_eq!(code(&["get", "k"]).await.code, 5);
}

#[tokio::test]
async fn an_unknown_outcome_has_its_own_code() {
    let nodes = fake::cluster(1).await;
    nodes[0].fail_next((0..200).map(|_| Fault::ApplyAndSayUnknown));
    let ended = kvctl(&nodes, &["put", "k", "v", "--timeout", "400ms"]).await;
    assert_eq!(ended.code, 6, "{}", ended.err);
    assert!(ended.err.starts_with("kvctl: outcome unknown"), "{}", ended.err);
    assert_eq!(nodes[0].data().applied, 1);
}

#[tokio::test]
async fn a_cluster_that_can_t_be_found_is_said_so() {
    let mut nodes = fake::cluster(2).await;
    let gone = nodes.remove(0);
    let address = gone.address.clone();
    drop(gone);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let down = kvctl(&nodes, &["--node", &address, "status"]).await;
    assert_eq!(down.code, 5);
    assert!(down.err.contains("can't connect to") && down.out.is_empty(), "{}", down.err);
    let zookeeper = format!("{address}/root");
    let unreachable = kvctl(&nodes, &["--zookeeper", &zookeeper, "--timeout", "1s", "status"]).await;
    assert_eq!(unreachable.code, 5, "{}", unreachable.err);
    assert!(unreachable.err.contains(&format!("ZooKeeper at {zookeeper}")), "{}", unreachable.err);
}

#[tokio::test]
async fn the_cluster_is_shown_and_changed() {
    let nodes = fake::cluster(1).await;
    let status = kvctl(&nodes, &["status"]).await;
    assert_eq!(status.code, 0, "{}", status.err);
    assert!(status.out.starts_with(&format!("alive\nmaster: {} (n0)\n", nodes[0].address)), "{}", status.out);
    let json: serde_json::Value =
        serde_json::from_str(&kvctl(&nodes, &["status", "-o", "json"]).await.out).expect("JSON");
    assert_eq!((&json["state"], &json["nodes"][0]["role"]), (&"alive".into(), &"master".into()));
    assert!(kvctl(&nodes, &["shards"]).await.out.contains("n0:data"));
    assert_eq!(kvctl(&nodes, &["handover", "1", "n0"]).await.out, "n0 serves shard 1 in epoch 4 (pause 1.5 ms)\n");
    assert_eq!(kvctl(&nodes, &["drain", "n0"]).await.out, "n0 is drained: 2 copies and homes are left\n");
    assert_eq!(kvctl(&nodes, &["drain", "n0", "--wait", "--timeout", "700ms"]).await.code, 5);
    assert_eq!(kvctl(&nodes, &["split", "1", "--at", "m"]).await.out, "shard 2 begins at m\n");
    assert_eq!(kvctl(&nodes, &["move", "1", "n0"]).await.code, 0);
    assert_eq!(kvctl(&nodes, &["move", "9", "n0"]).await.code, 3);
    let unconfirmed = kvctl(&nodes, &["force-promote", "1", "n0"]).await;
    assert_eq!(unconfirmed.code, 2);
    assert!(unconfirmed.err.contains("loses writes") && unconfirmed.out.is_empty(), "{}", unconfirmed.err);
    assert_eq!(kvctl(&nodes, &["force-promote", "1", "n0", "--yes"]).await.out, "loses writes\n");
    let unconfirmed = kvctl(&nodes, &["rebuild-zookeeper"]).await;
    assert_eq!((unconfirmed.code, unconfirmed.out.as_str()), (2, ""), "{}", unconfirmed.err);
    assert!(unconfirmed.err.contains("1 shards") && unconfirmed.err.contains("--yes"), "{}", unconfirmed.err);
    let rebuilt = kvctl(&nodes, &["rebuild-zookeeper", "--yes", "-o", "json"]).await;
    assert_eq!((rebuilt.code, rebuilt.out.as_str()), (0, "{\"done\":true,\"message\":\"1 shards\"}\n"));
}

#[tokio::test]
async fn a_watch_ends_after_its_count_and_resumes_by_its_token() {
    let nodes = fake::cluster(1).await;
    for value in ["1", "2", "3"] {
        kvctl(&nodes, &["put", "k", value]).await;
    }
    let token = hex::encode("1");
    let watch = kvctl(&nodes, &["watch", "--token", &token, "--count", "2"]).await;
    assert_eq!((watch.code, watch.out.as_str()), (0, "put\t2\tk\t2\nput\t3\tk\t3\n"), "{}", watch.err);
    let old = kvctl(&nodes, &["watch", "--token", &hex::encode("too old")]).await;
    assert_eq!(old.code, 1);
}

#[tokio::test]
async fn a_measurement_counts_what_the_node_saw() {
    let nodes = fake::cluster(1).await;
    let bench =
        ["bench", "mixed", "--requests", "2000", "--keys", "50", "--in-flight", "16", "--prepare", "-o", "json"];
    for more in [&[][..], &["--unary", "--connections", "2"], &["--rate", "20000", "--distribution", "zipf"]] {
        let before = nodes[0].requests.load(Ordering::SeqCst);
        let ended = kvctl(&nodes, &[&bench, more].concat()).await;
        assert_eq!(ended.code, 0, "{}", ended.err);
        let json: serde_json::Value = serde_json::from_str(&ended.out).expect("JSON");
        assert_eq!(json["requests"], 2000, "{json}");
        assert_eq!(json["not_found"], 0, "{json}");
        assert_eq!(nodes[0].requests.load(Ordering::SeqCst) - before, 2050, "{more:?}");
        assert!(ended.err.is_empty(), "no progress where nobody sees it: {}", ended.err);
    }
    let text = kvctl(&nodes, &["bench", "get", "--rate", "1000", "--duration", "300ms"]).await;
    assert!(text.code == 0 && text.out.lines().any(|line| line.starts_with("get ")), "{}", text.out);
}

#[tokio::test]
async fn completions_are_printed_without_a_cluster() {
    let nodes = fake::cluster(1).await;
    for shell in ["bash", "zsh", "fish"] {
        let ended = kvctl(&nodes, &["completions", shell]).await;
        assert!(ended.code == 0 && ended.out.contains("force-promote"), "{shell}");
    }
}
