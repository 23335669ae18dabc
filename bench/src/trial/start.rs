use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Extent, LARGE_VALUE_BYTES, begin, numbers, write};
use crate::{
    error::{Error, Result},
    memory,
    report::{Memory, Start},
    system::{LOADED_WITHIN, NODES, Setup, System, until},
};

/// How often the node is started.
const STARTS: usize = 3;

/// Memory of nodes at rest, and the time that one with data takes to start. Its files are in the kernel's cache, as after an
/// update and not as after a loss of power.
pub(crate) async fn start<S: System>(variant: S::Variant, setup: Setup<'_>, extent: &Extent) -> Result<Start> {
    let (live_bytes, rest) = (extent.start_bytes, extent.rest);
    let mut system: S = begin(variant, setup, live_bytes).await?;
    let empty = at_rest(&mut system, rest).await?;
    write(&mut system, numbers(live_bytes, LARGE_VALUE_BYTES, 0), LARGE_VALUE_BYTES).await?;
    let full = at_rest(&mut system, rest).await?;
    let node = system.follower().await?;
    let mut millis = Vec::new();
    for _ in 0..STARTS {
        system.end(node).await?;
        let begun = Instant::now();
        system.launch(node)?;
        until("a node does not serve", LOADED_WITHIN, async || system.serves(node).await).await?;
        millis.push(begun.elapsed().as_secs_f64() * 1e3);
        system.wait_whole(LOADED_WITHIN).await?;
    }
    let started = at_rest(&mut system, rest).await?.get(node).copied();
    system.stop().await?;
    let rest_seconds = rest.as_secs_f64();
    Ok(Start { live_bytes, value_bytes: LARGE_VALUE_BYTES, rest_seconds, empty, full, started, millis })
}

/// Of each node, after it was left alone.
async fn at_rest<S: System>(system: &mut S, rest: Duration) -> Result<Vec<Memory>> {
    sleep(rest).await;
    let of = |node| system.process(node).and_then(memory::of);
    let found: Option<Vec<_>> = (0..NODES).map(of).collect();
    found.ok_or_else(|| Error::request("a node is gone, and should be at rest"))
}
