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

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, PoisonError},
        time::Duration,
    };

    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::driver::{fixture, shared::Shared};

    fn due(shared: &Shared) -> usize {
        shared.dirty.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// On the runtime that nodes have, where a task that is woken goes before those that wait.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_tasks_bring_that_can_run_is_flushed_together() {
        const TASKS: usize = 16;
        let folder = tempfile::tempdir().expect("a folder");
        let (shared, _) = fixture::open(folder.path());
        let replica = shared.make_empty(fixture::SHARD, &shared.volumes[0], false);
        let flusher = tokio::spawn(run(Driver { shared: Arc::clone(&shared) }));
        let bring = {
            let shared = Arc::clone(&shared);
            async move {
                let brings = |_| {
                    let (shared, replica) = (Arc::clone(&shared), Arc::clone(&replica));
                    tokio::spawn(async move {
                        let before = due(&shared);
                        shared.dirty.lock().unwrap_or_else(PoisonError::into_inner).push(replica);
                        shared.flush_due.notify_one();
                        before
                    })
                };
                let tasks: Vec<_> = (0..TASKS).map(brings).collect();
                let mut before = Vec::new();
                for task in tasks {
                    before.push(task.await.expect("ends"));
                }
                before
            }
        };
        let mut before = tokio::spawn(bring).await.expect("ends");
        before.sort_unstable();
        assert_eq!(before, (0..TASKS).collect::<Vec<_>>(), "none was flushed alone");
        let flushed = async {
            while due(&shared) > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(10), flushed).await.expect("it is flushed");
        flusher.abort();
    }
}
