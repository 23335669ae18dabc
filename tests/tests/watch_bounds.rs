//! Watches at their bounds: too many, too late, too slow, and of a node that stops.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::time::Duration;

use bytes::Bytes;
use kv_client::{ChangeKind, Client, Error, Watch};
use kv_local::Options;
use kv_proto::v1::{ErrorInfo, ErrorReason, WatchEvents, WatchRequest, kv_client::KvClient};
use kv_tests::{TestCluster, ledger::key_in, options, run, wire};
use tokio::time::timeout;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};

/// What means "stuck".
const STUCK: Duration = Duration::from_secs(30);
const MAX_WATCHERS: usize = 4;
const VALUE_BYTES: usize = 128 << 10;

#[test]
fn watches_end_at_their_bounds_and_say_how_to_go_on() {
    run(async {
        let mut node_arguments = options(3).node_arguments;
        node_arguments.extend(["--max-watchers".to_owned(), MAX_WATCHERS.to_string()]);
        let mut cluster = TestCluster::start("watch-bounds", Options { node_arguments, ..options(3) }).await;
        let client = cluster.client().await;
        too_many(&cluster).await;
        too_late(&cluster, &client).await;
        too_slow(&cluster, &client).await;
        wrong(&cluster).await;
        a_node_stops(&mut cluster, &client).await;
    });
}

async fn too_many(cluster: &TestCluster) {
    let mut open = Vec::new();
    for _ in 0..MAX_WATCHERS {
        open.push(watch(cluster, 0, WatchRequest::default()).await.expect("there is room"));
    }
    let refused = watch(cluster, 0, WatchRequest::default()).await.expect_err("the bound is reached");
    let info = wire::info(&refused).expect("the node's own words");
    assert_eq!(info.reason(), ErrorReason::Exhausted);
    assert!(info.message.contains("--max-watchers"), "{}", info.message);
    // Each has a token before anything changes, and the bound is on each node.
    for stream in &mut open {
        assert!(!next(stream).await.expect("it is open").token.is_empty());
    }
    watch(cluster, 1, WatchRequest::default()).await.expect("another node has room");
    drop(open);
    kv_tests::wait::until("there is room again", STUCK, async || {
        watch(cluster, 0, WatchRequest::default()).await.map(drop).map_err(|status| status.to_string())
    })
    .await;
}

async fn too_late(cluster: &TestCluster, client: &Client) {
    let shard = cluster.describe().await.shards.swap_remove(0);
    let key = |name: &str| Bytes::from(key_in(&shard, name).expect("there is room"));
    let mut stream = watch(cluster, 0, WatchRequest::default()).await.expect("there is room");
    let token = next(&mut stream).await.expect("it is open").token;
    drop(stream);
    for number in 0..20 {
        client.put((key(&format!("late-{number}")), vec![7; VALUE_BYTES])).await.expect("it is written");
    }
    let mut late = client.watch(Watch::all().from_token(token)).await.expect("a node accepts it");
    let error = timeout(STUCK, late.next()).await.expect("in time").expect_err("the first changes are not kept");
    let Error::Compacted { token } = error else { panic!("{error:?}") };
    let mut anew = client.watch(Watch::all().from_token(token)).await.expect("a node accepts it");
    client.put((key("late-then"), "value")).await.expect("it is written");
    let changes = timeout(STUCK, anew.next()).await.expect("in time").expect("it goes on").changes;
    let keys: Vec<_> = changes.iter().map(|change| (change.kind, &change.entry.key)).collect();
    assert_eq!(keys, [(ChangeKind::Put, &key("late-then"))], "what came before the token is not told");
}

/// The client's window of 64 KiB is full at once, then the queue, and for a while nothing is taken.
async fn too_slow(cluster: &TestCluster, client: &Client) {
    let shards = cluster.describe().await.shards;
    let mut slow = watch(cluster, 0, WatchRequest::default()).await.expect("there is room");
    assert!(!next(&mut slow).await.expect("it is open").token.is_empty());
    let mut written = 0;
    for _ in 0..60 {
        for shard in &shards {
            written += 1;
            let key = key_in(shard, &format!("slow-{written:04}")).expect("there is room");
            client.put((key, vec![7; VALUE_BYTES])).await.expect("it is written");
        }
    }
    tokio::time::sleep(Duration::from_secs(7)).await;
    let mut told = 0;
    let refused = loop {
        match next(&mut slow).await {
            Ok(WatchEvents { events, token }) => {
                assert!(!token.is_empty());
                told += events.len();
            }
            Err(info) => break info,
        }
    };
    eprintln!("a slow watcher was told {told} of {written} changes, then: {}", refused.message);
    assert_eq!(refused.reason(), ErrorReason::Exhausted, "{}", refused.message);
    assert!(refused.message.contains("16 messages") && told < written, "{}", refused.message);
    assert!(!refused.boundary.is_empty(), "it can go on from a token");
    let again = WatchRequest { token: refused.boundary, ..WatchRequest::default() };
    watch(cluster, 1, again).await.expect("the token is one");
}

async fn wrong(cluster: &TestCluster) {
    let refused = async |request| {
        let status = watch(cluster, 0, request).await.expect_err("it is refused");
        let info = wire::info(&status).expect("the node's own words");
        assert_eq!(info.reason(), ErrorReason::Invalid, "{}", info.message);
        info.message
    };
    let token = refused(WatchRequest { token: "foreign".into(), ..WatchRequest::default() }).await;
    assert!(token.contains("token"), "{token}");
    let empty = refused(WatchRequest { start: "b".into(), end: "a".into(), ..WatchRequest::default() }).await;
    assert!(empty.contains("[b, a)"), "{empty}");
    let both = refused(WatchRequest { start: "b".into(), prefix: "a".into(), ..WatchRequest::default() }).await;
    assert!(both.contains("prefix"), "{both}");
}

async fn a_node_stops(cluster: &mut TestCluster, client: &Client) {
    let mut at_node = watch(cluster, 2, WatchRequest::default()).await.expect("there is room");
    assert!(!next(&mut at_node).await.expect("it is open").token.is_empty());
    let mut watched = client.watch(Watch::key("stops")).await.expect("a node accepts it");
    cluster.local.leave(2).await.expect("it runs");
    let ended = next(&mut at_node).await.expect_err("its node has stopped");
    assert_eq!(ended.reason(), ErrorReason::NotAvailable);
    assert!(ended.message.contains("closing"), "{}", ended.message);
    client.put(("stops", "1")).await.expect("it is written");
    let changes = timeout(STUCK, watched.next()).await.expect("in time").expect("it goes on").changes;
    assert_eq!(changes[0].entry.key, "stops");
}

/// A watch without the client library: nothing is resumed.
async fn watch(cluster: &TestCluster, node: usize, request: WatchRequest) -> Result<Streaming<WatchEvents>, Status> {
    let address = cluster.local.nodes()[node].advertised_address();
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("it is a URL");
    let mut kv = KvClient::<Channel>::new(endpoint.connect_lazy());
    timeout(STUCK, kv.watch(request)).await.expect("in time").map(tonic::Response::into_inner)
}

/// The next message that has changes or is the first; the node's own words when there is none.
async fn next(stream: &mut Streaming<WatchEvents>) -> Result<WatchEvents, ErrorInfo> {
    match timeout(STUCK, stream.message()).await.expect("in time") {
        Ok(message) => Ok(message.expect("a watch does not end by itself")),
        Err(status) => Err(wire::info(&status).unwrap_or_else(|| panic!("the node's own words: {status:?}"))),
    }
}
