use kv_local::chain;

use crate::{
    cluster::{Cluster, Company},
    error::Error,
    images::Image,
    progress::say,
};

/// Runs a test that needs a cluster for itself, with `images` on its machines. Where there is none and none can be made it is skipped,
/// and says so; with `CI` set it fails.
///
/// # Panics
/// As the test does, and if a cluster that could be made is not.
pub fn run(images: &[Image], test: impl AsyncFnOnce(&Cluster)) {
    run_in(Company::Alone, images, test);
}

/// Runs a test that keeps to namespaces of its own and disturbs neither machines nor the operator: others like it may run beside it.
///
/// # Panics
/// As [`run`].
pub fn run_beside(images: &[Image], test: impl AsyncFnOnce(&Cluster)) {
    run_in(Company::Others, images, test);
}

#[allow(clippy::panic, reason = "this is for tests")]
fn run_in(company: Company, images: &[Image], test: impl AsyncFnOnce(&Cluster)) {
    let cluster = match Cluster::of_a_suite(company) {
        Ok(cluster) => cluster,
        Err(missing @ Error::Unavailable { .. }) if std::env::var_os("CI").is_none_or(|value| value.is_empty()) => {
            return say(&format!("\n======== SKIPPED: {missing} ========\n"));
        }
        Err(error) => panic!("no cluster: {}", chain(&error)),
    };
    if let Err(error) = cluster.load_images(images) {
        panic!("no images: {}", chain(&error));
    }
    match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime.block_on(Box::pin(test(&cluster))),
        Err(error) => panic!("no threads: {error}"),
    }
}
