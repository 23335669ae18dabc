//! Keys with a deadline: they live until their delete is committed, and copies never disagree.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::time::{Duration, Instant};

use kv_client::{ChangeKind, Client, Put, Watch};
use kv_tests::{TestCluster, ledger::key_in, options, run, wait};

const TTL: Duration = Duration::from_secs(2);
/// What means "stuck".
const STUCK: Duration = Duration::from_secs(20);

#[test]
fn keys_expire_by_the_log_and_across_a_failover() {
    run(async {
        let mut cluster = TestCluster::start("ttl", options(3)).await;
        let client = cluster.client().await;
        let shard = cluster.describe().await.shards.swap_remove(0);
        let key = |name: &str| key_in(&shard, name).expect("there is room");
        let mut watch = client.watch(Watch::prefix(key("ttl-"))).await.expect("a node accepts it");

        let at = Instant::now();
        for name in ["ttl-short", "ttl-overwritten"] {
            client.put(Put::new(key(name), "value").ttl(TTL)).await.expect("it is written");
        }
        let entry = client.get(key("ttl-short")).await.expect("it is read").expect("it lives");
        assert!(entry.expires_at_millis.is_some(), "{entry:?}");
        client.put((key("ttl-overwritten"), "without a deadline")).await.expect("it is written");
        gone(&client, &key("ttl-short")).await;
        let lived = at.elapsed();
        assert!(lived >= TTL, "it lived for {lived:?} only");
        eprintln!("a key with a time to live of {TTL:?} lived for {lived:?}");
        let mut expired = Vec::new();
        wait::until("the watch tells of the end", STUCK, async || {
            let changes = watch.next().await.map_err(|error| error.to_string())?.changes;
            expired.extend(changes.into_iter().filter(|change| change.kind == ChangeKind::Expire));
            if expired.is_empty() { Err("nothing has expired".into()) } else { Ok(()) }
        })
        .await;
        assert_eq!(expired.len(), 1, "{expired:?}");
        assert_eq!(expired[0].entry.key, key("ttl-short"));

        let kept = client.get(key("ttl-overwritten")).await.expect("it is read").expect("its deadline is gone");
        assert_eq!(kept.expires_at_millis, None);

        // The deadline outlives the primary that gave it, and what expired is gone on the copy as well.
        client.put(Put::new(key("ttl-failover"), "value").ttl(TTL * 2)).await.expect("it is written");
        let primary = cluster.local.index_of(&shard.primary).expect("it is one of the nodes");
        cluster.local.kill(primary).expect("it runs");
        let found = client.get(key("ttl-failover")).await.expect("the backup serves");
        assert!(found.is_some_and(|entry| entry.expires_at_millis.is_some()), "it lives on the backup");
        assert_eq!(client.get(key("ttl-short")).await.expect("the backup serves"), None);
        gone(&client, &key("ttl-failover")).await;
        assert!(client.get(key("ttl-overwritten")).await.expect("the backup serves").is_some());
        cluster.local.start_node(primary).expect("it is stopped");
        cluster.until_whole("a restart").await;
        assert_eq!(client.get(key("ttl-failover")).await.expect("the home serves"), None);
    });
}

async fn gone(client: &Client, key: &[u8]) {
    wait::until("the key is gone", STUCK, async || match client.get(key.to_vec()).await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}
