//! Scans and watches over all shards, batches within one, while shards change their primaries.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kv_client::{Batch, ChangeKind, Client, Error, Put, Scan, Watch, description::ClusterDescription};
use kv_tests::{
    TestCluster,
    ledger::{Ledger, key_in},
    options, run, wait,
};

const KEYS: usize = 3_000;
/// What means "stuck".
const STUCK: Duration = Duration::from_secs(30);

#[test]
fn scans_watches_and_batches() {
    run(async {
        let mut cluster = TestCluster::start("scan-watch", options(3)).await;
        let client = cluster.client().await;
        let description = cluster.describe().await;
        let entries = fill(&client, &description).await;
        scans(&client, &entries).await;
        batches(&client, &description).await;
        a_scan_goes_on_through_a_failover(&mut cluster, &client, &entries).await;
        watches(&mut cluster, &client).await;
    });
}

async fn fill(client: &Client, description: &ClusterDescription) -> BTreeMap<Bytes, Bytes> {
    let shards = &description.shards;
    let entries: BTreeMap<_, _> = (0..KEYS)
        .map(|number| {
            let key = key_in(&shards[number % shards.len()], &format!("scanned-{number:05}")).expect("there is room");
            (Bytes::from(key), Bytes::from(number.to_string()))
        })
        .collect();
    let writes = entries.clone().into_iter().map(|entry| {
        let client = client.clone();
        tokio::spawn(async move { client.put(entry).await })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.expect("no panic").expect("it is written");
    }
    entries
}

async fn collect(client: &Client, scan: Scan) -> Vec<(Bytes, Bytes)> {
    let mut pages = client.scan(scan);
    let mut found = Vec::new();
    while let Some(page) = pages.next_page().await.expect("it can be read") {
        found.extend(page.entries.into_iter().map(|entry| (entry.key, entry.value)));
    }
    found
}

async fn scans(client: &Client, entries: &BTreeMap<Bytes, Bytes>) {
    let all: Vec<_> = entries.clone().into_iter().collect();
    assert_eq!(collect(client, Scan::all()).await, all, "all keys, in order");
    assert_eq!(collect(client, Scan::all().confirmed()).await, all, "confirmed by every copy");
    let reversed: Vec<_> = all.iter().rev().cloned().collect();
    assert_eq!(collect(client, Scan::all().reverse()).await, reversed, "from the last to the first");
    assert_eq!(collect(client, Scan::all().page_keys(7).limit(1_000)).await, all[..1_000]);
    assert_eq!(collect(client, Scan::all().reverse().limit(1_000)).await, reversed[..1_000]);
    let (from, to) = (all[500].0.clone(), all[2_500].0.clone());
    assert_eq!(collect(client, Scan::range(from, to)).await, all[500..2_500], "the end is not part of it");
    let prefix = all[KEYS / 2].0.slice(..all[KEYS / 2].0.len() - 1);
    let with_prefix: Vec<_> = all.iter().filter(|(key, _)| key.starts_with(&prefix)).cloned().collect();
    assert_eq!(collect(client, Scan::prefix(prefix)).await, with_prefix);
    let keys_only = collect(client, Scan::all().keys_only()).await;
    assert!(keys_only.iter().map(|(key, _)| key).eq(entries.keys()));
    assert!(keys_only.iter().all(|(_, value)| value.is_empty()));

    // A page can be gone on from by another scan.
    let first = client.scan(Scan::all().page_keys(100)).next_page().await.expect("it can be read").expect("a page");
    let rest = collect(client, Scan::all().resume(first.resume)).await;
    assert_eq!(first.entries.len() + rest.len(), all.len());
    assert_eq!(rest, all[first.entries.len()..]);
}

async fn batches(client: &Client, description: &ClusterDescription) {
    let [one, other] = [0, 1].map(|at| &description.shards[at]);
    let key = |name: &str| key_in(one, name).expect("there is room");
    let written =
        client.batch(Batch::new().put((key("batch-a"), "1")).put((key("batch-b"), "2"))).await.expect("one shard");
    for name in ["batch-a", "batch-b"] {
        let entry = client.get(key(name)).await.expect("it is read").expect("it is there");
        assert_eq!(entry.revision, written.revision);
    }
    let refused = Batch::new().delete(key("batch-a")).put(Put::new(key("batch-b"), "3")).check(key("batch-c"), 7);
    let refused = client.batch(refused).await.expect_err("there is no batch-c");
    assert_eq!(refused, Error::RevisionMismatch { actual: 0 });
    assert!(client.get(key("batch-a")).await.expect("it is read").is_some(), "nothing of it was applied");

    let elsewhere = key_in(other, "batch-d").expect("there is room");
    let across = client.batch(Batch::new().put((key("batch-a"), "4")).put((elsewhere, "5"))).await;
    assert_eq!(across, Err(Error::CrossShard { boundary: other.start.clone() }));
    client.batch(Batch::new().delete(key("batch-a")).delete(key("batch-b"))).await.expect("one shard");
    assert_eq!(client.get(key("batch-a")).await.expect("it is read"), None);
}

async fn a_scan_goes_on_through_a_failover(
    cluster: &mut TestCluster,
    client: &Client,
    entries: &BTreeMap<Bytes, Bytes>,
) {
    let mut pages = client.scan(Scan::all().page_keys(50));
    let mut found = Vec::new();
    while let Some(page) = pages.next_page().await.expect("it can be read") {
        let revisions = page.entries.iter().map(|entry| entry.revision);
        assert!(revisions.max() <= Some(page.revision), "a page is of one revision");
        found.extend(page.entries.into_iter().map(|entry| entry.key));
        if found.len() == 1_000 {
            cluster.local.kill(1).expect("it runs");
        }
    }
    assert!(found.iter().eq(entries.keys()), "{} of {} keys, in order", found.len(), entries.len());
    cluster.local.start_node(1).expect("it is stopped");
    cluster.until_whole("a restart").await;
}

async fn watches(cluster: &mut TestCluster, client: &Client) {
    let description = cluster.describe().await;
    let mut watch = client.watch(Watch::all()).await.expect("a node accepts it");
    let ledger = Ledger::start(client, &description);
    let shards = ledger.shards();
    ledger.until_acknowledged(&shards, Instant::now() + Duration::from_millis(300), STUCK).await;
    // The node that the watch goes through may be this one: it resumes by its token at another.
    let mut token = Bytes::new();
    let mut told: BTreeMap<Bytes, Bytes> = BTreeMap::new();
    for index in 0..3 {
        cluster.local.kill(index).expect("it runs");
        ledger.until_acknowledged(&shards, Instant::now(), STUCK).await;
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            let changes = watch.next().await.expect("it goes on");
            token = changes.token.clone();
            for change in changes.changes {
                assert_eq!(change.kind, ChangeKind::Put);
                let twice = told.insert(change.entry.key.clone(), change.entry.value);
                assert_eq!(twice, None, "{} was told twice", change.entry.key.escape_ascii());
            }
        }
        cluster.local.start_node(index).expect("it is stopped");
        cluster.until_whole("a restart").await;
    }
    // Another watch goes on from the token, through another client.
    drop(watch);
    let mut watch =
        cluster.client_of_nodes().await.watch(Watch::all().from_token(token)).await.expect("a node accepts it");
    let balance = ledger.finish(client).await;
    wait::until("every acknowledged write was told", STUCK, async || {
        if let Some(missing) = balance.acknowledged.keys().find(|key| !told.contains_key(*key)) {
            let changes = watch.next().await.map_err(|error| error.to_string())?.changes;
            for change in changes {
                let twice = told.insert(change.entry.key.clone(), change.entry.value);
                assert_eq!(twice, None, "{} was told twice", change.entry.key.escape_ascii());
            }
            return Err(format!("{} was not", missing.escape_ascii()));
        }
        Ok(())
    })
    .await;
    for (key, value) in &balance.acknowledged {
        assert_eq!(told.get(key), Some(value));
    }

    let mut narrow = client.watch(Watch::key("watched")).await.expect("a node accepts it");
    client.put(("watched-not", "1")).await.expect("it is written");
    client.put(("watched", "2")).await.expect("it is written");
    client.delete("watched").await.expect("it is deleted");
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        let changes = tokio::time::timeout(STUCK, narrow.next()).await.expect("in time").expect("it goes on");
        kinds.extend(changes.changes.into_iter().map(|change| (change.kind, change.entry.key)));
    }
    let key = Bytes::from("watched");
    assert_eq!(kinds, [(ChangeKind::Put, key.clone()), (ChangeKind::Delete, key)]);
}
