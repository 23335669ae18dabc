use kv_local::chain;

use crate::{cluster::Cluster, error::Error, images::Image, progress::say};

/// Runs a test that needs a cluster, with `images` on its machines. Where there is none and none can be made it is skipped, and
/// says so; with `CI` set it fails.
///
/// # Panics
/// As the test does, and if a cluster that could be made is not.
#[allow(clippy::panic, reason = "this is for tests")]
pub fn run(images: &[Image], test: impl AsyncFnOnce(&Cluster)) {
    let cluster = match Cluster::shared() {
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
