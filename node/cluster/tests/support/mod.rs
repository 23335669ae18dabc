//! What the tests against a real ZooKeeper share.

mod proxy;
mod zookeeper;

use std::{future::Future, sync::Arc, time::Duration};

use kv_cluster::{Bootstrap, Cluster, ClusterEvent, ClusterOptions, ControlOptions, View};
use kv_types::{NodeName, VolumeId};
use tokio::{sync::mpsc, time::timeout};
use uuid::Uuid;

pub use proxy::{Mode, Proxy};
pub use zookeeper::zookeeper;

/// Longer means stuck.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A cluster's root of its own for each test.
pub fn root() -> String {
    format!("/kv-test/{}", Uuid::new_v4().simple())
}

pub fn name(node: usize) -> NodeName {
    NodeName::new(format!("demo-{node}")).expect("valid")
}

pub struct Node {
    pub cluster: Cluster,
    pub events: mpsc::Receiver<ClusterEvent>,
    pub proxy: Proxy,
    pub options: ClusterOptions,
}

/// Settings of a node whose way to ZooKeeper leads through a proxy of its own.
pub async fn options(server: &str, root: &str, node: usize) -> (ClusterOptions, Proxy) {
    let _ = tracing_subscriber::fmt().with_env_filter("kv_cluster=debug").with_test_writer().try_init();
    let proxy = Proxy::start(server).await;
    let connect = format!("{}{root}", proxy.address());
    let volume = || VolumeId(Uuid::new_v4());
    let address = format!("127.0.0.1:{}", 9000 + node);
    let mut options = ClusterOptions::new(connect, name(node), address, volume(), volume());
    options.session_timeout = Duration::from_secs(2);
    options.bootstrap = Bootstrap { initial_shards: 4, expected_nodes: 2, ..Bootstrap::default() };
    options.control = ControlOptions { rehome_after: Duration::from_secs(5), ..ControlOptions::default() };
    (options, proxy)
}

pub async fn start(server: &str, root: &str, node: usize) -> Node {
    let (options, proxy) = options(server, root, node).await;
    start_with(options, proxy).await
}

pub async fn start_with(options: ClusterOptions, proxy: Proxy) -> Node {
    let (cluster, events) = within("start", Cluster::start(options.clone())).await.expect("starts");
    Node { cluster, events, proxy, options }
}

/// Nodes that are registered in order, with shards made.
pub async fn registered(server: &str, root: &str, nodes: usize) -> Vec<Node> {
    let mut started = Vec::new();
    for node in 0..nodes {
        let node = start(server, root, node).await;
        within("register", node.cluster.register()).await.expect("registers");
        started.push(node);
    }
    for node in &started {
        node.sees("all members and shards", |view| {
            view.members.len() == nodes && view.master.is_some() && view.shards.len() == 4 && view.placements.len() == 4
        })
        .await;
    }
    started
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("{what}: not within {LIMIT:?}"))
}

impl Node {
    /// Waits until the node's view is so.
    pub async fn sees(&self, what: &str, is_so: impl Fn(&View) -> bool) -> Arc<View> {
        let mut views = self.cluster.views();
        let seen = timeout(LIMIT, views.wait_for(|view| is_so(view))).await;
        match seen {
            Ok(view) => Arc::clone(&view.expect("the watcher lives")),
            Err(_) => panic!("{what}: not seen within {LIMIT:?} but {:#?}", self.cluster.view()),
        }
    }

    /// Waits for an event.
    pub async fn hears<T>(&mut self, what: &str, mut wanted: impl FnMut(ClusterEvent) -> Option<T>) -> T {
        within(what, async {
            loop {
                let event = self.events.recv().await.expect("the watcher lives");
                if let Some(value) = wanted(event) {
                    return value;
                }
            }
        })
        .await
    }
}
