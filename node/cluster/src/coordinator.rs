use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kv_types::{NodeName, ShardId};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::warn;

use crate::{
    Error, Result, View, controller::ControlLoop, election::Election, membership::Membership, session::Session,
};

/// Everything is looked at so often, should nothing else give cause.
const TICK: Duration = Duration::from_millis(250);
/// A failure that stays is told again so often.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What the node asks of its place in the cluster.
pub(crate) enum Command {
    /// Be a member from now on.
    Register,
    /// Be none any more, nor the master.
    Unregister(oneshot::Sender<Result<()>>),
    /// Go to the end of the line, if this node is the master.
    Resign(oneshot::Sender<Result<()>>),
    /// As the master: give a shard another home.
    MoveHome(ShardId, NodeName, oneshot::Sender<Result<()>>),
    /// Sizes of shards.
    Sizes(BTreeMap<ShardId, u64>),
}

/// One task does all that concerns the node's place, one thing after the other: registration, election, placement.
pub(crate) struct Coordinator {
    pub(crate) session: Session,
    pub(crate) view: watch::Receiver<Arc<View>>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) registered: watch::Sender<bool>,
    pub(crate) membership: Membership,
    pub(crate) election: Election,
    pub(crate) controller: ControlLoop,
    pub(crate) wanted: bool,
}

impl Coordinator {
    /// Until the last handle is gone.
    pub(crate) async fn run(mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connections = self.session.connections();
        let mut told = None;
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                changed = self.view.changed() => if changed.is_err() { return },
                _ = connections.changed() => {}
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.step().await {
                let now = Instant::now();
                if told.is_none_or(|told: Instant| now - told >= TELL_EVERY) {
                    let reason = std::error::Error::source(&error).map(ToString::to_string);
                    warn!(%error, reason, "trying again");
                    told = Some(now);
                }
            }
        }
    }

    async fn step(&mut self) -> Result<()> {
        let connection = self.session.connections().borrow().clone();
        let Some(connection) = connection else {
            self.election.stand_down();
            self.registered.send_replace(false);
            return Ok(());
        };
        let view = self.view.borrow_and_update().clone();
        if !self.wanted {
            return if self.membership.is_in_line(&view) { self.leave().await } else { Ok(()) };
        }
        let known = self.membership.entry(&connection).cloned();
        let entry = match known {
            Some(entry) if !view.connected || view.members.iter().any(|member| member.name == entry.name) => entry,
            // Not yet seen, or removed by somebody; or none yet in this session.
            known => {
                if known.is_none() {
                    self.registered.send_replace(false);
                }
                self.membership.register(&connection).await?
            }
        };
        self.registered.send_replace(true);
        if self.election.step(&view, &entry).await?.is_some() {
            self.controller.step(&view, &mut self.election).await?;
        }
        Ok(())
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Register => self.wanted = true,
            Command::Unregister(reply) => {
                self.wanted = false;
                let outcome = self.leave().await;
                let _ = reply.send(outcome);
            }
            Command::Resign(reply) => {
                let outcome = match self.election.term() {
                    // It is registered anew, at the end of the line, by the next step.
                    Some(_) => self.leave().await,
                    None => Err(Error::NotMaster { master: self.view.borrow().master_node().cloned() }),
                };
                let _ = reply.send(outcome);
            }
            Command::MoveHome(shard, node, reply) => {
                let view = self.view.borrow().clone();
                let outcome = self.controller.move_home(&view, shard, &node, &mut self.election).await;
                let _ = reply.send(outcome);
            }
            Command::Sizes(sizes) => self.controller.set_sizes(sizes),
        }
    }

    async fn leave(&mut self) -> Result<()> {
        self.election.stand_down();
        self.registered.send_replace(false);
        self.membership.deregister().await
    }
}
