//! Measurements other than loads, each on a cluster of its own, started anew and empty.

mod catch_up;
mod endurance;
mod growth;
mod handover;
mod start;

use std::{ops::Range, time::Duration};

use kv_client::keys::KEY_BYTES;

pub(crate) use catch_up::catch_up;
pub(crate) use endurance::endurance;
pub(crate) use growth::growth;
pub(crate) use handover::handover;
pub(crate) use start::start;

use crate::{
    disk::check_room,
    error::Result,
    fill::fill,
    system::{Setup, System},
};

/// How much of each there is.
#[derive(Clone, Debug)]
pub struct Extent {
    /// Planned handovers.
    pub handovers: usize,
    /// Bytes of keys and values that a node is started with.
    pub start_bytes: u64,
    /// How long nodes are left alone before their memory is looked at.
    pub rest: Duration,
    /// Bytes of keys and values that a node misses, and has before.
    pub catch_up_bytes: u64,
    /// Bytes of keys and values under the long load.
    pub endurance_bytes: u64,
    /// How long that load is.
    pub endurance: Duration,
    /// Numbers of keys; the first one is what the others are compared with.
    pub growth_keys: Vec<u64>,
    /// Numbers of shards; the first one is what the others are compared with.
    pub growth_shards: Vec<usize>,
}

/// Bytes of each value where much data is needed and its pieces don't matter: with fewer of 1 KiB, ZooKeeper would write a
/// snapshot of everything so often that its disk would be measured.
const LARGE_VALUE_BYTES: usize = 4 << 10;
/// What a file system must have room for, by the live data: three copies, each with what its log, its snapshots or its
/// compactions hold beside.
const ROOM: u64 = 8;
/// Writers' requests in flight when data is written before.
const IN_FLIGHT: usize = 256;

/// The numbers of so many bytes of keys and values, from the `part`th such amount on.
fn numbers(bytes: u64, value_bytes: usize, part: u64) -> Range<u64> {
    let keys = (bytes / (KEY_BYTES + value_bytes) as u64).max(1);
    keys * part..keys * (part + 1)
}

/// Writes keys of these numbers by a system's own clients.
async fn write<S: System>(system: &mut S, numbers: Range<u64>, value_bytes: usize) -> Result<()> {
    let writers = system.writers(IN_FLIGHT).await?;
    fill(&writers, numbers, value_bytes).await
}

/// Starts a system for so many bytes of data, if the disk has room for them.
async fn begin<S: System>(variant: S::Variant, setup: Setup<'_>, live_bytes: u64) -> Result<S> {
    let parent = setup.directory.parent().unwrap_or(setup.directory);
    check_room(parent, live_bytes.saturating_mul(ROOM))?;
    S::start(variant, Setup { live_bytes, ..setup }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_follow_each_other() {
        assert_eq!((numbers(4_112 * 3, 4_096, 0), numbers(4_112 * 3, 4_096, 2)), (0..3, 6..9));
        assert_eq!(numbers(1, 4_096, 0), 0..1);
    }
}
