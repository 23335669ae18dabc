use std::{
    ops::Deref,
    sync::{Arc, Weak},
};

use kv_local::{
    Launcher, PortBlock, WorkDirectory,
    zookeeper::{Ensemble, Jars},
};
use tokio::{sync::Mutex, task::spawn_blocking};

/// One for all tests that run at the same time; the last of them ends it.
static RUNNING: Mutex<Weak<Server>> = Mutex::const_new(Weak::new());

/// A real ZooKeeper's `host:port`. It runs for as long as a test has this.
pub struct ZooKeeper(Arc<Server>);

struct Server {
    address: String,
    _ensemble: Ensemble,
    _ports: PortBlock,
    // Removed after the process that writes there is gone.
    _directory: WorkDirectory,
}

impl Deref for ZooKeeper {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0.address
    }
}

/// ZooKeeper, or `None` after saying loudly that the test is skipped: there is no Java. With `CI` set that is a failure.
pub async fn zookeeper() -> Option<ZooKeeper> {
    let mut running = RUNNING.lock().await;
    if let Some(server) = running.upgrade() {
        return Some(ZooKeeper(server));
    }
    let jars = match spawn_blocking(Jars::fetch).await.expect("it does not panic") {
        Ok(jars) => jars,
        Err(missing) => {
            let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
            assert!(!ci, "not skipped, since CI is set: {missing}");
            eprintln!("SKIPPED: {missing}");
            return None;
        }
    };
    let directory = WorkDirectory::temporary().expect("a directory");
    let mut ports = PortBlock::claim(None).expect("free ports");
    let launcher = Arc::new(Launcher::new(directory.process_ids()).expect("a thread"));
    let ensemble = Ensemble::start(jars, &directory, 1, &mut ports, launcher).await.expect("it starts");
    let address = ensemble.addresses()[0].to_string();
    let server = Arc::new(Server { address, _ensemble: ensemble, _ports: ports, _directory: directory });
    *running = Arc::downgrade(&server);
    Some(ZooKeeper(server))
}
