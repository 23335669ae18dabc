//! Nodes that are cut off: from ZooKeeper, from peers and clients. They cease, the others go on, and all comes back by
//! itself.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::time::{Duration, Instant};

use kv_client::{Client, Error};
use kv_tests::{
    TestCluster, claims,
    ledger::{Ledger, key_in},
    options,
    outage::Outages,
    run, wait,
    workload::Workload,
};

/// What means "stuck".
const STUCK: Duration = Duration::from_secs(20);

#[test]
fn nodes_that_are_cut_off_cease_and_come_back() {
    run(async {
        let mut cluster = TestCluster::start("partition", options(3)).await;
        let client = cluster.client().await;
        let description = cluster.describe().await;
        let mut clients = vec![client.clone(), cluster.client_of_nodes().await];
        for index in 0..3 {
            clients.push(cluster.client_of(index).await);
        }
        let workload = Workload::start(&clients, &description);
        let ledger = Ledger::start(&client, &description);

        zk_down(&mut cluster, &ledger, false).await;
        zk_down(&mut cluster, &ledger, true).await;
        rmi_down(&mut cluster, &ledger, false).await;
        rmi_down(&mut cluster, &ledger, true).await;

        workload.finish(&client).await;
        ledger.finish(&client).await;
    });
}

/// The master, or a node that is not.
async fn pick(cluster: &TestCluster, master: bool) -> usize {
    let at = cluster.master_index().await;
    if master { at } else { (at + 1) % 3 }
}

async fn zk_down(cluster: &mut TestCluster, ledger: &Ledger, master: bool) {
    let index = pick(cluster, master).await;
    let name = cluster.name(index);
    let before = cluster.describe().await;
    let served = claims::served_by(&before, &name);
    let own = before.shards.iter().find(|shard| served.contains(&shard.shard)).expect("it serves something");
    let key = key_in(own, "asked-directly").expect("there is room");
    let other = before.shards.iter().find(|shard| shard.primary != name).expect("others serve something");
    let other = key_in(other, "asked-directly").expect("there is room");
    let direct = cluster.client_of(index).await;

    cluster.local.zk_down(index).await.expect("it has proxies");
    let at = Instant::now();
    wait::until("it refuses its own keys", STUCK, async || refuses(&direct, &key).await).await;
    let refused = at.elapsed();
    // Others' keys as well: it passes nothing on.
    wait::until("it refuses others' keys", STUCK, async || refuses(&direct, &other).await).await;
    cluster.until("the others serve its keys", STUCK, |now| claims::served_by_others(now, &name, &served)).await;
    ledger.until_acknowledged(&served, Instant::now(), STUCK).await;
    // Not from the cut on: it serves while its leases and its session last.
    let mut outages = Outages::default();
    outages.extend(ledger.longest_silences(&served, at, Instant::now()));
    if master {
        cluster.until_another_master(&name).await;
    }
    assert_eq!(refuses(&direct, &key).await, Ok(()), "it goes on refusing");
    eprintln!("zk-down of {name} (master: {master}): refused after {refused:?}");
    outages.print("zk-down, longest wait between two acknowledged writes of its shards");

    cluster.local.zk_up(index).await.expect("it has proxies");
    let back = cluster.until_whole("zk-up").await;
    eprintln!("zk-up: resynchronized, and its shards are back, after {back:?}");
    serves_again(&direct, &key).await;
}

async fn rmi_down(cluster: &mut TestCluster, ledger: &Ledger, master: bool) {
    let index = pick(cluster, master).await;
    let name = cluster.name(index);
    let served = claims::served_by(&cluster.describe().await, &name);
    cluster.local.rmi_down(index).await.expect("it has proxies");
    let at = Instant::now();
    let mut outages = Outages::default();
    outages.extend(ledger.until_acknowledged(&served, at, STUCK).await);
    cluster.until("the others serve its keys", STUCK, |now| claims::served_by_others(now, &name, &served)).await;
    if master {
        let took = cluster.until_another_master(&name).await;
        eprintln!("rmi-down of the master {name}: another is master {took:?} later");
    }
    outages.print("rmi-down to the next acknowledged write of its shards");
    cluster.local.rmi_up(index).await.expect("it has proxies");
    let back = cluster.until_whole("rmi-up").await;
    eprintln!("rmi-up: resynchronized, and its shards are back, after {back:?}");
}

/// That a node answers neither reads nor writes, and that it is certain that the write has not happened.
async fn refuses(direct: &Client, key: &[u8]) -> Result<(), String> {
    let read = direct.get(key.to_vec()).await;
    let write = direct.put((key.to_vec(), "through a node that is cut off")).await;
    match (read, write) {
        (Err(Error::Unavailable(_)), Err(Error::Unavailable(_))) => Ok(()),
        (read, write) => Err(format!("the read: {read:?}, the write: {write:?}")),
    }
}

async fn serves_again(direct: &Client, key: &[u8]) {
    wait::until("it serves again", STUCK, async || match direct.put((key.to_vec(), "connected again")).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    })
    .await;
}
