//! Waiting for conditions, with a bound.

use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `condition` holds, and returns how long that took.
///
/// # Panics
/// After `within`, with what the condition said last.
pub async fn until(what: &str, within: Duration, mut condition: impl AsyncFnMut() -> Result<(), String>) -> Duration {
    let started = Instant::now();
    loop {
        match condition().await {
            Ok(()) => return started.elapsed(),
            Err(why) => assert!(started.elapsed() < within, "{what}: not within {within:?}: {why}"),
        }
        sleep(LOOK_EVERY).await;
    }
}
