//! Splits shards that have outgrown a size. Real keys share prefixes: the ranges of the beginning would put them all into
//! one shard.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::{Driver, request::Failure};

/// How often sizes are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Splits, one at a time, what this node leads and is larger than `max_bytes`.
pub(super) async fn run(driver: Driver, max_bytes: u64) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let reporting = driver.clone();
        let Ok(copies) = tokio::task::spawn_blocking(move || reporting.copies()).await else { return };
        let leading: Vec<_> = copies
            .into_iter()
            .filter(|copy| driver.shared.replica(copy.shard, copy.volume).is_some_and(|replica| replica.leads()))
            .collect();
        let Some(largest) = leading.into_iter().max_by_key(|copy| copy.size_bytes) else { continue };
        if largest.size_bytes <= max_bytes || driver.is_ceased() {
            continue;
        }
        match driver.split(largest.shard, None).await {
            Ok((child, at)) => {
                let (bytes, shard) = (largest.size_bytes, largest.shard);
                info!(%shard, %child, bytes, bound = max_bytes, at = %at.escape_ascii(), "split by size");
            }
            Err(Failure::Refused(why)) => info!(shard = %largest.shard, why, "split is put off"),
            Err(error) => warn!(shard = %largest.shard, %error, "split failed"),
        }
    }
}
