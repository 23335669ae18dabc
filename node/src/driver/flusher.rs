//! Requests that come one by one, each with a task of its own, go to the log and to the copies together.

use tokio::task::yield_now;

use super::Driver;

/// Flushes when it is asked to, after the tasks that could run by then: each of them may bring another request. The runtime
/// lets it wait for a few dozen of them at most, and for none when there is nothing else to do.
pub(super) async fn run(driver: Driver) {
    loop {
        driver.shared.flush_due.notified().await;
        yield_now().await;
        driver.flush();
    }
}
