use tracing::{debug, info, warn};
use uuid::Uuid;
use zookeeper_client::{CreateMode, Error as ZkError, MultiWriteResult};

use crate::{
    Error, NodeInfo, Result, View,
    document::{decode, encode},
    layout::Key,
    request::{Node, Write, WriteFailure},
    session::{Connection, Session},
    watcher::sequence_of,
};

/// This node's entry in the line of members.
pub(crate) struct Membership {
    session: Session,
    info: NodeInfo,
    /// Of this process: by it an entry is found again whose creation was never answered.
    guid: String,
    entry: Option<Entry>,
    /// Whether there may be an entry that [`Self::deregister`] has to remove.
    left_behind: bool,
}

/// An entry of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// `<guid>-<seq>`.
    pub(crate) name: String,
    /// The session that it lives by.
    pub(crate) owner: i64,
}

impl Membership {
    pub(crate) fn new(session: Session, info: NodeInfo) -> Self {
        Self { session, info, guid: Uuid::new_v4().simple().to_string(), entry: None, left_behind: false }
    }

    /// The entry, if it belongs to this session.
    pub(crate) fn entry(&self, connection: &Connection) -> Option<&Entry> {
        self.entry.as_ref().filter(|entry| entry.owner == connection.session_id())
    }

    /// Finds the own entry of this session or makes one at the end of the line; entries of former processes on the same
    /// volumes are removed, since their lock on the volumes proves that those are gone.
    ///
    /// # Errors
    /// [`Error::Refused`] with `NodeExists` while another process is registered under the same name.
    pub(crate) async fn register(&mut self, connection: &Connection) -> Result<Entry> {
        self.entry = None;
        self.left_behind = true;
        let layout = self.session.layout().clone();
        let owner = connection.session_id();
        let members = layout.folder("members");
        let mut found: Vec<Entry> = Vec::new();
        for (name, node) in self.entries().await? {
            let path = layout.path(&Key::Member(name.clone()));
            let Ok(info) = decode::<NodeInfo>(&path, &node.data) else { continue };
            if info.node != self.info.node {
                continue;
            }
            if name.starts_with(&self.guid) && node.stat.ephemeral_owner == owner {
                found.push(Entry { name, owner });
            } else if name.starts_with(&self.guid)
                || info.has_volume(self.info.data)
                || info.has_volume(self.info.bkpdata)
            {
                info!(name, "removing the entry of an earlier session of this node");
                self.remove(&name, node.stat.ephemeral_owner).await?;
            } else {
                let (volume, address) = (info.data, info.address);
                warn!(name, %volume, address, "another process is registered under this node's name: waiting until it is gone");
                return Err(Error::Refused { path, source: ZkError::NodeExists });
            }
        }
        // More than one: the answer to a creation was lost and it was asked for again. The first place in the line counts.
        found.sort_by_key(|entry| sequence_of(&entry.name));
        for surplus in found.iter().skip(1) {
            self.remove(&surplus.name, 0).await?;
        }
        let entry = match found.into_iter().next() {
            Some(entry) => entry,
            None => Entry { name: self.create(&members).await?, owner },
        };
        info!(node = %self.info.node, entry = entry.name, "registered");
        self.entry = Some(entry.clone());
        Ok(entry)
    }

    /// Adds an entry, and tells who this node is for as long as it is away.
    async fn create(&self, members: &str) -> Result<String> {
        let layout = self.session.layout();
        let known = layout.path(&Key::Node(self.info.node.clone()));
        let data = encode(&self.info);
        let mode = CreateMode::EphemeralSequential;
        let mut writes = vec![Write::Create { path: format!("{members}/{}-", self.guid), data: data.clone(), mode }];
        match self.session.read(&known).await? {
            None => writes.push(Write::create(known.clone(), data)),
            Some(node) if node.data != data => {
                writes.push(Write::Set { path: known.clone(), data, version: node.stat.version });
            }
            Some(_) => {}
        }
        let results = self.session.commit(writes).await.map_err(|failure| failure.into_error(&known))?;
        match results.into_iter().next() {
            Some(MultiWriteResult::Create { path, .. }) => {
                path.rsplit('/').next().map(str::to_owned).ok_or(Error::Unknown(None))
            }
            _ => Err(Error::Unknown(None)),
        }
    }

    /// Gives up the entry, and with it the role of the master, in one step.
    ///
    /// # Errors
    /// [`Error::Unknown`] if it may still be there: try again.
    pub(crate) async fn deregister(&mut self) -> Result<()> {
        for (name, node) in self.entries().await? {
            if name.starts_with(&self.guid) {
                self.remove(&name, node.stat.ephemeral_owner).await?;
                info!(node = %self.info.node, entry = name, "gave up the entry");
            }
        }
        self.entry = None;
        self.left_behind = false;
        Ok(())
    }

    /// Whether an entry of this process is, or may be, in the line. One may turn up late, by a request of unknown outcome.
    pub(crate) fn is_in_line(&self, view: &View) -> bool {
        self.left_behind || view.members.iter().any(|member| member.name.starts_with(&self.guid))
    }

    /// Removes an entry together with the `master` znode of the same session (0: without it).
    async fn remove(&self, name: &str, owner: i64) -> Result<()> {
        let layout = self.session.layout();
        let (member, master) = (layout.path(&Key::Member(name.to_owned())), layout.path(&Key::Master));
        let holds = |node: &Node| owner != 0 && node.stat.ephemeral_owner == owner;
        let mut writes = vec![Write::Delete { path: member.clone(), version: None }];
        if self.session.read(&master).await?.as_ref().is_some_and(holds) {
            // Its version can't tell it from another master's, but as long as the entry before it in the line exists,
            // there is no other: both go in one step or not at all.
            writes.push(Write::Delete { path: master, version: None });
        }
        match self.session.commit(writes).await {
            Ok(_) => Ok(()),
            Err(WriteFailure::Part(0, ZkError::NoNode)) => {
                debug!(name, "the entry was gone already");
                Ok(())
            }
            Err(failure) => Err(failure.into_error(&member)),
        }
    }

    /// All entries, as ZooKeeper's leader has them.
    async fn entries(&self) -> Result<Vec<(String, Node)>> {
        self.session.sync().await?;
        let layout = self.session.layout();
        let names = self.session.children(&layout.folder("members")).await?;
        let paths: Vec<_> = names.iter().map(|name| layout.path(&Key::Member(name.clone()))).collect();
        let nodes = self.session.read_all(&paths).await?;
        Ok(names.into_iter().zip(nodes).filter_map(|(name, node)| Some((name, node?))).collect())
    }
}
