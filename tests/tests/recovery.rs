//! Nodes that come back after a long time, or with new disks: whole, `bkpdata` before `data`, and then their shards.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kv_client::{Client, description::ClusterDescription};
use kv_local::{Folder, Options};
use kv_tests::{
    TestCluster, claims,
    ledger::{assert_all_there, key_in},
    options, run,
};
use tokio::task::JoinSet;

/// Writes in flight.
const IN_FLIGHT: usize = 64;
/// What means "stuck".
const STUCK: Duration = Duration::from_secs(60);

#[test]
fn a_node_comes_back_whole_whatever_it_has_lost() {
    run(async {
        let mut cluster = TestCluster::start("recovery", options(3)).await;
        let mut written = Written::new(&cluster).await;
        written.write(3_000, 100).await;
        let losses: [(&str, &[Folder]); 4] = [
            ("many thousand writes", &[]),
            ("many thousand writes and bkpdata", &[Folder::Bkpdata]),
            ("many thousand writes and data", &[Folder::Data]),
            ("many thousand writes and both volumes", &[Folder::Bkpdata, Folder::Data]),
        ];
        let mut out_of_order = Vec::new();
        for (index, (lost, folders)) in [1, 2, 0, 1].into_iter().zip(losses) {
            out_of_order.extend(lose_and_return(&mut cluster, &mut written, index, lost, folders).await);
        }
        assert_eq!(out_of_order, Vec::<String>::new(), "data was in sync while bkpdata was not");
    });
}

/// The log that the absent node would need is gone meanwhile: it is given a snapshot.
#[test]
fn a_node_that_was_away_for_longer_than_the_log_is_kept_gets_a_snapshot() {
    run(async {
        let arguments = ["--segment-size", "1MiB", "--log-retention", "1MiB", "--memtable-size", "1MiB"];
        let node_arguments = arguments.map(str::to_owned).to_vec();
        let shards = Some(3);
        let options = Options { node_arguments, shards, ..options(3) };
        let mut cluster = TestCluster::start("recovery-snapshot", options).await;
        let mut written = Written::new(&cluster).await;
        written.write(1_000, 1_000).await;
        let out_of_order = lose_and_return(&mut cluster, &mut written, 1, "20 MB of writes", &[]).await;
        assert_eq!(out_of_order, None, "data was in sync while bkpdata was not");
    });
}

/// Returns why not, if `bkpdata` was not brought up to date before `data`.
async fn lose_and_return(
    cluster: &mut TestCluster,
    written: &mut Written,
    index: usize,
    lost: &str,
    folders: &[Folder],
) -> Option<String> {
    let name = cluster.name(index);
    let before = cluster.describe().await;
    let served = claims::served_by(&before, &name);
    assert!(!served.is_empty(), "{name} serves nothing: {before:?}");
    cluster.local.kill(index).expect("it runs");
    cluster.until("its keys are served", STUCK, |now| claims::served_by_others(now, &name, &served)).await;
    written.write(10_000, if lost.contains("MB") { 2_000 } else { 100 }).await;
    for folder in folders {
        cluster.local.wipe(index, *folder).expect("it is stopped");
    }

    let at = Instant::now();
    cluster.local.start_node(index).expect("it is stopped");
    cluster.local.node_mut(index).expect("it is there").wait_alive(STUCK).await.expect("it starts");
    let mut data_first = None;
    let bkpdata = cluster
        .until("its bkpdata is in sync", STUCK, |now| {
            let bkpdata = placed(now, &name, "bkpdata").and_then(|()| claims::in_sync(now, &name, "bkpdata"));
            let data = placed(now, &name, "data").and_then(|()| claims::in_sync(now, &name, "data"));
            if let (Err(why), Ok(())) = (&bkpdata, data) {
                data_first = Some(format!("{lost}: {why}"));
            }
            bkpdata
        })
        .await;
    cluster.until("its data is in sync", STUCK, |now| claims::in_sync(now, &name, "data")).await;
    let data = at.elapsed();
    cluster.until_whole(&format!("the loss of {lost}")).await;
    let after = cluster.describe().await;
    assert!(!claims::served_by(&after, &name).is_empty(), "shards return to {name}: {after:?}");
    if folders.is_empty() {
        assert_eq!(claims::served_by(&after, &name), served, "its shards return to {name}");
    }
    eprintln!("{name} lost {lost}: bkpdata in sync after {bkpdata:?}, data after {data:?}, whole {:?}", at.elapsed());
    assert_all_there(&written.client, &written.entries).await;

    // What came back is proved by serving from it alone: the node that served meanwhile is gone.
    let other = (index + 1) % 3;
    cluster.local.kill(other).expect("it runs");
    assert_all_there(&written.client, &written.entries).await;
    cluster.local.start_node(other).expect("it is stopped");
    cluster.until_whole("a restart").await;
    data_first
}

/// That the node has copies in the folder: without any, all of none are in sync.
fn placed(description: &ClusterDescription, node: &str, folder: &str) -> Result<(), String> {
    let mut copies = description.shards.iter().flat_map(|shard| &shard.replicas);
    if copies.any(|copy| copy.placed && copy.node == node && copy.folder == folder) {
        Ok(())
    } else {
        Err(format!("nothing is placed in {folder} of {node}"))
    }
}

/// Keys that were written, over all shards.
struct Written {
    client: Client,
    description: ClusterDescription,
    entries: BTreeMap<Bytes, Bytes>,
    number: usize,
}

impl Written {
    async fn new(cluster: &TestCluster) -> Self {
        let (client, description) = (cluster.client().await, cluster.describe().await);
        Self { client, description, entries: BTreeMap::new(), number: 0 }
    }

    async fn write(&mut self, keys: usize, value_bytes: usize) {
        let mut writes = JoinSet::new();
        for _ in 0..keys {
            let shard = &self.description.shards[self.number % self.description.shards.len()];
            let key = Bytes::from(key_in(shard, &format!("key-{:08}", self.number)).expect("there is room"));
            let value = Bytes::from(format!("{:0width$}", self.number, width = value_bytes));
            self.number += 1;
            self.entries.insert(key.clone(), value.clone());
            if writes.len() >= IN_FLIGHT {
                let written: Option<Result<kv_client::Result<()>, _>> = writes.join_next().await;
                written.expect("some are in flight").expect("no panic").expect("it is written");
            }
            let client = self.client.clone();
            writes.spawn(async move { client.put((key, value)).await.map(drop) });
        }
        for written in writes.join_all().await {
            written.expect("it is written");
        }
    }
}
