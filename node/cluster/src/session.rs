use std::{
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at},
};
use tracing::{debug, error, info, warn};
use uuid::Uuid;
use zookeeper_client::{Client, Error as ZkError, SessionInfo, SessionState};

use crate::{
    Clock, ClusterInfo, Error, Result,
    document::decode,
    layout::{Key, Layout},
};

/// A heartbeat goes out every so many parts of the session timeout.
const HEARTBEATS_PER_TIMEOUT: u32 = 10;
/// Heartbeats that wait for their answers at most; each waits for one session timeout at most.
const MAX_HEARTBEATS: usize = HEARTBEATS_PER_TIMEOUT as usize;
/// The first one is waited for during this part of the session timeout.
const FIRST_HEARTBEAT_PER_TIMEOUT: u32 = 4;
/// Pauses between attempts to connect grow from the first to the second.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);
const CONNECT_PAUSE_MAX: Duration = Duration::from_millis(500);
/// A connection that is lost for this part of the session timeout is made anew here: the library's own pauses between attempts double
/// without a bound, and peers that are back sooner would take this node for cut off.
const RESUMED_PER_TIMEOUT: u32 = 6;
/// An attempt to connect ends after this part of the session timeout.
const ATTEMPTS_PER_TIMEOUT: u32 = 2;
/// An address that answers nothing is left for the next one after this part of the session timeout, as is one that has stopped to: the
/// library's own two fifths leave no time for another one in the same attempt.
const ADDRESSES_PER_TIMEOUT: u32 = 4;
/// While ZooKeeper can't be reached, a warning at least and at most so often.
const WARN_PAUSE: Duration = Duration::from_secs(2);
const WARN_PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether a ZooKeeper that lost the cluster has been given it again.
const VERIFY_PAUSE: Duration = Duration::from_secs(2);

/// Keeps a session with ZooKeeper, one after the other for as long as it lives; cheap to clone.
///
/// The library's notice of an expired session comes late or not at all, so nothing here relies on it: whoever needs to
/// know whether ZooKeeper still has this node looks at [`Self::age`].
#[derive(Clone)]
pub(crate) struct Session {
    shared: Arc<Shared>,
}

struct Shared {
    layout: Layout,
    clock: Arc<dyn Clock>,
    requested_timeout: Duration,
    /// As agreed with the server; of the last session.
    timeout_millis: AtomicU64,
    /// When the last heartbeat that was acknowledged had been sent, in nanoseconds; 0: none yet.
    acknowledged_nanos: AtomicU64,
    current: watch::Sender<Option<Connection>>,
    /// The cluster that has to be there, once it is known.
    cluster: OnceLock<Uuid>,
}

/// A session that the server has agreed to. It may be over by the time it is used.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) client: Client,
}

impl Connection {
    /// The owner of ephemeral znodes that are made through it.
    pub(crate) fn session_id(&self) -> i64 {
        self.client.session_id().0
    }
}

impl Session {
    /// Prepares; nothing happens before [`Self::run`].
    pub(crate) fn new(layout: Layout, clock: Arc<dyn Clock>, requested_timeout: Duration) -> Self {
        let shared = Shared {
            layout,
            clock,
            requested_timeout,
            timeout_millis: AtomicU64::new(millis(requested_timeout)),
            acknowledged_nanos: AtomicU64::new(0),
            current: watch::Sender::new(None),
            cluster: OnceLock::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    /// The timeout that was agreed with the server.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.shared.timeout_millis.load(Ordering::Relaxed))
    }

    /// How long one request may take before its outcome counts as unknown.
    pub(crate) fn operation_limit(&self) -> Duration {
        self.timeout() / 2
    }

    /// Time since the send time of the last heartbeat that ZooKeeper acknowledged; `Duration::MAX` before the first.
    pub(crate) fn age(&self) -> Duration {
        match self.shared.acknowledged_nanos.load(Ordering::Acquire) {
            0 => Duration::MAX,
            nanos => self.clock().now().saturating_sub(Duration::from_nanos(nanos)),
        }
    }

    /// The connection, whenever it changes.
    pub(crate) fn connections(&self) -> watch::Receiver<Option<Connection>> {
        self.shared.current.subscribe()
    }

    /// From now on only a ZooKeeper that holds this cluster counts as connected.
    pub(crate) fn belong_to(&self, cluster: Uuid) {
        let _ = self.shared.cluster.set(cluster);
    }

    /// Connects and stays connected; never returns.
    pub(crate) async fn run(self) {
        let mut resumed = None;
        loop {
            let client = self.connect(resumed.take()).await;
            let timeout = client.session_timeout();
            if timeout != self.shared.requested_timeout {
                let requested = self.shared.requested_timeout;
                warn!(?requested, agreed = ?timeout, "zookeeper changed the session timeout");
            }
            self.shared.timeout_millis.store(millis(timeout), Ordering::Relaxed);
            info!(session = %client.session_id(), "connected to zookeeper");
            let connection = Connection { client };
            if !self.verify(&connection).await {
                continue;
            }
            // First, so that whoever sees the connection sees an age that belongs to it; if ZooKeeper takes long, without it.
            let first = self.heartbeat(&connection);
            let _ = tokio::time::timeout(timeout / FIRST_HEARTBEAT_PER_TIMEOUT, first).await;
            self.shared.current.send_replace(Some(connection.clone()));
            self.keep(&connection).await;
            self.shared.current.send_replace(None);
            // The library calls a session expired by its own clock too. When ZooKeeper as a whole was away the session
            // is alive, and taking it up again spares an election.
            resumed = Some(connection.client.into_session());
        }
    }

    /// Waits until the cluster is found; `false` if the connection ends before. A ZooKeeper that lost its content knows no
    /// former session either, so every loss comes by here: without the check all shards would seem to be gone, or those of
    /// a cluster that a new node has made at the same root would be taken for this one's.
    async fn verify(&self, connection: &Connection) -> bool {
        let Some(&cluster) = self.shared.cluster.get() else { return true };
        let path = self.layout().path(&Key::Cluster);
        while !connection.client.state().is_terminated() {
            let read = timeout(self.operation_limit(), async {
                connection.client.sync(self.layout().root()).await?;
                connection.client.get_data(&path).await
            });
            let reason = match read.await {
                Ok(Ok((data, _))) => match decode::<ClusterInfo>(&path, &data) {
                    Ok(ClusterInfo { uuid }) if uuid == cluster => return true,
                    Ok(ClusterInfo { uuid }) => format!("there is cluster {uuid} instead"),
                    Err(error) => error.to_string(),
                },
                Ok(Err(ZkError::NoNode)) => "there is none: restore it with rebuild-zookeeper".to_owned(),
                Ok(Err(error)) => {
                    debug!(%error, "the cluster can't be looked for");
                    sleep(CONNECT_PAUSE).await;
                    continue;
                }
                Err(_) => continue,
            };
            error!(%cluster, path, reason, "zookeeper does not hold this cluster: it counts as unreachable");
            sleep(VERIFY_PAUSE).await;
        }
        false
    }

    /// Sends heartbeats until the session is over.
    async fn keep(&self, connection: &Connection) {
        let mut states = connection.client.state_watcher();
        let mut ticks = interval(self.timeout() / HEARTBEATS_PER_TIMEOUT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let started = self.clock().now();
        let mut heartbeats = JoinSet::new();
        let is_lost = |state| state != SessionState::SyncConnected;
        let mut lost = is_lost(connection.client.state()).then_some(started);
        loop {
            tokio::select! {
                state = states.changed() => {
                    debug!(%state, "zookeeper session");
                    lost = is_lost(state).then(|| lost.unwrap_or_else(|| self.clock().now()));
                    if state.is_terminated() {
                        warn!(%state, age = ?self.age(), "zookeeper session is over");
                        return;
                    }
                }
                _ = ticks.tick() => {
                    while heartbeats.try_join_next().is_some() {}
                    // Not one after the other: an ensemble that is slow to answer is no ensemble that is away.
                    if heartbeats.len() < MAX_HEARTBEATS {
                        let (session, connection) = (self.clone(), connection.clone());
                        heartbeats.spawn(async move { session.heartbeat(&connection).await });
                    }
                }
            }
            let now = self.clock().now();
            if lost.is_some_and(|at| now.saturating_sub(at) >= self.timeout() / RESUMED_PER_TIMEOUT) {
                debug!("the connection to zookeeper is made anew");
                return;
            }
            let age = self.age().min(now.saturating_sub(started));
            if age > self.timeout() * 2 {
                warn!(?age, "zookeeper session is taken for lost");
                return;
            }
        }
    }

    /// One `sync`: it reaches the ensemble's leader, where a read would be answered by a server that is cut off from it.
    async fn heartbeat(&self, connection: &Connection) {
        if connection.client.state() != SessionState::SyncConnected {
            return;
        }
        let sent = self.clock().now();
        let answer = timeout(self.timeout(), connection.client.sync(self.layout().root())).await;
        match answer {
            Ok(Ok(()) | Err(ZkError::NoNode)) => {
                let nanos = u64::try_from(sent.as_nanos()).unwrap_or(u64::MAX);
                self.shared.acknowledged_nanos.fetch_max(nanos.max(1), Ordering::AcqRel);
            }
            Ok(Err(error)) => debug!(%error, "zookeeper heartbeat failed"),
            Err(_) => debug!("zookeeper heartbeat was not answered in time"),
        }
    }

    /// Tries until it succeeds, and says so with growing pauses.
    async fn connect(&self, mut resumed: Option<SessionInfo>) -> Client {
        let mut pause = CONNECT_PAUSE;
        let mut warn_pause = WARN_PAUSE;
        let started = Instant::now();
        let mut next_warning = started;
        loop {
            // Detached: a session that is left behind must not be closed by the library at a moment of its own choice,
            // since its successor may have taken it up.
            let requested = self.shared.requested_timeout;
            let mut connector = Client::connector()
                .with_session_timeout(requested)
                .with_connection_timeout(requested / ADDRESSES_PER_TIMEOUT)
                .with_detached();
            if let Some(session) = &resumed {
                connector = connector.with_session(session.clone());
            }
            let limit = requested / ATTEMPTS_PER_TIMEOUT;
            let reason = match timeout(limit, connector.connect(self.layout().hosts())).await {
                Ok(Ok(client)) => return client,
                Ok(Err(ZkError::SessionExpired)) if resumed.is_some() => {
                    info!("zookeeper has expired the session");
                    resumed = None;
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() >= next_warning {
                let (hosts, waited) = (self.layout().hosts(), started.elapsed());
                warn!(hosts, ?waited, reason, "zookeeper can't be reached: waiting for it");
                next_warning = Instant::now() + warn_pause;
                warn_pause = (warn_pause * 2).min(WARN_PAUSE_MAX);
            }
            sleep(pause).await;
            pause = (pause * 2).min(CONNECT_PAUSE_MAX);
        }
    }

    /// Runs one request within [`Self::operation_limit`], waiting for a connection if there is none.
    ///
    /// # Errors
    /// [`Error::NotConnected`] if it was never sent, [`Error::Refused`] if nothing was changed, else [`Error::Unknown`].
    pub(crate) async fn call<T, E, F>(&self, path: &str, request: impl FnOnce(Client) -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T, E>> + Send,
        E: Into<ZkError>,
    {
        let limit = self.operation_limit();
        let deadline = Instant::now() + limit;
        let Ok(client) = timeout_at(deadline, self.connected()).await else {
            return Err(Error::NotConnected(limit));
        };
        match timeout_at(deadline, request(client)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(classify(path, error.into())),
            Err(_) => Err(Error::Unknown(None)),
        }
    }

    /// A client that is connected now. The library would queue requests without limit while it is not.
    async fn connected(&self) -> Client {
        let mut connections = self.connections();
        loop {
            let current = connections.borrow_and_update().clone();
            let Some(Connection { client }) = current else {
                if connections.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            };
            let mut states = client.state_watcher();
            if client.state() == SessionState::SyncConnected {
                return client;
            }
            tokio::select! {
                _ = states.changed() => {}
                _ = connections.changed() => {}
            }
        }
    }
}

/// Whether a failed request may have been applied.
fn classify(path: &str, error: ZkError) -> Error {
    match error {
        ZkError::BadArguments(_)
        | ZkError::NoNode
        | ZkError::NoAuth
        | ZkError::BadVersion
        | ZkError::NoChildrenForEphemerals
        | ZkError::NodeExists
        | ZkError::NotEmpty
        | ZkError::InvalidAcl
        | ZkError::NotReadOnly
        | ZkError::QuotaExceeded
        | ZkError::Throttled
        | ZkError::Unimplemented => Error::Refused { path: path.to_owned(), source: error },
        // Also those that sound definite: a session may expire after its last request was applied.
        other => Error::Unknown(Some(other)),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
