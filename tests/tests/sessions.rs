//! Writes that are sent again are applied once, whatever happened to the answer.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kv_proto::v1::{ErrorReason, RequestContext};
use kv_tests::{
    TestCluster, claims,
    journal::Journal,
    ledger::{Ledger, key_in},
    options, run, wait,
    wire::{self, Wire, in_session},
    workload::Workload,
};

/// How often connections are dropped.
const DROPS: usize = 30;
/// What means "stuck".
const STUCK: Duration = Duration::from_secs(30);

#[test]
fn writes_are_applied_once() {
    run(async {
        let mut cluster = TestCluster::start("sessions", options(3)).await;
        a_repeated_request_gets_its_first_answer(&mut cluster).await;
        dropped_connections(&mut cluster).await;
    });
}

async fn a_repeated_request_gets_its_first_answer(cluster: &mut TestCluster) {
    let shard = cluster.describe().await.shards.swap_remove(0);
    let key = Bytes::from(key_in(&shard, "once").expect("there is room"));
    let primary = cluster.local.index_of(&shard.primary).expect("it is one of the nodes");
    let other = Wire::to(cluster.local.nodes()[(primary + 1) % 3].advertised_address());
    let own = Wire::to(cluster.local.nodes()[primary].advertised_address());
    let session = own.open_session(key.clone()).await.expect("a session");

    let first = own.put(key.clone(), "first", in_session(&session, 1)).await.expect("it is written");
    let second = own.put(key.clone(), "second", in_session(&session, 2)).await.expect("it is written");
    assert!(second.revision > first.revision);
    // Through another node as well, and with numbers in any order.
    for wire in [&own, &other] {
        let again = wire.put(key.clone(), "first", in_session(&session, 1)).await.expect("its result is kept");
        assert_eq!(again.revision, first.revision);
    }
    let value = own.get(key.clone(), RequestContext::default()).await.expect("it is read");
    assert_eq!(value.as_deref(), Some(&b"second"[..]), "nothing was applied again");

    // The table of sessions is part of the copies.
    cluster.local.kill(primary).expect("it runs");
    let mut again = None;
    wait::until("the backup serves", STUCK, async || {
        let answer = other.put(key.clone(), "first", in_session(&session, 1)).await;
        again = Some(answer.map_err(|status| status.to_string())?);
        Ok(())
    })
    .await;
    assert_eq!(again.map(|answer| answer.revision), Some(first.revision), "the backup knows the result");
    let value = other.get(key.clone(), RequestContext::default()).await.expect("it is read");
    assert_eq!(value.as_deref(), Some(&b"second"[..]));
    cluster.local.start_node(primary).expect("it is stopped");
    cluster.until_whole("a restart").await;

    // An answer that the client said it has is not kept, and so the request is refused and not applied again.
    let forgetting = RequestContext { lowest_unanswered: 3, ..in_session(&session, 3) };
    other.put(key.clone(), "third", forgetting).await.expect("it is written");
    let refused = other.put(key.clone(), "first", in_session(&session, 1)).await.expect_err("it is forgotten");
    assert_eq!(wire::info(&refused).map(|info| info.reason()), Some(ErrorReason::SessionExpired), "{refused}");
    let unknown = Bytes::from_static(&[0xee; 24]);
    let refused = other.put(key.clone(), "fourth", in_session(&unknown, 1)).await.expect_err("it is unknown");
    let info = wire::info(&refused).expect("the node says why");
    assert_eq!((info.reason(), info.definite), (ErrorReason::SessionExpired, true), "{refused}");
    let value = other.get(key, RequestContext::default()).await.expect("it is read");
    assert_eq!(value.as_deref(), Some(&b"third"[..]));
}

async fn dropped_connections(cluster: &mut TestCluster) {
    let client = cluster.client_of_nodes().await;
    let description = cluster.describe().await;
    let journal = Journal::start(&client).await;
    let workload = Workload::start(&[client.clone(), cluster.client().await], &description);
    let ledger = Ledger::start(&client, &description);
    let shards = ledger.shards();
    for drop in 0..DROPS {
        let index = drop % 3;
        // What is on its way is lost, in both directions: clients don't know whether it was applied.
        cluster.local.rmi_down(index).await.expect("it has proxies");
        cluster.local.rmi_up(index).await.expect("it has proxies");
        let served = claims::served_by(&description, &cluster.name(index));
        ledger.until_acknowledged(if served.is_empty() { &shards } else { &served }, Instant::now(), STUCK).await;
    }
    let counts = workload.finish(&client).await;
    assert_eq!(counts.unknown, 0, "each was repeated until its outcome was known");
    let balance = ledger.finish(&client).await;
    assert_eq!(balance.errors, Vec::<String>::new());
    let values: BTreeMap<_, _> = balance.acknowledged;
    journal.finish(&values).await;
    cluster.until_whole("dropped connections").await;
}
