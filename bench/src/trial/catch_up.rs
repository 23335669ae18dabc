use std::time::Instant;

use super::{Extent, LARGE_VALUE_BYTES, begin, numbers, write};
use crate::{
    error::Result,
    report::CatchUp,
    system::{LOADED_WITHIN, Setup, System, until},
};

/// How often the node is away.
const ROUNDS: u64 = 3;

/// A node is killed, others are written to, and it is started again: the time until it has everything. Nothing else is asked
/// of the system meanwhile.
pub(crate) async fn catch_up<S: System>(variant: S::Variant, setup: Setup<'_>, extent: &Extent) -> Result<CatchUp> {
    let bytes = extent.catch_up_bytes;
    let mut system: S = begin(variant, setup, bytes.saturating_mul(ROUNDS + 1)).await?;
    write(&mut system, numbers(bytes, LARGE_VALUE_BYTES, 0), LARGE_VALUE_BYTES).await?;
    let mut millis = Vec::new();
    for round in 1..=ROUNDS {
        let node = system.follower().await?;
        system.kill(node)?;
        write(&mut system, numbers(bytes, LARGE_VALUE_BYTES, round), LARGE_VALUE_BYTES).await?;
        let position = system.position().await?;
        let begun = Instant::now();
        system.launch(node)?;
        until("a node does not catch up", LOADED_WITHIN, async || system.has(node, position).await).await?;
        millis.push(begun.elapsed().as_secs_f64() * 1e3);
        system.wait_whole(LOADED_WITHIN).await?;
    }
    system.stop().await?;
    Ok(CatchUp { live_bytes: bytes, missed_bytes: bytes, value_bytes: LARGE_VALUE_BYTES, millis })
}
