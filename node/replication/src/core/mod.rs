//! The state machine of one replica: [`Core::step`] takes an input and the time, and says what to do.
//!
//! [`Core`] is either following (a member or a learner) or leading a term. What both share lies here; `follow` and
//! `takeover` are the follower's side, `lead`, `write`, `read`, `catch_up`, `change` and `transfer` the primary's.

mod catch_up;
mod change;
mod effect;
mod follow;
mod input;
mod known;
mod lead;
mod log;
mod message;
mod promise;
mod read;
mod report;
mod rules;
mod settings;
mod takeover;
mod term;
mod transfer;
mod write;

use std::{collections::BTreeMap, sync::Arc};

use kv_types::{Entry, EntryId, Epoch, EpochHistory, Lineage, Seq, VolumeId};

pub use effect::{Committed, Effect, Refusal};
pub use input::{ChangeOutcome, Input, Ticket, Token};
pub use message::{Body, Grant, Message};
pub use report::{FollowerReport, Report, RoleReport};
pub use rules::{Rule, Rules};
pub use settings::{Settings, Surroundings, Time};

use follow::Following;
use known::Known;
use log::ReplicaLog;
use promise::Promise;
use takeover::Takeover;
use term::Term;

/// What a replica found on its volume when it started.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The persisted promise.
    pub promised: Epoch,
    /// The lineage of the log.
    pub lineage: Lineage,
    /// The log's epoch history; all of it is durable.
    pub history: EpochHistory,
    /// The last entry that is in the table.
    pub applied: Seq,
    /// The entries after it.
    pub tail: Vec<Entry>,
    /// The copy has lost what it once acknowledged (or may have): it counts nowhere until it has left the ISR.
    pub void: bool,
    /// A non-empty torn tail was cut off the log.
    pub torn: bool,
}

impl Recovered {
    /// A replica on a volume that knows nothing of the shard.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            promised: Epoch(0),
            lineage: Lineage(0),
            history: EpochHistory::default(),
            applied: Seq(0),
            tail: Vec::new(),
            void: false,
            torn: false,
        }
    }
}

/// One replica of one shard.
#[derive(Debug)]
pub struct Core {
    me: VolumeId,
    incarnation: u64,
    settings: Settings,
    rules: Rules,
    surroundings: Arc<Surroundings>,
    log: ReplicaLog,
    promise: Promise,
    lineage: Lineage,
    void: bool,
    torn: bool,
    /// The last entries of other replicas, as told since the start: what a torn log is compared with.
    compared: BTreeMap<VolumeId, EntryId>,
    known: Option<Known>,
    /// All up to here is committed.
    commit: Seq,
    next_ticket: Ticket,
    following: Following,
    takeover: Option<Takeover>,
    term: Option<Term>,
    /// The last epoch led since the start.
    led: Epoch,
    config_asked_at: Option<Time>,
}

impl Core {
    /// A replica that has just started. `incarnation` must grow with every start on the same volume, by more than how often a copy is asked
    /// to start over meanwhile: that begins another incarnation, too.
    #[must_use]
    pub fn new(
        me: VolumeId,
        incarnation: u64,
        settings: Settings,
        rules: Rules,
        recovered: Recovered,
        now: Time,
    ) -> Self {
        let Recovered { promised, lineage, history, applied, tail, void, torn } = recovered;
        // An entry of an epoch is only ever taken under a promise of that epoch.
        let promised = promised.max(history.last().epoch);
        // [M] After a start a member counts as having just granted L for every shard.
        let granted = if rules.hold(Rule::RestartCountsAsGrant) { now + settings.lease } else { now };
        Self {
            me,
            incarnation,
            settings,
            rules,
            surroundings: Arc::default(),
            log: ReplicaLog::new(history, applied, tail),
            promise: Promise::new(promised),
            lineage,
            void,
            torn,
            compared: BTreeMap::new(),
            known: None,
            commit: applied,
            next_ticket: Ticket(1),
            following: Following::new(granted),
            takeover: None,
            term: None,
            led: Epoch(0),
            config_asked_at: None,
        }
    }

    /// Takes `input`, which has arrived by `now`, and appends to `effects` what is to be done about it, in order.
    ///
    /// `now` is read after the input's arrival, never before: a lease is judged by it. **\[M\]**
    pub fn step(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Propose { token, payload } => {
                self.on_propose(now, token, payload, effects);
                return;
            }
            Input::Read { token, confirmed } => {
                self.on_read(now, token, confirmed, effects);
                return;
            }
            Input::Flush => {}
            Input::Tick => self.on_tick(now, effects),
            Input::Message(message) => self.on_message(now, message, effects),
            Input::Durable(ticket) => self.on_durable(now, ticket, effects),
            Input::Config { config, quorum } => self.on_config(now, config, quorum, effects),
            Input::Changed { expected, outcome } => self.on_changed(now, expected, outcome, effects),
            Input::Surroundings(surroundings) => self.on_surroundings(now, surroundings, effects),
            Input::Handover { token, target } => self.on_handover(now, token, target, effects),
            Input::Split { token, child, at, payload } => self.on_split(now, token, child, at, payload, effects),
            Input::Fetched { to, from, entries } => self.on_fetched(now, to, from, entries, effects),
            Input::SnapshotInstalled { epoch, base, history } => {
                self.on_snapshot_installed(epoch, base, history, effects);
            }
            Input::SnapshotFailed { epoch } => {
                self.following.snapshot.take_if(|asked| *asked == epoch);
            }
            Input::LinkLost(peer) => self.on_link_lost(peer),
        }
        self.flush(now, effects);
    }

    fn on_tick(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.term.is_some() {
            self.tick_primary(now, effects);
        } else {
            self.tick_follower(now, effects);
        }
    }

    fn on_message(&mut self, now: Time, message: Message, effects: &mut Vec<Effect>) {
        let Message { from, to, incarnation, epoch, lineage, body } = message;
        if to != self.me || from == self.me {
            return;
        }
        if let Body::Wake = body {
            self.read_config(now, effects);
            return;
        }
        if self.waits() && !matches!(body, Body::Follow { .. } | Body::Reject { .. }) {
            // Its primary is not to be told that this copy is there: it would be brought up to date.
            self.note_epoch(now, epoch, effects);
            return;
        }
        if lineage != self.lineage {
            // One of the two has not heard of a force-promote; whoever it is starts over (on_lineage).
            self.read_config_sometimes(now, effects);
            return;
        }
        if !self.is_latest(from, incarnation) {
            if let Body::Follow { .. } | Body::HeartbeatAck(_) = body {
                self.ask_for_incarnation(from, incarnation, effects);
            }
            return;
        }
        match body {
            Body::Follow { history, void } => self.on_follow(now, from, epoch, history, void, effects),
            Body::AppendAck { matched } => self.on_append_ack(now, from, epoch, matched, effects),
            Body::HeartbeatAck(grant) => self.on_heartbeat_ack(now, from, epoch, grant, effects),
            Body::Reject { promised, history } => self.on_reject(now, from, epoch, promised, history, effects),
            Body::Append { previous, entries, commit } => {
                if self.obey(now, from, epoch, effects) {
                    self.on_append(now, previous, entries, commit, effects);
                }
            }
            Body::Heartbeat { stamp, commit, sent, round } => {
                if self.obey(now, from, epoch, effects) {
                    self.on_heartbeat(now, from, stamp, commit, sent, round, effects);
                }
            }
            Body::SnapshotNeeded { incarnation, needed } => {
                if self.obey(now, from, epoch, effects) {
                    self.on_snapshot_needed(now, from, incarnation, needed, effects);
                }
            }
            Body::Wake => {}
        }
    }

    fn on_durable(&mut self, now: Time, ticket: Ticket, effects: &mut Vec<Effect>) {
        self.log.on_durable(ticket);
        self.promise.on_durable(ticket);
        if self.term.is_some() {
            self.advance_commit(now, effects);
            self.send_promised_change(now, effects);
        } else {
            self.acknowledge(now, effects);
            self.send_promised_takeover(now, effects);
            self.consider_leading(now, effects);
        }
    }

    fn on_surroundings(&mut self, now: Time, surroundings: Arc<Surroundings>, effects: &mut Vec<Effect>) {
        let was_ceased = self.surroundings.ceased;
        self.surroundings = surroundings;
        if self.surroundings.ceased && self.term.is_some() {
            self.step_down(effects);
        }
        if was_ceased && !self.surroundings.ceased {
            self.read_config(now, effects);
        }
    }

    fn on_link_lost(&mut self, peer: VolumeId) {
        if let Some(term) = &mut self.term {
            term.lost_link(peer);
        } else if self.following.leader == Some(peer) {
            self.following.asked_at = None;
        }
    }

    fn empty_log(&mut self, effects: &mut Vec<Effect>) {
        let ticket = self.ticket();
        self.log.reset(EntryId::ZERO, EpochHistory::default(), ticket);
        self.commit = Seq(0);
        self.following.matched = Seq(0);
        effects.push(Effect::Reset { base: EntryId::ZERO, history: EpochHistory::default(), ticket });
    }

    fn ticket(&mut self) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket = Ticket(ticket.0 + 1);
        ticket
    }

    fn send(&self, to: VolumeId, epoch: Epoch, body: Body, effects: &mut Vec<Effect>) {
        let (from, incarnation) = (self.me, self.incarnation);
        let message = Message { from, to, incarnation, epoch, lineage: self.lineage, body };
        effects.push(Effect::Send(message));
    }

    /// Applies what is committed and can be: on a follower only what is matched and durable.
    fn apply_committed(&mut self, effects: &mut Vec<Effect>) {
        let entries = self.log.take_committed(self.commit);
        if entries.is_empty() {
            return;
        }
        if let Some(term) = &mut self.term {
            let bytes: usize = entries.iter().map(log::size).sum();
            term.uncommitted_bytes = term.uncommitted_bytes.saturating_sub(bytes);
        }
        let committed = entries
            .into_iter()
            .map(|entry| {
                let token = self.term.as_mut().and_then(|term| term.waiter_of(entry.id.seq));
                Committed { entry, token }
            })
            .collect();
        effects.push(Effect::Apply(committed));
    }
}
