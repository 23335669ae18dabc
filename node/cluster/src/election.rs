use kv_types::NodeName;
use tracing::{debug, info, warn};
use zookeeper_client::{CreateMode, MultiWriteResult};

use crate::{
    Controller, Error, MasterInfo, NodeInfo, Result, View,
    document::encode,
    layout::Key,
    membership::Entry,
    request::{Write, WriteFailure},
    session::Session,
};

/// Makes this node the master when it is the first in line.
pub(crate) struct Election {
    session: Session,
    info: NodeInfo,
    term: Option<Term>,
}

/// The time for which this node is the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// The own entry: without it nothing may be written as the master.
    pub(crate) entry: Entry,
    /// The version of `controller` that this master has made.
    pub(crate) fence: i32,
    /// The number of this master.
    pub(crate) epoch: u64,
}

impl Election {
    pub(crate) fn new(session: Session, info: NodeInfo) -> Self {
        Self { session, info, term: None }
    }

    /// Forgets the role; what it has in ZooKeeper goes with the entry.
    pub(crate) fn stand_down(&mut self) {
        if let Some(term) = self.term.take() {
            info!(epoch = term.epoch, "not the master any more");
        }
    }

    /// Takes the role, if it is this node's turn, or finds that it is lost. `view` may lag behind.
    pub(crate) async fn step(&mut self, view: &View, entry: &Entry) -> Result<Option<&Term>> {
        if let Some(term) = &self.term
            && !holds(term, view, entry)
        {
            self.stand_down();
        }
        if self.term.is_none() && view.connected {
            self.term = self.stand(view, entry).await?;
        }
        Ok(self.term.as_ref())
    }

    async fn stand(&self, view: &View, entry: &Entry) -> Result<Option<Term>> {
        // Entries only vanish: a view that holds the own one holds all that are still before it.
        let first = view.members.first().is_some_and(|first| first.name == entry.name);
        let (true, Some(controller)) = (first, &view.controller) else { return Ok(None) };
        let mut replaced = None;
        if let Some(master) = &view.master {
            let owned = master.owner == entry.owner;
            if owned && controller.value.id.as_ref() == Some(&self.info.node) {
                // The answer to the last attempt was lost.
                let Controller { epoch, id: _ } = controller.value;
                info!(epoch, "found to be the master");
                return Ok(Some(Term { entry: entry.clone(), fence: controller.version, epoch }));
            }
            let stale = master.value.id == self.info.node && !view.members.iter().any(|at| at.owner == master.owner);
            if !owned && !stale {
                // It goes with the session of a former master, by ZooKeeper's own timer.
                debug!(master = %master.value.id, "waiting until the former master's session is over");
                return Ok(None);
            }
            replaced = Some(master.version);
        }
        self.take(controller.version, controller.value.epoch + 1, entry, replaced).await
    }

    /// One step: check the own entry, raise the fence, show the master.
    async fn take(&self, version: i32, epoch: u64, entry: &Entry, replaced: Option<i32>) -> Result<Option<Term>> {
        let layout = self.session.layout();
        let master = layout.path(&Key::Master);
        let controller = Controller { epoch, id: Some(self.info.node.clone()) };
        let shown = MasterInfo { id: self.info.node.clone(), address: self.info.address.clone() };
        let mut writes = vec![
            Write::Check { path: layout.path(&Key::Member(entry.name.clone())), version: None },
            Write::Set { path: layout.path(&Key::Controller), data: encode(&controller), version },
        ];
        writes.extend(replaced.map(|version| Write::Delete { path: master.clone(), version: Some(version) }));
        writes.push(Write::Create { path: master.clone(), data: encode(&shown), mode: CreateMode::Ephemeral });
        match self.session.commit(writes).await {
            Ok(results) => match results.get(1) {
                Some(MultiWriteResult::SetData { stat }) => {
                    info!(epoch, "this node is the master");
                    Ok(Some(Term { entry: entry.clone(), fence: stat.version, epoch }))
                }
                _ => Err(Error::Unknown(None)),
            },
            Err(WriteFailure::Part(part, source)) => {
                debug!(part, %source, "did not become the master");
                Ok(None)
            }
            Err(failure) => Err(failure.into_error(&master)),
        }
    }

    /// Applies writes of this node as the master.
    ///
    /// # Errors
    /// [`Error::NotMaster`] if it is not the master any more, and those of the writes themselves.
    pub(crate) async fn write(&mut self, master: Option<&NodeName>, writes: Vec<Write>) -> Result<()> {
        let Some(term) = &self.term else { return Err(Error::NotMaster { master: master.cloned() }) };
        let layout = self.session.layout();
        let mut all = vec![
            Write::Check { path: layout.path(&Key::Controller), version: Some(term.fence) },
            Write::Check { path: layout.path(&Key::Member(term.entry.name.clone())), version: None },
        ];
        let fences = all.len();
        all.extend(writes);
        match self.session.commit(all).await {
            Ok(_) => Ok(()),
            Err(WriteFailure::Part(part, source)) if part < fences => {
                warn!(%source, "another node is the master");
                self.stand_down();
                Err(Error::NotMaster { master: None })
            }
            Err(failure) => Err(failure.into_error(layout.root())),
        }
    }

    /// The present term.
    pub(crate) fn term(&self) -> Option<&Term> {
        self.term.as_ref()
    }
}

/// Whether a term may still be held, as far as `view` can tell.
fn holds(term: &Term, view: &View, entry: &Entry) -> bool {
    if term.entry != *entry {
        return false;
    }
    let Some(controller) = &view.controller else { return true };
    if !view.connected || controller.version < term.fence {
        return true;
    }
    let shown = view.master.as_ref().is_some_and(|master| master.owner == entry.owner);
    controller.version == term.fence && shown
}
