use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use kv_types::NodeName;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};
use tracing::{debug, error, warn};
use zookeeper_client::{AddWatchMode, EventType, PersistentWatcher, SessionState};

use crate::{
    ClusterEvent, Member, Result, Role, Versioned, View,
    document::decode,
    layout::{FOLDERS, Key, Layout, SINGLES},
    request::Node,
    session::{Connection, Session},
};

/// Everything is read again so often, should a watch be lost unnoticed.
const RELOAD_EVERY: Duration = Duration::from_secs(10);
/// Pause after a failed read.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Most changes that are read at once; more are a reason to read everything.
const BATCH: usize = 4096;

/// Keeps a [`View`] by one recursive watch on the root: a second kind of watch on the same path could end it.
pub(crate) struct Watcher {
    session: Session,
    node: NodeName,
    view: Arc<View>,
    published: watch::Sender<Arc<View>>,
    events: mpsc::Sender<ClusterEvent>,
    /// Not yet sent: publishing may be cut short by the end of a connection, and no event may be lost by that.
    pending: VecDeque<ClusterEvent>,
    role: Role,
}

impl Watcher {
    pub(crate) fn new(
        session: Session,
        node: NodeName,
        published: watch::Sender<Arc<View>>,
        events: mpsc::Sender<ClusterEvent>,
    ) -> Self {
        Self { session, node, view: Arc::default(), published, events, pending: VecDeque::new(), role: Role::None }
    }

    /// Never returns.
    pub(crate) async fn run(mut self) {
        let mut connections = self.session.connections();
        loop {
            let connection = connections.borrow_and_update().clone();
            if let Some(connection) = connection {
                tokio::select! {
                    result = self.follow(&connection) => {
                        if let Err(error) = result {
                            debug!(%error, "zookeeper can't be watched: trying again");
                        }
                    }
                    _ = connections.changed() => connections.mark_changed(),
                }
                self.disconnected().await;
                if !connections.has_changed().unwrap_or(true) {
                    sleep(RETRY_PAUSE).await;
                    continue;
                }
            }
            if connections.changed().await.is_err() {
                return;
            }
        }
    }

    /// Until the connection is over or something fails.
    async fn follow(&mut self, connection: &Connection) -> Result<()> {
        let mut watcher = self.watch().await?;
        self.reload().await?;
        let mut reloads = interval_at(Instant::now() + RELOAD_EVERY, RELOAD_EVERY);
        reloads.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if connection.client.state().is_terminated() {
                return Ok(());
            }
            tokio::select! {
                _ = reloads.tick() => self.reload().await?,
                event = watcher.changed() => match event.event_type {
                    EventType::Session => match event.session_state {
                        SessionState::Disconnected => self.disconnected().await,
                        // What happened in between is not delivered (ZOOKEEPER-4698).
                        SessionState::SyncConnected => {
                            watcher = self.watch().await?;
                            self.reload().await?;
                        }
                        state if state.is_terminated() => return Ok(()),
                        _ => {}
                    },
                    _ => {
                        let mut paths = BTreeSet::from([event.path]);
                        let session_changed = drain(&mut watcher, &mut paths).await;
                        if let Some(state) = session_changed && state.is_terminated() {
                            return Ok(());
                        }
                        if session_changed.is_some() || paths.len() >= BATCH {
                            self.disconnected().await;
                            watcher = self.watch().await?;
                            self.reload().await?;
                        } else {
                            self.refresh(paths).await?;
                        }
                    }
                },
            }
        }
    }

    /// Sets the watch, also where there is one already: zookeeper-client 0.11.2 does not set persistent watches again when
    /// it reconnects in the same session. The old watcher is to be dropped after this, since that removes its watch unless
    /// there is another.
    async fn watch(&self) -> Result<PersistentWatcher> {
        let root = self.session.layout().root().to_owned();
        let asked = root.clone();
        self.session
            .call(&root, |client| async move { client.watch(&asked, AddWatchMode::PersistentRecursive).await })
            .await
    }

    async fn disconnected(&mut self) {
        if self.view.connected {
            let view = View { connected: false, ..View::clone(&self.view) };
            self.publish(view).await;
        }
    }

    async fn reload(&mut self) -> Result<()> {
        let view = snapshot(&self.session, &self.view).await?;
        self.publish(view).await;
        Ok(())
    }

    /// Reads what has changed.
    async fn refresh(&mut self, paths: BTreeSet<String>) -> Result<()> {
        let layout = self.session.layout().clone();
        let paths: Vec<_> = paths.into_iter().filter(|path| layout.key(path).is_some()).collect();
        if paths.is_empty() {
            return Ok(());
        }
        let nodes = self.session.read_all(&paths).await?;
        let mut view = View::clone(&self.view);
        for (path, node) in paths.iter().zip(nodes) {
            if let Some(key) = layout.key(path) {
                apply(&mut view, key, path, node, &self.view);
            }
        }
        self.publish(view).await;
        Ok(())
    }

    /// Makes `view` the present one and tells what is different.
    async fn publish(&mut self, view: View) {
        let old = std::mem::replace(&mut self.view, Arc::new(view));
        let new = Arc::clone(&self.view);
        self.published.send_replace(Arc::clone(&new));

        let events = &mut self.pending;
        if new.connected != old.connected {
            events.push_back(ClusterEvent::Connection { connected: new.connected });
        }
        if let Some(config) = &new.config
            && old.config.as_ref() != Some(config)
        {
            events.push_back(ClusterEvent::Config(config.value.clone()));
        }
        let same_members = new.members == old.members
            && new.nodes == old.nodes
            && new.master == old.master
            && new.drains == old.drains;
        if !same_members {
            events.push_back(ClusterEvent::Members(Arc::clone(&new)));
        }
        for (&shard, placement) in &new.placements {
            if old.placements.get(&shard).is_none_or(|old| old.value != placement.value) {
                events.push_back(ClusterEvent::Placement { shard, placement: placement.value.clone() });
            }
        }
        for (&shard, config) in &new.shards {
            if old.shards.get(&shard).is_none_or(|old| old.value.epoch < config.value.epoch) {
                let (config, version) = (config.value.clone(), config.version);
                events.push_back(ClusterEvent::ShardConfig { shard, config, version });
            }
        }
        let role = new.role(&self.node);
        if role != self.role {
            self.role = role;
            events.push_back(ClusterEvent::Role(role));
        }
        // A closed receiver means that nobody needs to know any more.
        while let Some(event) = self.pending.front().cloned() {
            let Ok(permit) = self.events.reserve().await else { return self.pending.clear() };
            permit.send(event);
            self.pending.pop_front();
        }
    }
}

/// Reads everything, as ZooKeeper's leader has it; `last` is what was known before.
pub(crate) async fn snapshot(session: &Session, last: &View) -> Result<View> {
    session.sync().await?;
    let layout = session.layout();
    let mut paths: Vec<_> = SINGLES.iter().map(|key| layout.path(key)).collect();
    for folder in FOLDERS {
        let folder = layout.folder(folder);
        paths.extend(session.children(&folder).await?.into_iter().map(|name| format!("{folder}/{name}")));
    }
    let nodes = session.read_all(&paths).await?;
    // From nothing, so that what is gone is left out, but by way of `apply`, so that no shard goes back.
    let mut view = View { connected: true, ..View::default() };
    for (path, node) in paths.iter().zip(nodes) {
        if let Some(key) = layout.key(path) {
            apply(&mut view, key, path, node, last);
        }
    }
    for &shard in last.shards.keys() {
        for key in [Key::Shard(shard), Key::Placement(shard)] {
            apply_if_missing(&mut view, key, layout, last);
        }
    }
    Ok(view)
}

/// Collects what else has been delivered; a change of the session's state ends it.
async fn drain(watcher: &mut PersistentWatcher, paths: &mut BTreeSet<String>) -> Option<SessionState> {
    while paths.len() < BATCH {
        tokio::select! {
            biased;
            event = watcher.changed() => match event.event_type {
                EventType::Session => return Some(event.session_state),
                _ => {
                    paths.insert(event.path);
                }
            },
            () = std::future::ready(()) => return None,
        }
    }
    None
}

/// Puts a znode as read into `view`; `last` is what was known of it.
fn apply(view: &mut View, key: Key, path: &str, node: Option<Node>, last: &View) {
    match key {
        Key::Cluster => {
            view.cluster = read(path, node, last.cluster.as_ref().map(unversioned).as_ref()).map(|c| c.value)
        }
        Key::Config => view.config = read(path, node, last.config.as_ref()),
        Key::Master => view.master = read(path, node, last.master.as_ref()),
        Key::Controller => view.controller = read(path, node, last.controller.as_ref()),
        Key::Member(name) => apply_member(view, name, path, node),
        Key::Node(name) => {
            let known = read(path, node, last.nodes.get(&name));
            put(&mut view.nodes, name, known);
        }
        Key::Placement(shard) => {
            let mut placement = read(path, node, last.placements.get(&shard));
            placement = placement.or_else(|| vanished(path, last.placements.get(&shard)));
            put(&mut view.placements, shard, placement);
        }
        Key::Shard(shard) => {
            let seen = last.shards.get(&shard);
            let mut config = read(path, node, seen);
            if let (Some(read), Some(seen)) = (&config, seen)
                && read.value.epoch < seen.value.epoch
            {
                // Another server may lag behind the one that was asked before.
                debug!(%shard, read = %read.value.epoch, seen = %seen.value.epoch, "stale read of a shard");
                config = Some(seen.clone());
            }
            put(&mut view.shards, shard, config.or_else(|| vanished(path, seen)));
        }
        Key::Drain(name) => match node {
            Some(_) => {
                view.drains.insert(name);
            }
            None => {
                view.drains.remove(&name);
            }
        },
    }
}

fn apply_if_missing(view: &mut View, key: Key, layout: &Layout, last: &View) {
    let there = match &key {
        Key::Shard(shard) => view.shards.contains_key(shard),
        Key::Placement(shard) => view.placements.contains_key(shard),
        _ => true,
    };
    if !there {
        let path = layout.path(&key);
        apply(view, key, &path, None, last);
    }
}

/// What was known of a znode that is never removed: somebody else has done it, and no copy may be thrown away for that.
fn vanished<T: Clone>(path: &str, last: Option<&Versioned<T>>) -> Option<Versioned<T>> {
    let last = last?;
    error!(path, "a shard's znode has vanished: its last content stays in force");
    Some(last.clone())
}

fn apply_member(view: &mut View, name: String, path: &str, node: Option<Node>) {
    view.members.retain(|member| member.name != name);
    let Some(sequence) = sequence_of(&name) else {
        return warn!(path, "a member without sequence number is ignored");
    };
    if let Some(Versioned { value, owner, .. }) = read(path, node, None) {
        view.members.push(Member { name, sequence, owner, info: value });
        view.members.sort_by(|a, b| (a.sequence, &a.name).cmp(&(b.sequence, &b.name)));
    }
}

/// The number that ZooKeeper has put behind a member's name.
pub(crate) fn sequence_of(name: &str) -> Option<i64> {
    name.rsplit_once('-')?.1.parse().ok()
}

/// The content; `last` if it can't be read, and none if there is no znode.
fn read<T: Clone + serde::de::DeserializeOwned>(
    path: &str,
    node: Option<Node>,
    last: Option<&Versioned<T>>,
) -> Option<Versioned<T>> {
    let Node { data, stat } = node?;
    match decode(path, &data) {
        Ok(value) => Some(Versioned { value, version: stat.version, changed: stat.mzxid, owner: stat.ephemeral_owner }),
        Err(error) => {
            error!(%error, "the last content that could be read stays in force");
            last.cloned()
        }
    }
}

fn unversioned<T: Clone>(value: &T) -> Versioned<T> {
    Versioned { value: value.clone(), version: 0, changed: 0, owner: 0 }
}

fn put<K: Ord, V>(map: &mut std::collections::BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}
