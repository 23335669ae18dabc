//! Planned changes under load: nobody sees an error.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::time::{Duration, Instant};

use kv_client::{Client, Error};
use kv_tests::{
    TestCluster, claims, journal::Journal, ledger::Ledger, options, outage::Outages, run, wait, workload::Workload,
};

/// What means "stuck".
const STUCK: Duration = Duration::from_secs(60);

#[test]
fn planned_changes_fail_no_request() {
    run(async {
        let mut cluster = TestCluster::start("handover", options(3)).await;
        let client = cluster.client().await;
        // Each failure of a node would be seen: these repeat nothing, and stay with the nodes that stay.
        let strict = cluster.client_without_retries(&[0, 1]).await;
        let description = cluster.describe().await;
        let journal = Journal::start(&client).await;
        let workload = Workload::start(&[client.clone(), strict.clone()], &description);
        let ledger = Ledger::start(&strict, &description);

        hand_over_each_shard(&cluster, &client, &ledger).await;
        cluster.until_whole("handovers").await;
        drain(&cluster, &client, &ledger, "kv-2").await;
        leave(&mut cluster, &ledger, 2).await;

        let counts = workload.finish(&client).await;
        assert_eq!((counts.failed, counts.unknown), (0, 0), "no request failed");
        let balance = ledger.finish(&client).await;
        assert_eq!(balance.errors, Vec::<String>::new(), "no request failed");
        journal.finish(&balance.acknowledged).await;
    });
}

async fn hand_over_each_shard(cluster: &TestCluster, client: &Client, ledger: &Ledger) {
    let (mut pauses, mut waits) = (Outages::default(), Outages::default());
    for shard in cluster.describe().await.shards {
        let backups = shard.replicas.iter().filter(|copy| copy.in_sync && copy.node != shard.primary);
        let target = backups.map(|copy| copy.node.clone()).next().expect("there is a backup");
        let at = Instant::now();
        wait::until("the backup serves", STUCK, async || match client.handover(shard.shard, &target).await {
            Ok(handover) => {
                assert!(handover.epoch > shard.epoch, "{handover:?}, from epoch {}", shard.epoch);
                pauses.extend([handover.pause]);
                Ok(())
            }
            // A copy of the shard that comes or goes is a change too, one at a time.
            Err(Error::Refused(why)) if why.contains("under way") => Err(why),
            Err(error) => panic!("shard {}: {error}", shard.shard),
        })
        .await;
        ledger.until_acknowledged(&[shard.shard], Instant::now(), STUCK).await;
        waits.extend(ledger.longest_silences(&[shard.shard], at, Instant::now()));
    }
    pauses.print("planned handover, pause as the nodes measure it");
    waits.print("planned handover, longest wait between two acknowledged writes");
    waits.assert_below(Duration::from_secs(5));
}

async fn drain(cluster: &TestCluster, client: &Client, ledger: &Ledger, node: &str) {
    let shards = ledger.shards();
    let at = Instant::now();
    wait::until("the node is drained", STUCK, async || match client.drain(node, false).await {
        Ok(0) => Ok(()),
        Ok(remaining) => Err(format!("{remaining} copies and homes are left")),
        Err(error) => Err(error.to_string()),
    })
    .await;
    let drained = at.elapsed();
    let description = cluster.describe().await;
    assert_eq!(claims::served_by(&description, node), Vec::<u64>::new());
    assert_eq!(claims::backed_up_by(&description, node), Vec::<u64>::new());
    client.drain(node, true).await.expect("it can be taken back");
    cluster
        .until("the node gets shards again", STUCK, |now| {
            if claims::served_by(now, node).is_empty() { Err("it serves nothing".into()) } else { Ok(()) }
        })
        .await;
    cluster.until_whole("a drain").await;
    let mut silences = Outages::default();
    silences.extend(ledger.longest_silences(&shards, at, Instant::now()));
    eprintln!("{node} is drained after {drained:?}");
    silences.print("a drain and its undoing, longest wait between two acknowledged writes");
}

async fn leave(cluster: &mut TestCluster, ledger: &Ledger, index: usize) {
    let name = cluster.name(index);
    let (shards, served) = (ledger.shards(), claims::served_by(&cluster.describe().await, &name));
    assert!(!served.is_empty(), "{name} serves nothing");
    let at = Instant::now();
    assert!(cluster.local.leave(index).await.expect("it runs"), "{name} did not leave in order");
    let left = at.elapsed();
    cluster.until("its keys are served", STUCK, |now| claims::served_by_others(now, &name, &served)).await;
    ledger.until_acknowledged(&shards, Instant::now(), STUCK).await;
    let mut silences = Outages::default();
    silences.extend(ledger.longest_silences(&served, at, Instant::now()));
    eprintln!("{name} left {left:?} after SIGTERM");
    silences.print("SIGTERM of a home, longest wait between two acknowledged writes");
    cluster.local.start_node(index).expect("it is stopped");
    cluster.until_whole("SIGTERM").await;
}
