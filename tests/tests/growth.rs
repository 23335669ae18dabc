//! A cluster that grows: new nodes, and shards that split by themselves.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use kv_client::{Client, Scan};
use kv_local::Options;
use kv_tests::{
    TestCluster, claims,
    journal::Journal,
    ledger::{Ledger, assert_all_there},
    options, run,
    workload::Workload,
};
use tokio::task::JoinSet;

/// What means "stuck".
const STUCK: Duration = Duration::from_secs(60);
/// Keys `user:…`, of 1 KB each.
const USERS: usize = 6_000;
const IN_FLIGHT: usize = 32;
/// Keys that are written before the watch has to have followed.
const STEP: usize = 500;
/// Size at which a shard is split: the smallest that can be set.
const SPLIT_BYTES: usize = 1 << 20;

#[test]
fn a_new_node_is_listed_and_gets_shards() {
    run(async {
        let mut cluster = TestCluster::start("growth-node", options(2)).await;
        let client = cluster.client().await;
        let description = cluster.describe().await;
        let workload = Workload::start(&[client.clone(), cluster.client_of(0).await], &description);
        let ledger = Ledger::start(&client, &description);
        let shards = ledger.shards();
        ledger.until_acknowledged(&shards, Instant::now(), STUCK).await;

        for expected in [3, 4] {
            let index = cluster.local.add_node().await.expect("it starts");
            let name = cluster.name(index);
            let took = cluster
                .until("the new node serves shards and keeps copies", STUCK, |now| {
                    let listed = now.nodes.iter().find(|node| node.node == name && node.role != "gone");
                    let listed = listed.ok_or("it is not listed")?;
                    let (homes, backups) = (claims::served_by(now, &name), claims::backed_up_by(now, &name));
                    // Evenly, rounded down.
                    let fair = now.shards.len() / expected;
                    if homes.len() >= fair && backups.len() >= fair {
                        return Ok(());
                    }
                    Err(format!("{} serves {homes:?} and backs up {backups:?}", listed.node))
                })
                .await;
            eprintln!("{name} is listed and has its share of the shards after {took:?}");
            cluster.until_whole("a node was added").await;
        }
        workload.finish(&client).await;
        let balance = ledger.finish(&client).await;
        assert_eq!(balance.errors, Vec::<String>::new(), "nobody notices");
    });
}

#[test]
fn a_shard_that_outgrows_its_bound_splits_and_spreads_under_load() {
    run(async {
        let cluster = TestCluster::start("growth-split", splitting()).await;
        let client = cluster.client().await;
        let before = cluster.describe().await;
        let workload = Workload::start(&[client.clone(), cluster.client_of(0).await], &before);
        let ledger = Ledger::start(&client, &before);

        let users = users();
        write(&client, &users.clone().into_iter().collect::<Vec<_>>()).await;
        let took = until_spread(&cluster).await;
        eprintln!("the keys `user:…` are spread over all nodes {took:?} after the last write");
        cluster.until_whole("splits").await;
        workload.finish(&client).await;
        let mut balance = ledger.finish(&client).await;
        assert_eq!(balance.errors, Vec::<String>::new(), "nobody notices");
        assert_all_there(&client, &users).await;
        let mut pages = client.scan(Scan::prefix("user:").keys_only());
        let mut keys = Vec::new();
        while let Some(page) = pages.next_page().await.expect("it can be read") {
            keys.extend(page.entries.into_iter().map(|entry| entry.key));
        }
        assert_eq!(keys, users.keys().cloned().collect::<Vec<_>>(), "a scan over all shards: in order, none twice");
        balance.acknowledged.extend(users);

        let mut after = cluster.describe().await.shards;
        after.sort_by(|a, b| a.start.cmp(&b.start));
        for pair in after.windows(2) {
            assert_eq!(pair[0].end, pair[1].start, "the shards cover every key once");
        }
        let written: usize = balance.acknowledged.iter().map(|(key, value)| key.len() + value.len()).sum();
        eprintln!("{} shards became {}, with {written} bytes in them", before.shards.len(), after.len());
        // Each half of a shard that was too large is at least some quarter of the bound.
        let bound = before.shards.len() + written.div_ceil(SPLIT_BYTES / 4);
        assert!(after.len() <= bound, "{} shards are more than {bound}: shards are split that are small", after.len());
    });
}

#[test]
fn a_watch_goes_on_through_splits_and_moves() {
    run(async {
        let cluster = TestCluster::start("growth-watch", splitting()).await;
        let client = cluster.client().await;
        let journal = Journal::start(&client).await;
        let users = users();
        for some in users.clone().into_iter().collect::<Vec<_>>().chunks(STEP) {
            write(&client, some).await;
            journal.until_told(&some.iter().cloned().collect()).await;
        }
        cluster
            .until("the keys `user:…` are of many shards", STUCK, |now| {
                let of_users = now.shards.iter().filter(|shard| shard.start.starts_with(b"user:")).count();
                if of_users >= 3 { Ok(()) } else { Err(format!("{of_users} shards")) }
            })
            .await;
        cluster.until_whole("splits").await;
        journal.finish(&users).await;
    });
}

fn splitting() -> Options {
    let mut node_arguments = options(3).node_arguments;
    node_arguments.extend(["--split-size".to_owned(), SPLIT_BYTES.to_string()]);
    Options { node_arguments, ..options(3) }
}

fn users() -> BTreeMap<Bytes, Bytes> {
    (0..USERS).map(|number| (format!("user:{number:06}").into(), format!("{number:01000}").into())).collect()
}

async fn until_spread(cluster: &TestCluster) -> Duration {
    cluster
        .until("the keys `user:…` are of many shards, on all nodes", STUCK, |now| {
            let of_users: Vec<_> = now.shards.iter().filter(|shard| shard.start.starts_with(b"user:")).collect();
            let primaries: BTreeSet<_> = of_users.iter().map(|shard| &shard.primary).collect();
            if of_users.len() >= 3 && primaries.len() == 3 {
                return Ok(());
            }
            Err(format!("{} shards, served by {primaries:?}", of_users.len()))
        })
        .await
}

async fn write(client: &Client, entries: &[(Bytes, Bytes)]) {
    let mut writes = JoinSet::new();
    for entry in entries.iter().cloned() {
        if writes.len() >= IN_FLIGHT {
            let written: Option<Result<kv_client::Result<()>, _>> = writes.join_next().await;
            written.expect("some are in flight").expect("no panic").expect("it is written");
        }
        let client = client.clone();
        writes.spawn(async move { client.put(entry).await.map(drop) });
    }
    for written in writes.join_all().await {
        written.expect("it is written");
    }
}
