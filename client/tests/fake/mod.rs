//! Nodes of a cluster that keep their data in memory and fail as they are told: what the client is tested against.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::expect_used, clippy::panic, reason = "only tests use it, and clippy does not see that")]
#![allow(clippy::result_large_err, clippy::large_enum_variant, reason = "errors as on the wire")]

mod administration;
mod data;
mod service;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kv_client::{Client, ClientOptions, Discovery};
use kv_proto::v1::{ErrorInfo, ErrorReason, Location, cluster_server::ClusterServer, kv_server::KvServer};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;

pub use data::Data;

/// What a node does with the next request for data instead of answering it.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Refuses it; nothing is applied.
    Refuse(ErrorInfo),
    /// Applies it and breaks the connection's stream.
    ApplyAndBreak,
    /// Breaks the stream at once.
    Break,
    /// Applies it and never answers.
    ApplyInSilence,
    /// Applies it and says that its outcome is not known.
    ApplyAndSayUnknown,
    /// Answers after this time.
    Delay(Duration),
}

/// One node. Nodes of a cluster share their data.
pub struct Node {
    pub address: String,
    pub data: Arc<Mutex<Data>>,
    faults: Mutex<VecDeque<Fault>>,
    location: Mutex<Option<Location>>,
    /// Requests for data that arrived.
    pub requests: AtomicUsize,
    /// How many were under way at once, at most.
    pub most_at_once: AtomicUsize,
    at_once: AtomicUsize,
    pub cluster: Mutex<String>,
}

/// Stops a node's server when dropped.
pub struct Running {
    pub node: Arc<Node>,
    server: JoinHandle<()>,
}

impl std::ops::Deref for Running {
    type Target = Node;
    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub async fn cluster(nodes: usize) -> Vec<Running> {
    let data = Arc::new(Mutex::new(Data::default()));
    let mut running = Vec::new();
    for _ in 0..nodes {
        running.push(start(data.clone()).await);
    }
    running
}

async fn start(data: Arc<Mutex<Data>>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let node = Arc::new(Node {
        address,
        data,
        faults: Mutex::default(),
        location: Mutex::default(),
        requests: AtomicUsize::new(0),
        most_at_once: AtomicUsize::new(0),
        at_once: AtomicUsize::new(0),
        cluster: Mutex::default(),
    });
    let server = tonic::transport::Server::builder()
        .add_service(KvServer::new(service::Service(node.clone())))
        .add_service(ClusterServer::new(administration::Service(node.clone())))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(async move { server.await.expect("the server runs until it is dropped") });
    Running { node, server }
}

impl Node {
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().expect("unpoisoned").extend(faults);
    }

    pub fn has_faults(&self) -> bool {
        !self.faults.lock().expect("unpoisoned").is_empty()
    }

    /// From now on every answer says that `[start, end)` is served at `address`.
    pub fn point_to(&self, shard: u64, start: &'static str, end: &'static str, epoch: u64, address: &str) {
        let (start, end) = (start.into(), end.into());
        let location = Location { shard, start, end, epoch, node: "n".into(), address: address.into() };
        *self.location.lock().expect("unpoisoned") = Some(location);
    }

    pub fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().expect("unpoisoned")
    }

    pub fn count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn location(&self) -> Option<Location> {
        self.location.lock().expect("unpoisoned").clone()
    }

    fn next_fault(&self) -> Option<Fault> {
        self.faults.lock().expect("unpoisoned").pop_front()
    }

    fn enter(&self) {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

pub fn refusal(reason: ErrorReason) -> ErrorInfo {
    ErrorInfo { reason: reason.into(), message: format!("{reason:?}"), definite: true, ..ErrorInfo::default() }
}

/// Options for tests: short attempts, and a deadline that a slow machine keeps too.
pub fn options(nodes: &[Running]) -> ClientOptions {
    let addresses = nodes.iter().map(|node| node.address.clone()).collect();
    ClientOptions {
        deadline: Duration::from_secs(5),
        attempt_timeout: Duration::from_millis(300),
        ..ClientOptions::new(Discovery::Nodes(addresses))
    }
}

pub async fn connect(nodes: &[Running]) -> Client {
    connect_with(options(nodes)).await
}

pub async fn connect_with(options: ClientOptions) -> Client {
    Client::connect(options).await.expect("the nodes run")
}
