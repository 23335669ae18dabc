//! What the client repeats and what it doesn't, against nodes that fail on purpose.

mod fake;

use std::time::{Duration, Instant};

use fake::{Fault, connect, options, refusal};
use kv_client::{Batch, ClientOptions, Delete, Error, Put, Transport};
use kv_proto::v1::{ErrorInfo, ErrorReason};

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_applied_once() {
    for transport in [Transport::Pipeline, Transport::Unary] {
        let nodes = fake::cluster(1).await;
        let client = fake::connect_with(ClientOptions { transport, ..options(&nodes) }).await;
        for fault in [Fault::ApplyAndBreak, Fault::Break, Fault::ApplyInSilence, Fault::ApplyAndSayUnknown] {
            let before = nodes[0].data().applied;
            nodes[0].fail_next([fault.clone()]);
            let answer = client.put(("k", "v")).await.expect("repeated");
            assert_eq!(nodes[0].data().applied, before + 1, "{fault:?}");
            assert_eq!(answer.revision, nodes[0].data().revision, "{fault:?}");
        }
        assert_eq!(nodes[0].data().sessions_opened, 1, "{transport:?}");
    }
}

#[tokio::test]
async fn without_a_session_a_lost_answer_is_unknown_and_the_write_is_not_repeated() {
    for transport in [Transport::Pipeline, Transport::Unary] {
        let nodes = fake::cluster(2).await;
        let client = fake::connect_with(ClientOptions { transport, sessions: false, ..options(&nodes) }).await;
        for node in &nodes {
            node.fail_next([Fault::ApplyAndBreak]);
        }
        let error = client.put(("k", "v")).await.expect_err("not repeated");
        assert!(matches!(error, Error::OutcomeUnknown(_)) && !error.is_definite(), "{error}");
        assert_eq!(nodes[0].data().applied, 1);
        assert_eq!(nodes[0].data().sessions_opened, 0);
    }
}

#[tokio::test]
async fn an_expired_session_is_opened_anew_before_anything_is_unknown() {
    let nodes = fake::cluster(1).await;
    let client = connect(&nodes).await;
    client.put(("k", "1")).await.expect("put");
    nodes[0].data().sessions.clear();
    client.put(("k", "2")).await.expect("put under a new session");
    let data = nodes[0].data();
    assert_eq!((data.applied, data.sessions_opened), (2, 2));
}

#[tokio::test]
async fn an_expired_session_after_a_lost_answer_leaves_the_outcome_unknown() {
    let nodes = fake::cluster(1).await;
    let client = connect(&nodes).await;
    let expired = Fault::Refuse(refusal(ErrorReason::SessionExpired));
    nodes[0].fail_next([Fault::ApplyAndBreak, expired]);
    let error = client.put(("k", "v")).await.expect_err("can't be repeated");
    assert!(matches!(error, Error::OutcomeUnknown(_)), "{error}");
    assert_eq!(nodes[0].data().applied, 1);
}

#[tokio::test]
async fn a_node_that_serves_nothing_is_passed_over() {
    let nodes = fake::cluster(2).await;
    let client = connect(&nodes).await;
    for round in 0..4 {
        for node in &nodes {
            node.fail_next([Fault::Refuse(refusal(ErrorReason::NotAvailable))]);
        }
        client.put(("k", "v")).await.expect("repeated");
        assert_eq!(nodes[0].data().applied, round + 1);
    }
}

#[tokio::test]
async fn a_node_that_is_silent_is_passed_over_after_one_attempt() {
    let nodes = fake::cluster(2).await;
    let client = connect(&nodes).await;
    client.put(("k", "v")).await.expect("put");
    let asked = nodes.iter().find(|node| node.count() > 0).expect("one was asked");
    asked.fail_next((0..100).map(|_| Fault::ApplyInSilence));
    let start = Instant::now();
    client.put(("k", "w")).await.expect("through the other node");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(nodes[0].data().applied, 2);
}

#[tokio::test]
async fn what_never_passes_ends_at_the_deadline_and_is_definite() {
    let nodes = fake::cluster(1).await;
    let client = connect(&nodes).await.with_deadline(Duration::from_millis(600));
    client.put(("k", "v")).await.expect("put");
    nodes[0].fail_next((0..1000).map(|_| Fault::Refuse(refusal(ErrorReason::NotAvailable))));
    let start = Instant::now();
    let error = client.put(("k", "w")).await.expect_err("unavailable");
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let attempts = nodes[0].count();
    assert!((3..=40).contains(&attempts), "{attempts} attempts");
}

#[tokio::test]
async fn no_refusal_after_a_lost_answer_makes_the_outcome_definite() {
    let nodes = fake::cluster(1).await;
    let client = connect(&nodes).await.with_deadline(Duration::from_millis(900));
    client.put(("k", "v")).await.expect("put");
    nodes[0].fail_next([Fault::ApplyInSilence]);
    nodes[0].fail_next((0..1000).map(|_| Fault::Refuse(refusal(ErrorReason::NotAvailable))));
    let error = client.put(("k", "w")).await.expect_err("refused to the end");
    assert!(matches!(error, Error::OutcomeUnknown(_)), "{error}");
    assert_eq!(nodes[0].data().applied, 2);
}

#[tokio::test]
async fn refusals_reach_the_caller_as_they_are() {
    for transport in [Transport::Pipeline, Transport::Unary] {
        let nodes = fake::cluster(1).await;
        let client = fake::connect_with(ClientOptions { transport, ..options(&nodes) }).await;
        client.put(("k", "v")).await.expect("put");
        let mismatch = client.put(Put::new("k", "w").must_not_exist()).await;
        assert_eq!(mismatch, Err(Error::RevisionMismatch { actual: 1 }));
        let mismatch = client.delete(Delete::new("k").expected_revision(9)).await;
        assert_eq!(mismatch, Err(Error::RevisionMismatch { actual: 1 }));
        let cross = ErrorInfo { boundary: "m".into(), ..refusal(ErrorReason::CrossShard) };
        nodes[0].fail_next([Fault::Refuse(cross)]);
        let crossed = client.batch(Batch::new().put(("a", "1")).put(("z", "2"))).await;
        assert_eq!(crossed, Err(Error::CrossShard { boundary: "m".into() }));
        nodes[0].fail_next([Fault::Refuse(refusal(ErrorReason::Invalid))]);
        assert!(matches!(client.get("k").await, Err(Error::Invalid(_))));
        assert_eq!(client.batch(Batch::new()).await.map_err(|error| error.is_definite()), Err(true));
    }
}

#[tokio::test]
async fn another_cluster_refuses() {
    let nodes = fake::cluster(1).await;
    *nodes[0].cluster.lock().expect("unpoisoned") = "one".into();
    let right = fake::connect_with(ClientOptions { cluster: Some("one".into()), ..options(&nodes) }).await;
    assert_eq!(right.get("k").await, Ok(None));
    let wrong = fake::connect_with(ClientOptions { cluster: Some("two".into()), ..options(&nodes) }).await;
    assert!(matches!(wrong.get("k").await, Err(Error::WrongCluster(_))));
}

#[tokio::test]
async fn many_writers_through_broken_streams_lose_and_repeat_nothing() {
    let nodes = fake::cluster(2).await;
    let client = connect(&nodes).await.with_deadline(Duration::from_secs(20));
    let writers: Vec<_> = (0..32)
        .map(|writer| {
            let client = client.clone();
            tokio::spawn(async move {
                for round in 0..50 {
                    client.put((format!("{writer}"), format!("{round}"))).await.expect("applied once");
                }
            })
        })
        .collect();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        // Faults that nobody has met yet must not pile up for the last writer.
        for node in nodes.iter().filter(|node| !node.has_faults()) {
            node.fail_next([Fault::ApplyAndBreak, Fault::Break, Fault::ApplyInSilence]);
        }
    }
    for writer in writers {
        writer.await.expect("no writer failed");
    }
    assert_eq!(nodes[0].data().applied, 32 * 50);
    for writer in 0..32 {
        let entry = client.get(format!("{writer}")).await.expect("get").expect("written");
        assert_eq!(entry.value, "49");
    }
}

#[tokio::test]
async fn without_retries_the_first_failure_is_the_answer() {
    let nodes = fake::cluster(2).await;
    let client = fake::connect_with(ClientOptions { retries: false, ..options(&nodes) }).await;
    client.put(("k", "v")).await.expect("put");
    for node in &nodes {
        node.fail_next([Fault::Refuse(refusal(ErrorReason::NotAvailable)), Fault::ApplyAndBreak]);
    }
    assert!(matches!(client.put(("k", "w")).await, Err(Error::Unavailable(_))));
    let asked: usize = nodes.iter().map(|node| node.count()).sum();
    assert_eq!(asked, 2);
    assert!(matches!(client.put(("k", "w")).await, Err(Error::OutcomeUnknown(_))));
    assert_eq!(nodes.iter().map(|node| node.count()).sum::<usize>(), 3);
}
