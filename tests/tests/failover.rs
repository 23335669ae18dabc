//! Nodes that die under load: the others go on with what they keep in `bkpdata`, and nothing acknowledged is lost.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::time::{Duration, Instant};

use kv_tests::{
    START_WITHIN, TestCluster, claims, journal::Journal, ledger::Ledger, options, outage::Outages, run, wait,
    workload::Workload,
};

const ROUNDS: usize = 6;
/// What means "stuck" for a failover; some 1 s is expected.
const STUCK: Duration = Duration::from_secs(15);

#[test]
fn killed_nodes_are_replaced_by_their_backups() {
    run(async {
        let mut cluster = TestCluster::start("failover-kill", options(3)).await;
        let client = cluster.client().await;
        let description = cluster.describe().await;
        let journal = Journal::start(&client).await;
        let workload = Workload::start(&[client.clone(), cluster.client_of_nodes().await], &description);
        let ledger = Ledger::start(&client, &description);
        let (mut of_master, mut of_home, mut of_backup) = (Outages::default(), Outages::default(), Outages::default());

        for round in 0..ROUNDS {
            let (master, members) = cluster.master().await.expect("the cluster is alive");
            let [_, sub_master, next] = &members[..] else { panic!("three nodes are registered: {members:?}") };
            let kill_master = round % 2 == 0;
            let victim = if kill_master { &master.id } else { next };
            let index = cluster.local.index_of(victim).expect("it is one of the nodes");
            let before = cluster.describe().await;
            let (served, backed) = (claims::served_by(&before, victim), claims::backed_up_by(&before, victim));
            assert!(!served.is_empty() && !backed.is_empty(), "{victim} keeps nothing: {before:?}");

            cluster.local.kill(index).expect("it runs");
            let at = Instant::now();
            let waits = ledger.until_acknowledged(&served, at, STUCK).await;
            if kill_master {
                of_master.extend(waits)
            } else {
                of_home.extend(waits)
            }
            of_backup.extend(ledger.until_acknowledged(&backed, at, STUCK).await);
            cluster
                .until("its keys are served from bkpdata", STUCK, |now| claims::served_by_others(now, victim, &served))
                .await;
            if kill_master {
                wait::until("the sub-master is master, and the next sub-master", STUCK, async || {
                    let (now, members) = cluster.master().await?;
                    let right = now.id == *sub_master && members[..] == [sub_master.clone(), next.clone()];
                    if right { Ok(()) } else { Err(format!("the master is {}, of {members:?}", now.id)) }
                })
                .await;
                let (now, _) = cluster.master().await.expect("the cluster is alive");
                let promoted = cluster.local.index_of(&now.id).expect("it is one of the nodes");
                let address = cluster.local.nodes()[promoted].advertised_address().to_string();
                assert_eq!(now.address, address, "ZooKeeper holds the master's address");
            }
            cluster.local.start_node(index).expect("it is stopped");
            cluster.until_whole("a restart").await;
        }
        of_master.print("SIGKILL of the master to the next acknowledged write of its shards");
        of_home.print("SIGKILL of a home to the next acknowledged write of its shards");
        of_backup.print("SIGKILL of a backup to the next acknowledged write of the shards that it backs up");
        for outages in [of_master, of_home, of_backup] {
            outages.assert_below(STUCK);
        }
        workload.finish(&client).await;
        let balance = ledger.finish(&client).await;
        journal.finish(&balance.acknowledged).await;
        assert_eq!(balance.errors, Vec::<String>::new(), "clients outlive a failover without an error");
    });
}

#[test]
fn a_cluster_that_is_killed_as_a_whole_comes_back_with_all_it_acknowledged() {
    run(async {
        let mut cluster = TestCluster::start("failover-whole", options(3)).await;
        let client = cluster.client().await;
        let description = cluster.describe().await;
        let workload = Workload::start(&[client.clone(), cluster.client_of_nodes().await], &description);
        let ledger = Ledger::start(&client, &description);
        let shards = ledger.shards();
        for round in 0..2 {
            ledger.until_acknowledged(&shards, Instant::now() + Duration::from_millis(500), STUCK).await;
            for index in 0..3 {
                cluster.local.kill(index).expect("it runs");
            }
            let at = Instant::now();
            // In another order than they died in: the copies of each shard come back one by one.
            for index in [(round + 1) % 3, (round + 2) % 3, round] {
                cluster.local.start_node(index).expect("it is stopped");
            }
            ledger.until_acknowledged(&shards, at, START_WITHIN).await;
            cluster.until_whole("a restart of all").await;
        }
        workload.finish(&client).await;
        ledger.finish(&client).await;
    });
}

#[test]
fn a_node_that_was_paused_serves_nothing_old() {
    run(async {
        let mut cluster = TestCluster::start("failover-pause", options(3)).await;
        let client = cluster.client().await;
        let description = cluster.describe().await;
        // Each node is also asked directly, so that an old value would be seen as soon as it is served.
        let mut clients = vec![client.clone()];
        for index in 0..3 {
            clients.push(cluster.client_of(index).await);
        }
        let workload = Workload::start(&clients, &description);
        let ledger = Ledger::start(&client, &description);
        let mut outages = Outages::default();
        for index in 0..3 {
            let name = cluster.name(index);
            let served = claims::served_by(&cluster.describe().await, &name);
            cluster.local.pause(index).expect("it runs");
            let at = Instant::now();
            outages.extend(ledger.until_acknowledged(&served, at, STUCK).await);
            cluster.local.resume(index).expect("it is paused");
            cluster.until_whole("a pause").await;
        }
        outages.print("SIGSTOP of a home to the next acknowledged write of its shards");
        workload.finish(&client).await;
        ledger.finish(&client).await;
    });
}
