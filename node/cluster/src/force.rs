use std::time::Duration;

use kv_types::{NodeName, Placement, ShardConfig, ShardId};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use uuid::Uuid;
use zookeeper_client::Error as ZkError;

use crate::{
    CasOutcome, ClusterInfo, Error, NodeInfo, Result, SharedConfig, View,
    bootstrap::{creation, find},
    change::Changes,
    document::encode,
    layout::{FOLDERS, Key},
    request::{Write, WriteFailure},
    session::Session,
    watcher::snapshot,
};

/// How often it is looked whether a former member has come back while its fence time runs.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Znodes made in one request while ZooKeeper is rebuilt.
const CHUNK: usize = 64;

/// What ZooKeeper is rebuilt from: what the volumes have kept.
#[derive(Clone, Debug)]
pub struct Rebuild {
    /// As written on the volumes.
    pub cluster: Uuid,
    /// The shared settings as last known.
    pub config: SharedConfig,
    /// The nodes.
    pub nodes: Vec<NodeInfo>,
    /// Of each shard the known configuration with the highest epoch, and its placement. They get the epoch after.
    pub shards: Vec<(ShardId, ShardConfig, Placement)>,
}

/// Makes `new` the configuration of a shard whose last in-sync copies are all gone; waits until that is certain, and has
/// `last_look` look at the copy that is to lead after that.
pub(crate) async fn force_promote(
    session: &Session,
    changes: &Changes,
    shard: ShardId,
    new: &ShardConfig,
    last_look: impl FnOnce() -> std::result::Result<(), String>,
) -> Result<CasOutcome> {
    let current = changes.quorum_read(shard).await?.value;
    check(shard, &current, new)?;
    // The session of a node that was cut off has ended by the server's clock; by its own it ceases before that. One more
    // timeout covers clocks that run at different rates.
    let fenced = Instant::now() + session.timeout();
    loop {
        let view = snapshot(session, &View::default()).await?;
        admit(shard, &current, new, &view)?;
        if Instant::now() >= fenced {
            break;
        }
        sleep(LOOK_EVERY).await;
    }
    // The fence time is long: what was looked at before it says nothing of the copy as it is now.
    last_look().map_err(|found| Error::CopyChanged { shard, found })?;
    warn!(%shard, from = ?current, to = ?new, "forcing a shard: what only its last in-sync copies held is lost");
    Ok(changes.compare_and_set(shard, current.epoch, new).await)
}

fn check(shard: ShardId, current: &ShardConfig, new: &ShardConfig) -> Result<()> {
    let invalid = |reason: &str| Err(Error::InvalidChange { shard, reason: reason.to_owned() });
    if new.epoch != current.epoch.next() {
        return invalid(&format!("its epoch is {}: forcing it needs the next one", current.epoch));
    }
    if new.lineage != current.lineage.next() {
        return invalid(&format!("its lineage is {}: forcing it needs the next one", current.lineage));
    }
    if new.range != current.range {
        return invalid("forcing it must not change its range");
    }
    if new.isr != [new.primary] {
        return invalid("forcing it makes one copy the only one in sync");
    }
    Ok(())
}

fn admit(shard: ShardId, current: &ShardConfig, new: &ShardConfig, view: &View) -> Result<()> {
    let known = view.nodes.len();
    let registered = view.nodes.keys().filter(|node| view.member(node).is_some()).count();
    if registered * 2 <= known {
        return Err(Error::NoMajority { registered, known });
    }
    if view.member_with(new.primary).is_none() {
        let reason = format!("volume {} is of no registered node", new.primary);
        return Err(Error::InvalidChange { shard, reason });
    }
    let alive = current.isr.iter().filter_map(|volume| view.member_with(*volume));
    let nodes: Vec<_> = alive.map(|member| member.info.node.to_string()).collect();
    if nodes.is_empty() { Ok(()) } else { Err(Error::MembersAlive { shard, nodes }) }
}

/// Makes a cluster's znodes anew at an empty root, after ZooKeeper has lost them. May be repeated if it fails half-way.
pub(crate) async fn rebuild(session: &Session, rebuild: &Rebuild) -> Result<()> {
    let Rebuild { cluster, config, nodes, shards } = rebuild;
    let layout = session.layout();
    let root = layout.root().to_owned();
    if let Some((found, _)) = find(session).await? {
        return Err(Error::ClusterExists { found: found.uuid, root });
    }
    session.make_path(&root).await?;
    for folder in FOLDERS {
        session.make_path(&layout.folder(folder)).await?;
    }
    let mut contents = Vec::new();
    for node in nodes {
        contents.push((layout.path(&Key::Node(NodeName::clone(&node.node))), encode(node)));
    }
    for (shard, config, placement) in shards {
        // Above whatever was in force, so that all replicas take it for news.
        let next = config.successor(config.primary, config.isr.iter().copied());
        contents.push((layout.path(&Key::Shard(*shard)), encode(&next)));
        contents.push((layout.path(&Key::Placement(*shard)), encode(placement)));
    }
    for chunk in contents.chunks(CHUNK) {
        put(session, chunk).await?;
    }
    // `cluster` comes last: without it no node takes anything of this for a cluster.
    let shared = SharedConfig { shards_created: true, ..config.clone() };
    let folders: Vec<_> = FOLDERS.iter().map(|folder| layout.folder(folder)).collect();
    let mut writes = creation(session, &ClusterInfo { uuid: *cluster }, &shared);
    writes.retain(|write| !folders.iter().any(|folder| folder == write.path()));
    match session.commit(writes).await {
        Ok(_) => {
            info!(%cluster, root, shards = shards.len(), "rebuilt zookeeper's content");
            Ok(())
        }
        Err(WriteFailure::Part(_, ZkError::NodeExists)) => match find(session).await? {
            Some((found, _)) => Err(Error::ClusterExists { found: found.uuid, root }),
            None => Err(Error::Malformed { path: root, reason: "it holds something else than a cluster".into() }),
        },
        Err(failure) => Err(failure.into_error(&root)),
    }
}

async fn put(session: &Session, contents: &[(String, Vec<u8>)]) -> Result<()> {
    let paths: Vec<_> = contents.iter().map(|(path, _)| path.clone()).collect();
    let found = session.read_all(&paths).await?;
    let writes = contents.iter().zip(found).map(|((path, data), found)| match found {
        Some(node) => Write::Set { path: path.clone(), data: data.clone(), version: node.stat.version },
        None => Write::create(path.clone(), data.clone()),
    });
    let root = session.layout().root();
    session.commit(writes.collect()).await.map(drop).map_err(|failure| failure.into_error(root))
}
