use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kv_proto::v1::{Location, pipeline_request::Request, pipeline_response::Response};
use tokio::time::Instant;

use crate::{
    Batch, BatchAnswer, ClientOptions, Delete, DeleteAnswer, Discovery, Entry, Error, Get, Put, PutAnswer, Result,
    connection::Pool,
    discovery::{self, ClusterState},
    nodes::Nodes,
    routing::Routing,
    sessions::Sessions,
};

/// A client of one cluster. Cheap to clone: clones share connections, routes and sessions.
///
/// Dropping the future of a write leaves its outcome unknown.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) deadline: Duration,
    pub(crate) sessions: bool,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub options: ClientOptions,
    pub cluster: String,
    pub nodes: Nodes,
    pub pool: Pool,
    pub routing: Routing,
    pub sessions: Sessions,
    /// ZooKeeper is being asked for nodes.
    looking_up: AtomicBool,
    /// ZooKeeper said last that there is no master.
    dead: AtomicBool,
}

impl Client {
    /// The pause between two look-ups in ZooKeeper, at least.
    const LOOK_UP_PAUSE: Duration = Duration::from_secs(1);

    /// Finds the cluster and connects to one of its nodes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for options out of bounds, [`Error::ClusterDead`] if ZooKeeper holds no master,
    /// [`Error::ZooKeeper`] if it can't be asked, [`Error::Unavailable`] if no node can be reached by the deadline.
    pub async fn connect(options: ClientOptions) -> Result<Self> {
        options.validate()?;
        let addresses = match &options.discovery {
            Discovery::Nodes(addresses) => addresses.clone(),
            Discovery::ZooKeeper(zookeeper) => match discovery::look_up(zookeeper, options.deadline).await? {
                ClusterState::Dead => return Err(Error::ClusterDead),
                state @ ClusterState::Alive { .. } => state.addresses(),
            },
        };
        let client =
            Self { deadline: options.deadline, sessions: options.sessions, shared: Shared::new(options, addresses) };
        let deadline = Instant::now() + client.deadline;
        let mut last = Error::Unavailable("no node is known".into());
        for address in client.shared.nodes.addresses() {
            match client.shared.pool.get(&address, &client.shared.options, deadline).await {
                Ok(_) => return Ok(client),
                Err(failure) => {
                    client.shared.nodes.shun(&address, std::time::Instant::now());
                    last = failure.into_error();
                }
            }
        }
        Err(last)
    }

    /// The same client with another deadline for its requests (see [`ClientOptions::deadline`]).
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        let deadline = deadline.min(ClientOptions::MAX_DURATION);
        Self { deadline, ..self.clone() }
    }

    /// How long a request of this client may take.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The same client, its writes with or without a session (see [`ClientOptions::sessions`]).
    #[must_use]
    pub fn with_sessions(&self, sessions: bool) -> Self {
        Self { sessions, ..self.clone() }
    }

    /// The last acknowledged value of a key; `None` if it does not exist.
    ///
    /// # Errors
    /// See [`Error`]; never [`Error::OutcomeUnknown`].
    pub async fn get(&self, get: impl Into<Get>) -> Result<Option<Entry>> {
        let Get(request) = get.into();
        let key = request.key.clone();
        match self.read(&key, Request::Get(request)).await? {
            Response::Get(answer) => Ok(answer.entry.map(Entry::from)),
            other => Err(Error::Fault(unexpected(&other))),
        }
    }

    /// Sets a key.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::RevisionMismatch`] if the key has another revision than the put expects.
    pub async fn put(&self, put: impl Into<Put>) -> Result<PutAnswer> {
        let Put(request) = put.into();
        let key = request.key.clone();
        match self.write(&key, Request::Put(request)).await? {
            Response::Put(answer) => {
                Ok(PutAnswer { revision: answer.revision, previous: answer.previous.map(Entry::from) })
            }
            other => Err(Error::OutcomeUnknown(unexpected(&other))),
        }
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::RevisionMismatch`] if the key has another revision than the delete expects.
    pub async fn delete(&self, delete: impl Into<Delete>) -> Result<DeleteAnswer> {
        let Delete(request) = delete.into();
        let key = request.key.clone();
        match self.write(&key, Request::Delete(request)).await? {
            Response::Delete(answer) => Ok(DeleteAnswer {
                existed: answer.existed,
                revision: answer.revision,
                previous: answer.previous.map(Entry::from),
            }),
            other => Err(Error::OutcomeUnknown(unexpected(&other))),
        }
    }

    /// Applies all operations of a batch or none.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::CrossShard`] if its keys are of several shards, [`Error::RevisionMismatch`] if a key has
    /// another revision than expected, [`Error::Invalid`] if the batch is empty.
    pub async fn batch(&self, batch: Batch) -> Result<BatchAnswer> {
        let key = batch.first_key().ok_or_else(|| Error::Invalid("the batch is empty: add an operation".into()))?;
        match self.write(&key, Request::Batch(batch.0)).await? {
            Response::Batch(answer) => Ok(BatchAnswer { revision: answer.revision }),
            other => Err(Error::OutcomeUnknown(unexpected(&other))),
        }
    }

    /// Asks a node who serves what, so that the first request of each shard goes straight to its primary.
    ///
    /// # Errors
    /// As of [`Client::describe`].
    pub async fn learn_routes(&self) -> Result<()> {
        let description = self.describe(false).await?;
        let address = |name: &str| {
            let node = description.nodes.iter().find(|node| node.node == name);
            node.map(|node| node.address.clone()).unwrap_or_default()
        };
        for node in &description.nodes {
            self.shared.nodes.add(&node.address);
        }
        for shard in description.shards.iter().filter(|shard| shard.available) {
            self.shared.learn(Location {
                shard: shard.shard,
                start: shard.start.clone(),
                end: shard.end.clone(),
                epoch: shard.epoch,
                node: shard.primary.clone(),
                address: address(&shard.primary),
            });
        }
        Ok(())
    }
}

impl Shared {
    fn new(options: ClientOptions, addresses: Vec<String>) -> Arc<Self> {
        Arc::new(Self {
            cluster: options.cluster.clone().unwrap_or_default(),
            nodes: Nodes::new(addresses),
            pool: Pool::default(),
            routing: Routing::new(),
            sessions: Sessions::new(),
            looking_up: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            options,
        })
    }

    /// Takes a location from an answer into account.
    pub fn learn(&self, location: Location) {
        if self.options.follow_locations {
            self.nodes.add(&location.address);
            self.routing.learn(location);
        }
    }

    /// Asks ZooKeeper in the background for nodes that are not known yet, at most one look-up at a time.
    pub fn look_up_nodes(self: &Arc<Self>) {
        let Discovery::ZooKeeper(_) = self.options.discovery else {
            return;
        };
        if self.looking_up.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = Arc::downgrade(self);
        let (options, deadline) = (self.options.clone(), self.options.deadline);
        tokio::spawn(async move {
            let Discovery::ZooKeeper(zookeeper) = &options.discovery else {
                return;
            };
            let state = discovery::look_up(zookeeper, deadline).await;
            if let (Ok(state), Some(shared)) = (&state, shared.upgrade()) {
                shared.dead.store(*state == ClusterState::Dead, Ordering::Release);
                for address in state.addresses() {
                    shared.nodes.add(&address);
                }
            }
            tokio::time::sleep(Client::LOOK_UP_PAUSE).await;
            if let Some(shared) = shared.upgrade() {
                shared.looking_up.store(false, Ordering::Release);
            }
        });
    }

    /// Says "dead" instead of "unavailable" if ZooKeeper said so.
    pub fn explain(&self, error: Error) -> Error {
        match error {
            Error::Unavailable(_) if self.dead.load(Ordering::Acquire) => Error::ClusterDead,
            other => other,
        }
    }
}

/// An answer to another question: the node broke the protocol, after it may have done what was asked.
pub(crate) fn unexpected(response: &Response) -> String {
    let kind = match response {
        Response::Get(_) => "get",
        Response::Put(_) => "put",
        Response::Delete(_) => "delete",
        Response::Batch(_) => "batch",
        Response::OpenSession(_) => "open-session",
        Response::Scan(_) => "scan",
        Response::Error(_) => "error",
    };
    format!("the node answered another question ({kind})")
}
