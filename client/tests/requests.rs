//! Requests that go well: correlation, routing, bounds, scans and watches over real connections.

mod fake;

use std::{sync::atomic::Ordering, time::Duration};

use fake::{Fault, connect, options};
use kv_client::{Batch, ChangeKind, Client, ClientOptions, Delete, Discovery, Error, Get, Put, Scan, Transport, Watch};

#[tokio::test]
async fn answers_that_overtake_each_other_reach_their_own_callers() {
    let nodes = fake::cluster(1).await;
    let client = connect(&nodes).await;
    for key in 0..200 {
        client.put((format!("key-{key}"), format!("value-{key}"))).await.expect("put");
    }
    nodes[0].fail_next((0..200).map(|n| Fault::Delay(Duration::from_millis((n * 7) % 40))));
    let reads = (0..200).map(|key| {
        let client = client.clone();
        async move { (key, client.get(format!("key-{key}")).await) }
    });
    for (key, answer) in futures::future::join_all(reads).await {
        assert_eq!(answer.expect("get").expect("written").value, format!("value-{key}"));
    }
    assert!(nodes[0].most_at_once.load(Ordering::SeqCst) > 50, "the requests were in flight at once");
}

#[tokio::test]
async fn no_more_requests_are_in_flight_than_the_bound() {
    for transport in [Transport::Pipeline, Transport::Unary] {
        let nodes = fake::cluster(1).await;
        let options =
            ClientOptions { in_flight: 4, transport, attempt_timeout: Duration::from_secs(5), ..options(&nodes) };
        let client = Client::connect(options).await.expect("connect");
        nodes[0].fail_next((0..40).map(|_| Fault::Delay(Duration::from_millis(5))));
        let reads = (0..40).map(|_| client.get("k"));
        assert!(futures::future::join_all(reads).await.iter().all(Result::is_ok));
        assert_eq!(nodes[0].most_at_once.load(Ordering::SeqCst), 4, "{transport:?}");
    }
}

#[tokio::test]
async fn a_write_returns_what_it_replaced() {
    let nodes = fake::cluster(1).await;
    let client = connect(&nodes).await;
    let first = client.put(Put::new("k", "1").return_previous()).await.expect("put");
    assert_eq!((first.revision, first.previous), (1, None));
    let second = client.put(Put::new("k", "2").expected_revision(1).return_previous()).await.expect("put");
    assert_eq!(second.previous.expect("replaced").value, "1");
    let batch = client.batch(Batch::new().check("k", 2).put(("l", "3"))).await.expect("batch");
    assert_eq!(batch.revision, 3);
    let deleted = client.delete(Delete::new("k").return_previous()).await.expect("delete");
    assert_eq!((deleted.existed, deleted.previous.expect("was there").value), (true, "2".into()));
    assert!(!client.delete("k").await.expect("delete").existed);
    assert_eq!(client.get(Get::new("k").confirmed()).await, Ok(None));
}

#[tokio::test]
async fn the_next_request_goes_where_the_answer_pointed() {
    let nodes = fake::cluster(2).await;
    let (first, second) = (&nodes[0], &nodes[1]);
    let client = Client::connect(options(&nodes[..1])).await.expect("connect");
    first.point_to(1, "", "", 1, &second.address);
    client.get("k").await.expect("get");
    assert_eq!((first.count(), second.count()), (1, 0));
    client.get("k").await.expect("get");
    client.get("another").await.expect("get");
    assert_eq!((first.count(), second.count()), (1, 2));
    second.fail_next([Fault::Break]);
    client.get("k").await.expect("get through the first node again");
    assert_eq!(first.count(), 2);
}

#[tokio::test]
async fn a_client_that_follows_nobody_asks_its_own_node() {
    let nodes = fake::cluster(2).await;
    let own = ClientOptions { follow_locations: false, ..options(&nodes[..1]) };
    let client = Client::connect(own).await.expect("connect");
    nodes[0].point_to(1, "", "", 1, &nodes[1].address);
    for _ in 0..3 {
        client.get("k").await.expect("get");
    }
    assert_eq!((nodes[0].count(), nodes[1].count()), (3, 0));
}

#[tokio::test]
async fn a_session_goes_on_in_both_halves_of_a_split() {
    let nodes = fake::cluster(1).await;
    let client = connect(&nodes).await;
    let node = &nodes[0];
    node.point_to(1, "", "", 1, &node.address);
    client.put(("a", "1")).await.expect("put");
    node.point_to(2, "m", "", 1, &node.address);
    client.put(("z", "1")).await.expect("put in the child");
    node.point_to(1, "", "m", 2, &node.address);
    client.put(("a", "2")).await.expect("put in the parent");
    assert_eq!(node.data().sessions_opened, 1);
    assert_eq!(
        node.data().sessions.values().map(|results| results.len()).sum::<usize>(),
        1,
        "older results are dropped"
    );
}

#[tokio::test]
async fn each_shard_has_a_session_of_its_own() {
    let nodes = fake::cluster(1).await;
    let client = connect(&nodes).await;
    nodes[0].point_to(1, "", "m", 1, &nodes[0].address);
    let low = futures::future::join_all((0..20).map(|key| client.put((format!("a{key}"), "1")))).await;
    nodes[0].point_to(2, "m", "", 1, &nodes[0].address);
    client.put(("z", "1")).await.expect("put");
    client.put(("a", "1")).await.expect("put");
    assert!(low.iter().all(Result::is_ok));
    let opened = nodes[0].data().sessions_opened;
    assert!((2..=21).contains(&opened), "{opened} sessions");
}

#[tokio::test]
async fn a_scan_goes_on_after_an_error() {
    let nodes = fake::cluster(1).await;
    let client = connect(&nodes).await.with_deadline(Duration::from_secs(2));
    for key in 0..25 {
        client.put((format!("user:{key:02}"), "v")).await.expect("put");
    }
    client.put(("other", "v")).await.expect("put");
    let mut pages = client.scan(Scan::prefix("user:").page_keys(10));
    let mut keys = Vec::new();
    nodes[0].fail_next([Fault::Delay(Duration::ZERO), Fault::Break, Fault::ApplyInSilence]);
    while let Some(page) = pages.next_page().await.expect("repeated") {
        keys.extend(page.entries.into_iter().map(|entry| entry.key));
    }
    assert_eq!(keys.len(), 25);
    assert!(keys.is_sorted());
    assert_eq!(pages.next_page().await, Ok(None));
    let mut limited = client.scan(Scan::all().limit(12).page_keys(5));
    let mut found = 0;
    while let Some(page) = limited.next_page().await.expect("scan") {
        found += page.entries.len();
    }
    assert_eq!(found, 12);
}

#[tokio::test]
async fn a_watch_that_is_cut_misses_and_repeats_nothing() {
    let nodes = fake::cluster(2).await;
    let client = connect(&nodes).await;
    let mut watch = client.watch(Watch::all()).await.expect("watch");
    let writer = client.clone();
    let cuts = [&nodes[0], &nodes[1]].map(|node| node.node.clone());
    let writing = tokio::spawn(async move {
        // The first message carries the first token; a cut before it is told to the caller instead.
        tokio::time::sleep(Duration::from_millis(200)).await;
        for n in 0..30 {
            writer.put(("k", format!("{n}"))).await.expect("put");
            if n % 10 == 5 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                cuts.iter().for_each(|node| node.fail_next([Fault::Break]));
            }
        }
        writer.delete("k").await.expect("delete");
    });
    let mut seen = Vec::new();
    loop {
        let changes =
            tokio::time::timeout(Duration::from_secs(10), watch.next()).await.expect("changes").expect("resumed");
        assert_eq!(changes.token, *watch.token());
        for change in changes.changes {
            match change.kind {
                ChangeKind::Put => seen.push(change.entry.value),
                ChangeKind::Delete => {
                    let expected: Vec<_> = (0..30).map(|n| format!("{n}")).collect();
                    assert_eq!(seen, expected);
                    writing.await.expect("the writer is done");
                    return;
                }
                ChangeKind::Expire => panic!("nothing expires"),
            }
        }
    }
}

#[tokio::test]
async fn a_token_that_is_too_old_says_where_to_start_anew() {
    let nodes = fake::cluster(1).await;
    let client = connect(&nodes).await;
    let error = client.watch(Watch::key("k").from_token("too old")).await.expect_err("compacted");
    assert_eq!(error, Error::Compacted { token: "anew".into() });
}

#[tokio::test]
async fn a_node_that_is_down_is_passed_over_at_connect() {
    let nodes = fake::cluster(1).await;
    let gone = fake::cluster(1).await.remove(0).address.clone();
    let both = Discovery::Nodes(vec![gone.clone(), nodes[0].address.clone()]);
    let client = Client::connect(ClientOptions::new(both)).await.expect("one node is up");
    client.put(("k", "v")).await.expect("put");
    let error = Client::connect(ClientOptions::new(Discovery::Nodes(vec![gone]))).await.expect_err("down");
    assert!(matches!(&error, Error::Unavailable(why) if why.contains("refused")), "{error}");
    let error = Client::connect(ClientOptions::new(Discovery::Nodes(vec!["no address".into()]))).await;
    assert!(error.is_err_and(|error| error.to_string().contains("not host:port")));
}
