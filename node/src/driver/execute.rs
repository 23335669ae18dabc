//! Carries out the core's effects, in order.

use std::sync::Arc;

use kv_replication::core::{ChangeOutcome, Effect, Input, Refusal, Ticket as CoreTicket, Token};
use kv_storage::ReplicaState;
use kv_types::{EntryId, Epoch, EpochHistory, Lineage, ShardConfig, ShardId};
use tracing::{info, warn};

use super::{
    replica::{Pending, Replica, State},
    request::Failure,
    shared::Shared,
};

impl State {
    pub(super) fn execute(&mut self, shared: &Arc<Shared>, replica: &Arc<Replica>, effect: Effect) {
        let volume = &replica.volume;
        match effect {
            Effect::Send(message) => shared.peers.send(shared, replica.shard, message),
            Effect::Append { entries, ticket } => {
                let handed = volume.volume.append(replica.shard, &entries);
                self.handed_over(shared, replica, handed, ticket);
            }
            Effect::Truncate { after, ticket } => {
                let handed = volume.volume.truncate(replica.shard, after);
                self.handed_over(shared, replica, handed, ticket);
            }
            Effect::Promise { epoch, lineage, void, ticket } => {
                let state = self.replica_state(epoch, lineage, void);
                let handed = volume.volume.put_state(replica.shard, state);
                self.handed_over(shared, replica, handed, ticket);
            }
            Effect::Reset { base, history, ticket } => self.reset(shared, replica, base, &history, ticket),
            Effect::CompareAndSet { expected, new, split } => compare_and_set(shared, replica, expected, new, split),
            Effect::ReadConfig => self.read_config(shared, replica),
            Effect::Apply(committed) => {
                if self.unapplied.take(committed) || replica.leads() {
                    self.apply(shared, replica);
                }
            }
            Effect::Serve(token) => {
                if let Some(Pending::Client(request, responder)) = self.pending.remove(&token) {
                    let answer = self.read(shared, replica, &request);
                    responder.answer(answer);
                }
            }
            Effect::Refuse { token, refusal } => self.refuse(token, refusal),
            Effect::Done { token, config } => {
                if let Some(Pending::Transfer(done)) = self.pending.remove(&token) {
                    let _ = done.send(Ok(config));
                }
            }
            Effect::FetchEntries { to, from, max_bytes } => {
                let (shared, replica) = (Arc::clone(shared), Arc::clone(replica));
                // Cold segments are read from the disk: not on the thread that serves.
                tokio::task::spawn_blocking(move || {
                    let entries = match replica.volume.volume.read(replica.shard, from, max_bytes) {
                        Ok(entries) => Some(entries),
                        Err(error) => {
                            info!(shard = %replica.shard, %from, %error, "log does not reach back: a snapshot is needed");
                            None
                        }
                    };
                    replica.step(&shared, Input::Fetched { to, from, entries });
                });
            }
            Effect::FetchSnapshot { from, epoch } => {
                super::snapshot::fetch(Arc::clone(shared), Arc::clone(replica), from, epoch);
            }
            Effect::Leads(leads) => {
                let epoch = self.core.config().map(|config| config.epoch.0);
                info!(shard = %replica.shard, folder = %volume.folder, leads, epoch, "primary");
                // What is read from here on is read in the table.
                self.apply(shared, replica);
                replica.set_leads(leads && self.broken.is_none());
                if !leads {
                    self.led_until = self.applied.seq;
                    self.expiring = false;
                    self.events.wake();
                }
                shared.routes_changed();
            }
        }
    }

    fn handed_over(
        &mut self,
        shared: &Arc<Shared>,
        replica: &Arc<Replica>,
        handed: Result<kv_storage::Ticket, kv_storage::Refused>,
        ticket: CoreTicket,
    ) {
        match handed {
            Ok(of_volume) => {
                self.tickets.push_back((of_volume, ticket));
                replica.volume.syncs.wait(of_volume, replica.shard);
            }
            // Memory and disk disagree from here on, so going on would be wrong.
            Err(refused) => shared.fatal(format!("the log took no record: {refused}")),
        }
    }

    /// All of the volume's log up to `durable` is durable.
    pub(super) fn on_durable(&mut self, shared: &Arc<Shared>, replica: &Arc<Replica>, durable: kv_storage::Ticket) {
        let mut last = None;
        while let Some((_, ticket)) = self.tickets.pop_front_if(|(of_volume, _)| *of_volume <= durable) {
            last = Some(ticket);
        }
        if let Some(ticket) = last {
            self.step(shared, replica, Input::Durable(ticket));
        }
    }

    fn replica_state(&self, promised: Epoch, lineage: Lineage, void: bool) -> ReplicaState {
        ReplicaState {
            promised,
            lineage,
            config: self.persisted.clone(),
            space: self.space,
            incarnation: self.core.incarnation(),
            void,
            torn: self.core.is_torn(),
            birth: self.birth.clone(),
        }
    }

    /// Keeps the newest known configuration on the volume: a lost ZooKeeper can be rebuilt from it. Nothing waits for
    /// it.
    pub(super) fn persist_state(&mut self, shared: &Arc<Shared>, replica: &Arc<Replica>) {
        let report = self.core.report(shared.now());
        let state = self.replica_state(report.promised, self.core.lineage(), report.void);
        if let Err(refused) = replica.volume.volume.put_state(replica.shard, state) {
            shared.fatal(format!("the log took no record: {refused}"));
        }
    }

    fn reset(
        &mut self,
        shared: &Arc<Shared>,
        replica: &Arc<Replica>,
        base: EntryId,
        history: &EpochHistory,
        ticket: CoreTicket,
    ) {
        if base == EntryId::ZERO {
            self.start_over(shared, replica);
        }
        let handed = replica.volume.volume.reset(replica.shard, base, history);
        self.handed_over(shared, replica, handed, ticket);
    }

    fn refuse(&mut self, token: Token, refusal: Refusal) {
        let failure = match refusal {
            Refusal::NotPrimary { .. } => Failure::NotHere,
            Refusal::Unavailable(why) => Failure::Unavailable(why.to_owned()),
            Refusal::Exhausted(why) => Failure::Exhausted(why.to_owned()),
            Refusal::TooFewInSync { in_sync, bound } => Failure::Unavailable(format!(
                "the shard has {in_sync} copies in sync, and writes need {bound} (min-in-sync)"
            )),
            Refusal::Unknown => Failure::Unknown("the shard's primary changed before the write was committed".into()),
            Refusal::Impossible(why) => Failure::Refused(why.to_owned()),
        };
        match self.pending.remove(&token) {
            Some(Pending::Client(_, responder)) => responder.answer(Err(failure)),
            Some(Pending::Transfer(done)) => drop(done.send(Err(failure))),
            Some(Pending::Expiry) => self.expiring = false,
            None => {}
        }
    }

    fn read_config(&mut self, shared: &Arc<Shared>, replica: &Arc<Replica>) {
        if self.config_read.under_way {
            // What is under way may have been read before the question.
            self.config_read.again = true;
            return;
        }
        self.config_read.under_way = true;
        let (shared, replica) = (Arc::clone(shared), Arc::clone(replica));
        tokio::spawn(async move {
            let read = shared.cluster().quorum_read(replica.shard).await;
            let mut state = replica.lock();
            state.config_read.under_way = false;
            let again = std::mem::take(&mut state.config_read.again);
            match read {
                Ok(config) => state.step(&shared, &replica, Input::Config { config, quorum: true }),
                Err(error) => warn!(shard = %replica.shard, %error, "configuration could not be read"),
            }
            if again {
                state.read_config(&shared, &replica);
            }
        });
    }
}

fn compare_and_set(
    shared: &Arc<Shared>,
    replica: &Arc<Replica>,
    expected: Epoch,
    new: ShardConfig,
    split: Option<(ShardId, ShardConfig)>,
) {
    let (shared, replica) = (Arc::clone(shared), Arc::clone(replica));
    tokio::spawn(async move {
        let cluster = shared.cluster();
        let outcome = match &split {
            None => cluster.compare_and_set(replica.shard, expected, new.clone()).await,
            Some((child, child_config)) => {
                let change = kv_cluster::SplitChange {
                    parent: replica.shard,
                    expected,
                    new_parent: new.clone(),
                    child: *child,
                    child_config: child_config.clone(),
                };
                cluster.split(&change).await.unwrap_or_else(|error| {
                    warn!(shard = %replica.shard, %error, "split was refused");
                    kv_cluster::CasOutcome::Unknown
                })
            }
        };
        info!(shard = %replica.shard, %expected, primary = ?new.primary, isr = ?new.isr, ?outcome, "change of configuration");
        let outcome = match outcome {
            kv_cluster::CasOutcome::Won(_) => ChangeOutcome::Won(new),
            kv_cluster::CasOutcome::Lost { newer } => ChangeOutcome::Lost(newer),
            kv_cluster::CasOutcome::Unknown => ChangeOutcome::Unknown,
        };
        let won = matches!(outcome, ChangeOutcome::Won(_));
        replica.step(&shared, Input::Changed { expected, outcome });
        if let (true, Some((child, config))) = (won, split)
            && let Some(child) = shared.replica(child, replica.volume.id)
        {
            child.step(&shared, Input::Config { config, quorum: true });
        }
    });
}
