use std::sync::{Mutex, PoisonError};

use kv_local::zookeeper::Jars;
use tokio::runtime;

/// The machine is small and some tests measure: one test of a binary at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs a test that needs a real ZooKeeper. Where there is none it is skipped, and says so; with `CI` set it fails.
///
/// # Panics
/// As the test does.
pub fn run(test: impl Future<Output = ()>) {
    // A test that failed has poisoned it, which says nothing about the next one.
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(missing) = Jars::fetch() {
        return skip(&missing.to_string());
    }
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads can be started").block_on(Box::pin(test));
}

/// Says that something was not tested.
///
/// # Panics
/// If `CI` is set: there everything is to be tested.
pub fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|value| value.is_empty()), "not skipped, since CI is set: {why}");
    // Past the test harness, which shows nothing of tests that pass.
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "\n======== SKIPPED: {why} ========\n");
}
