//! One copy on this node: its core, its state machine, and who waits for what.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use kv_replication::{
    apply::Machine,
    core::{Core, Effect, Input, Ticket as CoreTicket, Token},
};
use kv_storage::{Birth, Space, Ticket as VolumeTicket};
use kv_types::{Command, EntryId, KeyRange, Operation, RequestId, Seq, ShardConfig, ShardId, Write};
use tokio::sync::oneshot;

use super::{
    events::Events,
    request::{Answer, ClientWrite, Failure, Request, Responder},
    shared::Shared,
    unapplied::Unapplied,
    volumes::OpenVolume,
};

/// One copy of one shard, on one volume of this node.
pub(crate) struct Replica {
    pub(crate) shard: ShardId,
    pub(crate) volume: Arc<OpenVolume>,
    state: Mutex<State>,
    leads: AtomicBool,
    /// Which rows of the volume's table are this copy's. A lock of its own, taken last: other copies ask for it.
    rows: Mutex<(Space, KeyRange)>,
}

/// What the lock of a [`Replica`] guards. Whoever holds it runs the core and carries out its effects: a value is read
/// under the same lock, and so in the same term, as its lease is checked.
pub(crate) struct State {
    pub(crate) core: Core,
    pub(crate) machine: Machine,
    pub(crate) space: Space,
    pub(crate) applied: EntryId,
    /// Committed, and not in the table yet.
    pub(super) unapplied: Unapplied,
    pub(crate) events: Events,
    /// What was applied when the copy ceased to lead: up to there its events are all there are.
    pub(super) led_until: Seq,
    /// In the ISR once since the start.
    pub(crate) was_in_sync: bool,
    /// An expiry has been proposed and has not been applied.
    pub(crate) expiring: bool,
    /// Of the configuration that was persisted last.
    pub(crate) persisted: Option<ShardConfig>,
    /// The copy was made by a split, and its own configuration has not been seen: it hears no messages until then.
    pub(crate) birth: Option<Birth>,
    /// Why this copy does nothing any more: it is being made anew.
    pub(crate) broken: Option<String>,
    /// By token, which ascend: a tree is cheaper here than hashing.
    pub(super) pending: BTreeMap<Token, Pending>,
    pub(super) tickets: VecDeque<(VolumeTicket, CoreTicket)>,
    pub(super) config_read: ConfigRead,
    next_token: u64,
    dirty: bool,
    effects: Vec<Effect>,
}

/// Who waits for a token.
pub(super) enum Pending {
    Client(Request, Responder),
    /// A handover or split.
    Transfer(oneshot::Sender<Result<ShardConfig, Failure>>),
    /// The node's own expiry of keys.
    Expiry,
}

/// At most one reading of the configuration is under way; one that is asked for meanwhile begins after it.
#[derive(Default)]
pub(super) struct ConfigRead {
    pub(super) under_way: bool,
    pub(super) again: bool,
}

impl Replica {
    pub(super) fn new(
        shard: ShardId,
        volume: Arc<OpenVolume>,
        core: Core,
        machine: Machine,
        start: Start,
    ) -> Arc<Self> {
        let Start { space, applied, config, birth } = start;
        let range = match (&config, &birth) {
            (Some(config), _) => config.range.clone(),
            (None, Some(birth)) => birth.range.clone(),
            (None, None) => KeyRange::all(),
        };
        let state = State {
            core,
            machine,
            space,
            applied,
            unapplied: Unapplied::default(),
            events: Events::new(applied.seq),
            led_until: Seq(0),
            was_in_sync: false,
            expiring: false,
            persisted: config,
            birth,
            broken: None,
            pending: BTreeMap::new(),
            tickets: VecDeque::new(),
            config_read: ConfigRead::default(),
            next_token: 1,
            dirty: false,
            effects: Vec::new(),
        };
        let (leads, rows) = (AtomicBool::new(false), Mutex::new((space, range)));
        Arc::new(Self { shard, volume, state: Mutex::new(state), leads, rows })
    }

    /// Which rows of the volume's table are this copy's.
    pub(super) fn rows(&self) -> (Space, KeyRange) {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_rows(&self, space: Space, range: KeyRange) {
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = (space, range);
    }

    pub(crate) fn leads(&self) -> bool {
        self.leads.load(Ordering::Acquire)
    }

    pub(super) fn set_leads(&self, leads: bool) {
        self.leads.store(leads, Ordering::Release);
    }

    /// A panic under the lock stops the process (`panic = "abort"`, and in tests the replica's own test).
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the core an input and carries out what follows.
    pub(crate) fn step(self: &Arc<Self>, shared: &Arc<Shared>, input: Input) {
        self.lock().step(shared, self, input);
    }

    /// Hands over what was submitted.
    pub(super) fn flush(self: &Arc<Self>, shared: &Arc<Shared>) {
        let mut state = self.lock();
        state.dirty = false;
        state.step(shared, self, Input::Flush);
    }

    /// Takes a client's request. Returns whether a [`Self::flush`] is due that nobody has asked for yet.
    pub(super) fn submit(self: &Arc<Self>, shared: &Arc<Shared>, request: Request, responder: Responder) -> bool {
        let mut state = self.lock();
        let input = match state.admit(shared, self, &request) {
            Ok(Admitted::Answer(answer)) => {
                drop(state);
                responder.answer(answer);
                return false;
            }
            Ok(Admitted::Input(input)) => input,
            Err(failure) => {
                drop(state);
                responder.answer(Err(failure));
                return false;
            }
        };
        let token = match &input {
            Input::Propose { token, .. } | Input::Read { token, .. } => *token,
            _ => return false,
        };
        state.pending.insert(token, Pending::Client(request, responder));
        state.step(shared, self, input);
        !std::mem::replace(&mut state.dirty, true)
    }
}

/// What a replica begins with.
pub(super) struct Start {
    pub(super) space: Space,
    pub(super) applied: EntryId,
    pub(super) config: Option<ShardConfig>,
    pub(super) birth: Option<Birth>,
}

enum Admitted {
    Answer(Answer),
    Input(Input),
}

impl State {
    /// Steps the core and carries out what follows.
    pub(super) fn step(&mut self, shared: &Arc<Shared>, replica: &Arc<Replica>, input: Input) {
        let unborn = self.birth.is_some() && matches!(input, Input::Message(_));
        if self.broken.is_some() || unborn {
            return;
        }
        let tick = matches!(input, Input::Tick);
        let mut effects = std::mem::take(&mut self.effects);
        self.core.step(shared.now(), input, &mut effects);
        for effect in effects.drain(..) {
            self.execute(shared, replica, effect);
        }
        self.effects = effects;
        if tick {
            self.apply(shared, replica);
        }
        self.after_step(shared, replica);
    }

    fn after_step(&mut self, shared: &Arc<Shared>, replica: &Arc<Replica>) {
        let Some(config) = self.core.config() else { return };
        self.was_in_sync |= config.is_in_sync(replica.volume.id);
        if self.persisted.as_ref().is_none_or(|persisted| persisted.epoch != config.epoch) {
            replica.set_rows(self.space, config.range.clone());
            self.birth = None;
            self.persisted = Some(config.clone());
            self.persist_state(shared, replica);
            self.events.wake();
            shared.routes_changed();
        }
    }

    fn admit(&mut self, shared: &Arc<Shared>, replica: &Arc<Replica>, request: &Request) -> Result<Admitted, Failure> {
        let Some(config) = self.core.config() else { return Err(Failure::NotHere) };
        let inside = match request.routing_key() {
            Some(key) if matches!(request, Request::Scan(page) if page.reverse) => {
                config.range.start < key && config.range.end.as_ref().is_none_or(|end| key <= end.as_ref())
            }
            Some(key) => config.range.contains(key),
            None => config.range.end.is_none(),
        };
        if !inside || !replica.leads() {
            return Err(Failure::NotHere);
        }
        let confirmed = match request {
            Request::Get { confirmed, .. } => *confirmed,
            Request::Scan(page) => page.confirmed,
            Request::Write(write) => {
                self.check_batch(write)?;
                shared.check_room(replica)?;
                let payload = write_command(write).encode();
                return Ok(Admitted::Input(Input::Propose { token: self.token(), payload }));
            }
            Request::OpenSession { .. } => {
                shared.check_room(replica)?;
                let payload = Command::OpenSession.encode();
                return Ok(Admitted::Input(Input::Propose { token: self.token(), payload }));
            }
        };
        // The clock is read after the request has arrived, and the value in the same term as the lease. [M]
        if !confirmed && self.core.can_read(shared.now()) {
            return Ok(Admitted::Answer(self.read(shared, replica, request)));
        }
        Ok(Admitted::Input(Input::Read { token: self.token(), confirmed }))
    }

    fn check_batch(&self, write: &ClientWrite) -> Result<(), Failure> {
        let Some(config) = self.core.config() else { return Err(Failure::NotHere) };
        let outside = write.operations.iter().find(|(operation, _)| !config.range.contains(&operation.key));
        match (outside, &config.range.end) {
            (None, _) => Ok(()),
            (Some((operation, _)), Some(end)) if operation.key >= *end => {
                Err(Failure::CrossShard { boundary: end.clone() })
            }
            (Some(_), _) => Err(Failure::CrossShard { boundary: config.range.start.clone() }),
        }
    }

    pub(super) fn token(&mut self) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        token
    }
}

/// Deadlines become absolute here, by the primary's wall clock, and are replicated so: copies never disagree.
fn write_command(write: &ClientWrite) -> Command {
    let now = super::wall_clock_millis();
    let absolute = |(operation, ttl_millis): &(Operation, u64)| {
        let mut operation = operation.clone();
        if let (Some(kv_types::Change::Put(put)), 1..) = (&mut operation.change, *ttl_millis) {
            put.expires_at_millis = now.saturating_add(*ttl_millis);
        }
        operation
    };
    let request: Option<RequestId> = write.request;
    let operations = write.operations.iter().map(absolute).collect();
    Command::Write(Write { request, operations, return_previous: write.return_previous })
}
