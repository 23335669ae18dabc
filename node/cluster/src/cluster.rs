use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kv_types::{Epoch, NodeName, ShardConfig, ShardId};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};
use uuid::Uuid;
use zookeeper_client::Error as ZkError;

use crate::{
    BoottimeClock, CasOutcome, ClusterEvent, ClusterOptions, Error, Rebuild, Result, SharedConfig, SplitChange, View,
    bootstrap,
    change::Changes,
    controller::ControlLoop,
    coordinator::{Command, Coordinator},
    election::Election,
    force,
    layout::{Key, Layout},
    membership::Membership,
    request::{Write, WriteFailure},
    session::Session,
    watcher::Watcher,
};

/// Events that wait for the node; when it is full, the view lags.
const EVENTS: usize = 1024;
/// Requests of the node that wait for the coordinator.
const COMMANDS: usize = 64;

/// This node's part in the cluster; cheap to clone. When the last clone is gone, everything stops.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    node: NodeName,
    uuid: Uuid,
    config: SharedConfig,
    session: Session,
    changes: Changes,
    view: watch::Receiver<Arc<View>>,
    registered: watch::Receiver<bool>,
    commands: mpsc::Sender<Command>,
    tasks: Mutex<JoinSet<()>>,
}

impl Cluster {
    /// Finds the cluster or makes it, and reads what it holds; waits as long as ZooKeeper can't be reached. The node is not
    /// yet a member: see [`Self::register`].
    ///
    /// # Errors
    /// A setting is outside its bounds, the volumes belong to another cluster, or ZooKeeper refuses.
    pub async fn start(options: ClusterOptions) -> Result<(Self, mpsc::Receiver<ClusterEvent>)> {
        options.validate()?;
        let layout = Layout::parse(&options.connect)?;
        let session = Session::new(layout, Arc::clone(&options.clock), options.session_timeout);
        let mut tasks = JoinSet::new();
        tasks.spawn(session.clone().run());
        let (uuid, config) = bootstrap::join(&session, options.cluster, &options.bootstrap.validate()?).await?;

        session.belong_to(uuid);

        let published = watch::Sender::new(Arc::<View>::default());
        let mut view = published.subscribe();
        let (events, receiver) = mpsc::channel(EVENTS);
        tasks.spawn(Watcher::new(session.clone(), options.node.clone(), published, events).run());

        let info = options.info();
        let registered = watch::Sender::new(false);
        let (commands, commanded) = mpsc::channel(COMMANDS);
        let inner = Inner {
            node: options.node.clone(),
            uuid,
            config,
            session: session.clone(),
            changes: Changes::new(session.clone(), view.clone()),
            view: view.clone(),
            registered: registered.subscribe(),
            commands,
            tasks: Mutex::default(),
        };
        let ClusterOptions { bootstrap, control, .. } = options;
        let coordinator = Coordinator {
            view: view.clone(),
            commands: commanded,
            registered,
            membership: Membership::new(session.clone(), info.clone()),
            election: Election::new(session.clone(), info),
            controller: ControlLoop::new(session.clone(), control, bootstrap.expected_nodes, bootstrap.grace),
            wanted: false,
            session,
        };
        tasks.spawn(coordinator.run());
        // Fails only if the watcher is gone, and that ends with the tasks.
        let _ = view.wait_for(|view| view.connected).await;
        *inner.tasks.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
        Ok((Self { inner: Arc::new(inner) }, receiver))
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        &self.inner.node
    }

    /// The cluster's identity, to be written on the volumes.
    #[must_use]
    pub fn cluster_uuid(&self) -> Uuid {
        self.inner.uuid
    }

    /// The shared settings; those that this crate's callers need are fixed for the cluster's life.
    #[must_use]
    pub fn config(&self) -> &SharedConfig {
        &self.inner.config
    }

    /// What ZooKeeper holds, as last seen.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.inner.view.borrow())
    }

    /// The same, whenever it changes.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.inner.view.clone()
    }

    /// Time since the send time of the last request that ZooKeeper acknowledged.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.inner.session.age()
    }

    /// The session timeout T that was agreed with the server.
    #[must_use]
    pub fn session_timeout(&self) -> Duration {
        self.inner.session.timeout()
    }

    /// Whether this node has an entry in the line of members, as far as it knows.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        *self.inner.registered.borrow()
    }

    /// Takes a place at the end of the line and keeps one from now on, whatever happens to sessions. Returns when the
    /// first place is taken; the wish stays when the future is dropped.
    ///
    /// # Errors
    /// [`Error::ShutDown`].
    pub async fn register(&self) -> Result<()> {
        self.send(Command::Register).await?;
        let mut registered = self.inner.registered.clone();
        registered.wait_for(|registered| *registered).await.map_err(|_| Error::ShutDown)?;
        Ok(())
    }

    /// Gives up the place in the line and, in the same step, the role of the master, until [`Self::register`].
    ///
    /// # Errors
    /// If it is not known to be done. It is tried on until it is, or the node registers anew.
    pub async fn unregister(&self) -> Result<()> {
        self.ask(Command::Unregister).await
    }

    /// Gives up the role of the master and goes to the end of the line.
    ///
    /// # Errors
    /// [`Error::NotMaster`], or it is not known to be done.
    pub async fn resign_master(&self) -> Result<()> {
        self.ask(Command::Resign).await
    }

    /// Changes a shard's configuration from epoch `expected` to `new`, which must be of the next epoch. Takes at most half a
    /// session timeout for each of up to four requests.
    pub async fn compare_and_set(&self, shard: ShardId, expected: Epoch, new: ShardConfig) -> CasOutcome {
        self.inner.changes.compare_and_set(shard, expected, &new).await
    }

    /// A shard's configuration as of after the call: `sync`, then read.
    ///
    /// # Errors
    /// [`Error::NoShard`], or ZooKeeper can't be reached.
    pub async fn quorum_read(&self, shard: ShardId) -> Result<ShardConfig> {
        Ok(self.inner.changes.quorum_read(shard).await?.value)
    }

    /// Changes the parent and makes the child with a copy of its placement, all in one step.
    ///
    /// # Errors
    /// [`Error::ShardExists`], [`Error::NoShard`], [`Error::InvalidChange`]: nothing was changed.
    pub async fn split(&self, split: &SplitChange) -> Result<CasOutcome> {
        self.inner.changes.split(split).await
    }

    /// Marks a node to be emptied, or takes that back. The mark outlives the node's sessions and restarts; the master removes it
    /// when the node is gone and holds nothing.
    ///
    /// # Errors
    /// [`Error::NoNode`] if the node is not known, or ZooKeeper can't be reached.
    pub async fn set_drain(&self, node: &NodeName, drain: bool) -> Result<()> {
        let session = &self.inner.session;
        let path = session.layout().path(&Key::Drain(node.clone()));
        let known = session.layout().path(&Key::Node(node.clone()));
        let writes = if drain {
            vec![Write::Check { path: known, version: None }, Write::create(path.clone(), Vec::new())]
        } else {
            vec![Write::Delete { path: path.clone(), version: None }]
        };
        match session.commit(writes).await {
            Ok(_) => Ok(()),
            Err(WriteFailure::Part(0, ZkError::NoNode)) if drain => Err(Error::NoNode(node.clone())),
            // It is as it should be.
            Err(WriteFailure::Part(_, ZkError::NodeExists | ZkError::NoNode)) => Ok(()),
            Err(failure) => Err(failure.into_error(&path)),
        }
    }

    /// Gives a shard another home, if this node is the master. Balance goes on as before: another shard may move in exchange.
    ///
    /// # Errors
    /// [`Error::NotMaster`], [`Error::NoShard`], [`Error::NoNode`], or ZooKeeper can't be reached.
    pub async fn move_home(&self, shard: ShardId, node: &NodeName) -> Result<()> {
        self.ask(|reply| Command::MoveHome(shard, node.clone(), reply)).await
    }

    /// Tells the sizes of shards in bytes, so that the master balances by them; without, all count alike.
    ///
    /// # Errors
    /// [`Error::ShutDown`].
    pub async fn report_sizes(&self, sizes: BTreeMap<ShardId, u64>) -> Result<()> {
        self.send(Command::Sizes(sizes)).await
    }

    /// Makes `new` (the next epoch, the next lineage, one in-sync copy) the configuration of a shard that is lost otherwise.
    /// Waits one session timeout to be certain that no former member serves; after that, and just before it asks ZooKeeper,
    /// `last_look` says whether the copy that is to lead is still what it was, or else what was found.
    ///
    /// # Errors
    /// [`Error::MembersAlive`], [`Error::NoMajority`], [`Error::InvalidChange`], [`Error::CopyChanged`]: nothing was changed.
    pub async fn force_promote(
        &self,
        shard: ShardId,
        new: &ShardConfig,
        last_look: impl FnOnce() -> std::result::Result<(), String>,
    ) -> Result<CasOutcome> {
        force::force_promote(&self.inner.session, &self.inner.changes, shard, new, last_look).await
    }

    /// Leaves the cluster: gives up the entry and the role of the master, then stops. Other clones of the handle fail from then on.
    ///
    /// # Errors
    /// If the entry could not be removed; then it goes with the session.
    pub async fn shutdown(&self) -> Result<()> {
        let limit = self.inner.session.timeout();
        let outcome = timeout(limit, self.unregister()).await.unwrap_or(Err(Error::Unknown(None)));
        let mut tasks = std::mem::take(&mut *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        outcome
    }

    /// Restores what a ZooKeeper that was wholly lost held; waits for ZooKeeper at most `limit`.
    ///
    /// # Errors
    /// [`Error::ClusterExists`] unless the root is empty, or ZooKeeper can't be reached.
    pub async fn rebuild_zookeeper(connect: &str, rebuild: &Rebuild, limit: Duration) -> Result<()> {
        const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
        let session = Session::new(Layout::parse(connect)?, Arc::new(BoottimeClock), SESSION_TIMEOUT);
        let mut tasks = JoinSet::new();
        tasks.spawn(session.clone().run());
        let outcome = timeout(limit, force::rebuild(&session, rebuild)).await;
        tasks.shutdown().await;
        outcome.unwrap_or(Err(Error::NotConnected(limit)))
    }

    async fn send(&self, command: Command) -> Result<()> {
        self.inner.commands.send(command).await.map_err(|_| Error::ShutDown)
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<Result<()>>) -> Command) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await?;
        answer.await.map_err(|_| Error::ShutDown)?
    }
}
