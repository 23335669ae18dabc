//! What users have already: grpcurl and ZooKeeper's own shell.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{path::Path, time::Duration};

use kv_tests::{
    TestCluster, grpcurl, options,
    programs::{Ended, run_to_end, skip},
    run, wait,
};

/// What means "stuck".
const STUCK: Duration = Duration::from_secs(30);

#[test]
fn zookeepers_shell_prints_the_masters_address() {
    run(async {
        let mut cluster = TestCluster::start("tools-zookeeper", options(2)).await;
        let master = cluster.master_index().await;
        assert_eq!(address_of_master(&cluster).await, Ok(advertised(&cluster, master)));

        cluster.local.kill(master).expect("it runs");
        let other = advertised(&cluster, 1 - master);
        wait::until("the shell prints the next master's address", STUCK, async || {
            match address_of_master(&cluster).await {
                Ok(address) if address == other => Ok(()),
                printed => Err(format!("it prints {printed:?}")),
            }
        })
        .await;
        cluster.local.kill(1 - master).expect("it runs");
        wait::until("the shell finds no master", STUCK, async || match address_of_master(&cluster).await {
            Err(printed) if printed.contains("Node does not exist") => Ok(()),
            printed => Err(format!("it prints {printed:?}")),
        })
        .await;
    });
}

#[test]
fn grpcurl_lists_describes_and_calls() {
    run(async {
        let grpcurl = match grpcurl::program().await {
            Ok(grpcurl) => grpcurl,
            Err(missing) => return skip(&missing),
        };
        let cluster = TestCluster::start("tools-grpcurl", options(2)).await;
        let node = cluster.local.nodes()[0].advertised_address().to_string();

        let listed = plaintext(&grpcurl, &node, &[], &["list"]).await;
        let services: Vec<_> = listed.text.lines().collect();
        for service in ["kv.v1.Kv", "kv.v1.Cluster", "kv.v1.Replica", "grpc.health.v1.Health"] {
            assert!(services.contains(&service), "{service} is not listed: {services:?}");
        }
        let described = plaintext(&grpcurl, &node, &[], &["describe"]).await;
        assert!(described.text.contains("service Kv {"), "{}", described.text);
        let described = plaintext(&grpcurl, &node, &[], &["describe", "kv.v1.Kv"]).await;
        for call in ["rpc Get (", "rpc Put (", "rpc Scan (", "rpc Pipeline ("] {
            assert!(described.text.contains(call), "{call} is not described: {}", described.text);
        }
        let described = plaintext(&grpcurl, &node, &[], &["describe", "kv.v1.PutRequest"]).await;
        assert!(described.text.contains("bytes key ="), "{}", described.text);

        // Bytes are base 64 in JSON: the key is "key", the value "value".
        let put = plaintext(&grpcurl, &node, &["-d", r#"{"key":"a2V5","value":"dmFsdWU="}"#], &["kv.v1.Kv/Put"]).await;
        assert!(put.text.contains("\"revision\""), "{}", put.text);
        let got = plaintext(&grpcurl, &node, &["-d", r#"{"key":"a2V5"}"#], &["kv.v1.Kv/Get"]).await;
        assert!(got.text.contains("\"value\": \"dmFsdWU=\""), "{}", got.text);
        let health = plaintext(&grpcurl, &node, &[], &["grpc.health.v1.Health/Check"]).await;
        assert!(health.text.contains("\"SERVING\""), "{}", health.text);
        let whole = plaintext(&grpcurl, &node, &[], &["kv.v1.Cluster/Describe"]).await;
        assert!(whole.text.contains("\"master\": \"kv-"), "{}", whole.text);

        let refused = run_to_end(&grpcurl, &["-plaintext", "-d", "{}", &node, "kv.v1.Kv/Get"]).await;
        assert_ne!(refused.code, Some(0));
        let says = refused.text.contains("Code: InvalidArgument") && refused.text.contains("the key is empty");
        assert!(says, "{}", refused.text);
    });
}

async fn plaintext(grpcurl: &Path, node: &str, options: &[&str], request: &[&str]) -> Ended {
    let arguments = [&["-plaintext"], options, &[node], request].concat();
    let ended = run_to_end(grpcurl, &arguments).await;
    assert_eq!(ended.code, Some(0), "grpcurl {arguments:?}: {}", ended.text);
    ended
}

/// What `get …/master` prints, as a person reads it; what the shell says instead if it fails.
async fn address_of_master(cluster: &TestCluster) -> Result<String, String> {
    let path = format!("{}/master", cluster.local.root());
    let printed = cluster.local.zookeeper().shell(&["get", &path]).await.map_err(|error| error.to_string())?;
    let master = printed.lines().find_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let address = master.as_ref().and_then(|master| master.get("address")?.as_str().map(str::to_owned));
    address.ok_or(printed)
}

fn advertised(cluster: &TestCluster, index: usize) -> String {
    cluster.local.nodes()[index].advertised_address().to_string()
}
