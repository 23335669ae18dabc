//! Tells the master how large shards are, so that it balances by what the nodes have to carry.

use std::{sync::PoisonError, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use super::Driver;

/// How often sizes are told.
const EVERY: Duration = Duration::from_secs(5);

/// Tells all nodes the sizes of what is served here: any of them may be master. Each tells its own part of the cluster what
/// it has heard; only the master's acts on it.
pub(super) async fn run(driver: Driver) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(copies) = driver.serving_copies().await else { return };
        let shared = &driver.shared;
        let sizes: Vec<_> = copies.into_iter().map(|copy| (copy.shard, copy.size_bytes)).collect();
        shared.note_sizes(sizes.iter().copied());
        shared.peers.send_heartbeats(&shared.state(&shared.peers.sight(shared.now()), sizes));
        let shards = driver.cluster().view().shards.clone();
        let known = {
            let mut sizes = shared.sizes.lock().unwrap_or_else(PoisonError::into_inner);
            sizes.retain(|shard, _| shards.contains_key(shard));
            sizes.clone()
        };
        if let Err(error) = driver.cluster().report_sizes(known).await {
            debug!(%error, "sizes were not taken");
        }
    }
}
