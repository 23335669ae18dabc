//! ZooKeeper's failures: its leader killed, all of it gone.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::time::{Duration, Instant};

use kv_client::{Client, ClientOptions, Discovery, Error};
use kv_local::Options;
use kv_tests::{
    TestCluster, claims,
    journal::Journal,
    ledger::{Ledger, key_in},
    options, run, wait,
    workload::Workload,
};

/// How long all of ZooKeeper is gone: ten sessions' timeouts.
const GONE: Duration = Duration::from_secs(30);
/// Sessions of a cluster of which one node reaches ZooKeeper later than the others, and by how much: a third of a timeout, where two
/// thirds would be too late.
const LATE_TIMEOUT: Duration = Duration::from_secs(9);
const LATE_BY: Duration = Duration::from_secs(3);
/// What means "stuck".
const STUCK: Duration = Duration::from_secs(20);
/// What means that nobody has told of a master's death, and that it was only found when everything was read again, as
/// is done every 10 s; less than a session timeout (3 s) and a half are expected.
const UNTOLD: Duration = Duration::from_secs(8);

#[test]
fn the_cluster_outlives_zookeepers_leader_and_zookeeper() {
    run(async {
        let options = Options { zookeeper_servers: 3, ..options(3) };
        let mut cluster = TestCluster::start("zookeeper", options).await;
        let client = cluster.client_of_nodes().await;
        let description = cluster.describe().await;
        let journal = Journal::start(&client).await;
        let workload = Workload::start(&[client.clone(), cluster.client_of(0).await], &description);
        let ledger = Ledger::start(&client, &description);

        leader_killed(&mut cluster, &ledger).await;
        all_gone(&mut cluster, &ledger).await;
        master_killed(&mut cluster).await;

        workload.finish(&client).await;
        let balance = ledger.finish(&client).await;
        journal.finish(&balance.acknowledged).await;
        assert_eq!(balance.errors, Vec::<String>::new());
    });
}

/// ZooKeeper comes back to two nodes, and to the third one later. It is ZooKeeper that was away, and not the third node that was cut off: it
/// goes on all the time.
#[test]
fn a_node_that_reaches_zookeeper_later_than_its_peers_goes_on() {
    run(async {
        let options = Options { session_timeout: LATE_TIMEOUT, ..options(3) };
        let mut cluster = TestCluster::start("zookeeper-late", options).await;
        let late = (cluster.master_index().await + 1) % 3;
        let name = cluster.name(late);
        let description = cluster.describe().await;
        let own = description.shards.iter().find(|shard| shard.primary == name).expect("it serves something");
        let key = key_in(own, "asked-directly").expect("there is room");
        let direct = cluster.client_of(late).await;

        cluster.local.zookeeper_mut().stop_all().expect("they run");
        cluster.local.zk_down(late).await.expect("it has proxies");
        // Longer than a session: all nodes know that ZooKeeper is away, and take nothing for a hiccup.
        serves_for(&direct, &key, LATE_TIMEOUT, "ZooKeeper is gone").await;
        cluster.local.zookeeper_mut().start_all().await.expect("they start again");
        let peer = (late + 1) % 3;
        wait::until("a peer reaches ZooKeeper", STUCK, async || reaches_zookeeper(&cluster, peer).await).await;
        serves_for(&direct, &key, LATE_BY, "its peers have ZooKeeper").await;
        cluster.local.zk_up(late).await.expect("it has proxies");
        serves_for(&direct, &key, LATE_BY, "it reaches ZooKeeper").await;
        cluster.until_whole("ZooKeeper's absence").await;
    });
}

async fn reaches_zookeeper(cluster: &TestCluster, index: usize) -> Result<(), String> {
    let described = cluster.client_of(index).await.describe(false).await.map_err(|error| error.to_string())?;
    if described.zookeeper_connected { Ok(()) } else { Err(format!("{} does not", cluster.name(index))) }
}

/// No write and no read of `key` fails for so long, one every 20 ms.
async fn serves_for(direct: &Client, key: &[u8], time: Duration, while_: &str) {
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while begun.elapsed() < time {
        ticks.tick().await;
        if let Err(error) = direct.put((key.to_vec(), "written")).await {
            panic!("while {while_}, after {:?}: {error}", begun.elapsed());
        }
        direct.get(key.to_vec()).await.expect("what is written is read");
    }
}

async fn leader_killed(cluster: &mut TestCluster, ledger: &Ledger) {
    let shards = ledger.shards();
    let leader = cluster.local.zookeeper().leader().await.expect("one leads");
    let at = Instant::now();
    cluster.local.zookeeper_mut().kill(leader).expect("it runs");
    wait::until("another server leads", STUCK, async || match cluster.local.zookeeper().leader().await {
        Some(now) if now != leader => Ok(()),
        now => Err(format!("{now:?}")),
    })
    .await;
    cluster.until("the nodes reach ZooKeeper again", STUCK, claims::whole).await;
    ledger.until_acknowledged(&shards, Instant::now(), STUCK).await;
    let silences = ledger.longest_silences(&shards, at, Instant::now());
    eprintln!("ZooKeeper's leader killed: longest wait for a write {:?}", silences.iter().max());
    cluster.local.zookeeper_mut().start_server(leader).await.expect("it starts again");
    cluster.until_whole("the leader's death").await;
}

async fn all_gone(cluster: &mut TestCluster, ledger: &Ledger) {
    let shards = ledger.shards();
    let before = cluster.describe().await;
    cluster.local.zookeeper_mut().stop_all().expect("they run");
    let at = Instant::now();
    let addresses = cluster.local.nodes().iter().map(|node| node.advertised_address().to_string()).collect();
    // The time is what is tested: ten session timeouts without ZooKeeper, looked at all along.
    while at.elapsed() < GONE {
        ledger.until_acknowledged(&shards, Instant::now() + Duration::from_secs(1), STUCK).await;
    }
    let silences = ledger.longest_silences(&shards, at, Instant::now());
    eprintln!("without ZooKeeper for {GONE:?}: longest wait for a write {:?}", silences.iter().max());
    let longest = silences.iter().max().expect("there are shards");
    assert!(*longest < GONE / 3, "the cluster stood still: {silences:?}");

    let newcomer = ClientOptions::new(Discovery::Nodes(addresses));
    let newcomer = Client::connect(newcomer).await.expect("a client that knows a node goes on");
    newcomer.put(("after-the-end-of-zookeeper", "written")).await.expect("it writes");
    let told = newcomer.describe(false).await.expect("the nodes describe themselves");
    assert!(!told.zookeeper_connected, "the description may be out of date, and says so");
    let asking = ClientOptions {
        deadline: Duration::from_secs(2),
        ..ClientOptions::new(Discovery::ZooKeeper(cluster.local.zookeeper_url()))
    };
    let learned = Client::connect(asking).await.expect_err("a client that asks ZooKeeper learns nothing");
    assert!(matches!(learned, Error::ZooKeeper { .. }), "{learned}");
    for node in cluster.local.nodes() {
        let (status, body) = node.http("/readyz").await.expect("it answers");
        assert_eq!(status, 200, "an outage of ZooKeeper does not change what is ready: {body}");
    }

    cluster.local.zookeeper_mut().start_all().await.expect("they start again");
    let back = cluster.until_whole("ZooKeeper's absence").await;
    eprintln!("ZooKeeper is back: everything is whole after {back:?}");
    let after = cluster.describe().await;
    assert_eq!(before.shards.len(), after.shards.len());
    cluster.master().await.expect("there is a master again");
}

/// The nodes' watches were lost with the servers' memory: they are set again.
async fn master_killed(cluster: &mut TestCluster) {
    let (master, _) = cluster.master().await.expect("the cluster is alive");
    let index = cluster.local.index_of(&master.id).expect("it is one of the nodes");
    cluster.local.kill(index).expect("it runs");
    let took = cluster.until_another_master(&master.id).await;
    eprintln!("the master is killed after ZooKeeper's absence: another is master {took:?} later");
    assert!(took < UNTOLD, "no watch has told of it: {took:?}");
    cluster.local.start_node(index).expect("it is stopped");
    cluster.until_whole("the master's death").await;
}
