//! Splits shards that have outgrown a size. Real keys share prefixes: the ranges of the beginning would put them all into
//! one shard.

use std::{collections::BTreeMap, time::Duration};

use kv_types::ShardId;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{debug, info, warn};

use super::{
    Driver,
    request::{CopyReport, Failure},
};

/// How often sizes are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How long nothing is split after a split that could not be done: each one reads its shard first.
const PUT_OFF: Duration = Duration::from_secs(5);

/// Splits, one at a time, what this node leads and is larger than `max_bytes`.
pub(super) async fn run(driver: Driver, max_bytes: u64) {
    let mut splitter = Splitter { max_bytes, small: BTreeMap::new() };
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(leading) = driver.serving_copies().await else { return };
        let Some(largest) = splitter.choose(leading) else { continue };
        if !driver.is_ceased() && splitter.split(&driver, &largest).await.is_err() {
            sleep(PUT_OFF).await;
        }
    }
}

struct Splitter {
    max_bytes: u64,
    /// What seemed large and is not: the table still held older values. With the size that it seemed to have.
    small: BTreeMap<ShardId, u64>,
}

/// A split could not be done.
struct PutOff;

impl Splitter {
    /// The largest that seems to be above the bound, but for what was read and found small, and has not grown since.
    fn choose(&mut self, leading: Vec<CopyReport>) -> Option<CopyReport> {
        self.small.retain(|shard, _| leading.iter().any(|copy| copy.shard == *shard));
        let large = leading.into_iter().filter(|copy| {
            let seemed = self.small.get_mut(&copy.shard).map(|seemed| {
                *seemed = copy.size_bytes.min(*seemed);
                *seemed
            });
            seemed_large(copy.size_bytes, self.max_bytes, seemed)
        });
        large.max_by_key(|copy| copy.size_bytes)
    }

    async fn split(&mut self, driver: &Driver, largest: &CopyReport) -> Result<(), PutOff> {
        let (shard, seems, bound) = (largest.shard, largest.size_bytes, self.max_bytes);
        let split = async {
            let measured = driver.measure(shard).await?;
            if measured.bytes < bound - bound / 4 {
                return Ok(Err(measured.bytes));
            }
            let middle = measured.middle;
            let middle = middle.ok_or_else(|| Failure::Refused("all of it is one key".to_owned()))?;
            let (child, at) = driver.split(shard, Some(middle)).await?;
            info!(%shard, %child, bytes = measured.bytes, bound, at = %at.escape_ascii(), "split by size");
            Ok(Ok(()))
        };
        match split.await {
            Ok(Ok(())) => drop(self.small.remove(&shard)),
            Ok(Err(bytes)) => {
                debug!(%shard, seems, bytes, bound, "not split: the rest is older values");
                self.small.insert(shard, seems);
            }
            Err(failure) => {
                match failure {
                    Failure::Refused(why) => info!(%shard, why, "split is put off"),
                    error => warn!(%shard, %error, "split failed"),
                }
                return Err(PutOff);
            }
        }
        Ok(())
    }
}

/// `seemed`: the size at which the shard was read and found small.
fn seemed_large(bytes: u64, bound: u64, seemed: Option<u64>) -> bool {
    bytes > bound && seemed.is_none_or(|seemed| bytes > seemed.saturating_add(bound / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_small_is_read_again_when_it_has_grown() {
        assert!(seemed_large(101, 100, None) && !seemed_large(100, 100, None));
        assert!(!seemed_large(160, 100, Some(110)));
        assert!(seemed_large(161, 100, Some(110)));
    }
}
