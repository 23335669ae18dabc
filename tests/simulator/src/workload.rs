//! What clients do, and what they make of answers.

use bytes::Bytes;
use kv_checker::{Action, Expected, Operation, Outcome as Told, Versioned};
use kv_replication::core::Refusal;
use kv_types::{Command, Operation as KeyOperation, Outcome, RequestId, ShardId, Write};

use crate::{
    client::{Current, Kind, Session, Step},
    coverage::Situation,
    event::{Answer, Asked, Event, NodeEvent, Request, node_of},
    world::{FIRST_SHARD, World, note},
};

/// Attempts after which a client gives up.
const MAX_ATTEMPTS: u32 = 12;

impl World {
    pub(crate) fn begin_operation(&mut self, client: usize) {
        if self.clients[client].current.is_some() || self.ending.done {
            return;
        }
        if self.ending.last_reads && client != 0 {
            return;
        }
        let (key, step) = if self.ending.last_reads {
            match self.clients[client].script.last() {
                Some((key, step)) => (key.clone(), Some(*step)),
                None => {
                    self.finish();
                    return;
                }
            }
        } else {
            let key = self.rng.index(self.plan.keys);
            (Bytes::from(vec![b'a' + key as u8]), None)
        };
        let shard = if self.rng.chance(950) { self.zookeeper.shard_of(&key) } else { None }.unwrap_or(FIRST_SHARD);
        let kind = self.choose(client, shard, &key, step);
        let operation = self.clients[client].operations + 1;
        self.clients[client].operations = operation;
        let current =
            Current { operation, shard, key, kind, call: self.now, attempts: 0, maybe: false, resting: false };
        self.clients[client].current = Some(current);
        self.attempt(client);
    }

    fn choose(&mut self, client: usize, shard: ShardId, key: &Bytes, step: Option<Step>) -> Kind {
        let dice = self.rng.below(100);
        let value = format!("{client}.{}", self.clients[client].operations + 1).into_bytes();
        let last_seen = self.clients[client].revisions.get(key).copied().unwrap_or(0);
        let (action, expected) = match (step, dice) {
            (Some(Step::Read), _) | (None, 0..30) => return Kind::Read { confirmed: false },
            (Some(Step::ConfirmedRead), _) | (None, 30..40) => return Kind::Read { confirmed: true },
            (Some(Step::Write), _) | (None, 40..75) => (Action::Put(value), None),
            (None, 75..90) => (Action::Put(value), Some(last_seen)),
            (None, _) => (Action::Delete, None),
        };
        if step.is_none() && self.rng.chance(60) {
            return Kind::Write { action, expected, request: None };
        }
        let sessions = &mut self.clients[client].sessions;
        if !sessions.contains_key(&shard)
            && let Some(parent) = sessions.get(&FIRST_SHARD).copied()
        {
            sessions.insert(shard, parent);
        }
        let Some(session) = sessions.get_mut(&shard) else { return Kind::Open };
        session.number += 1;
        let number = session.number;
        let id = session.id;
        // Numbers are used once per session, whichever shard the session is used in.
        for other in sessions.values_mut().filter(|other| other.id == id) {
            other.number = other.number.max(number);
        }
        Kind::Write { action, expected, request: Some(RequestId { session: id, number, lowest_unanswered: number }) }
    }

    /// Sends the current operation to where the client believes the primary to be.
    fn attempt(&mut self, client: usize) {
        let nodes = self.nodes.len();
        let Some(current) = &mut self.clients[client].current else { return };
        current.attempts += 1;
        current.resting = false;
        // What has no number may not be sent twice.
        let numbered = !matches!(current.kind, Kind::Write { request: None, .. });
        let doubled = numbered && self.rng.chance(self.plan.doubled_permille);
        current.maybe |= doubled;
        // A retry goes where the key is now.
        if let Some(shard) = self.zookeeper.shard_of(&current.key)
            && self.rng.chance(800)
        {
            current.shard = shard;
        }
        let what = match &current.kind {
            Kind::Open => Asked::Write { payload: Command::OpenSession.encode() },
            Kind::Read { confirmed } => Asked::Read { confirmed: *confirmed },
            Kind::Write { action, expected, request } => {
                let key = current.key.clone();
                let operation = match action {
                    Action::Put(value) => KeyOperation::put(key, value.clone()),
                    Action::Delete | Action::Get => KeyOperation::delete(key),
                };
                let operation = match expected {
                    Some(revision) => operation.expecting(*revision),
                    None => operation,
                };
                let write = Write { request: *request, operations: vec![operation], return_previous: false };
                Asked::Write { payload: Command::Write(write).encode() }
            }
        };
        let (operation, attempt) = (current.operation, current.attempts);
        let request = Request { client, operation, shard: current.shard, key: current.key.clone(), what };
        if self.rng.chance(150) {
            self.clients[client].guess = self.rng.index(nodes);
        }
        let node = self.clients[client].guess;
        note!(self, "client {client} asks node {node}: {request:?}");
        for _ in 0..1 + u64::from(doubled) {
            if !self.rng.chance(self.plan.lost_permille / 2) {
                let slow = self.rng.chance(self.plan.slow_permille);
                let delay =
                    if slow { self.rng.skewed(1_000, self.plan.slow_at_most) } else { self.rng.between(100, 1_000) };
                let what = NodeEvent::Request(request.clone());
                self.queue.push(self.now + delay, Event::Node { node, life: None, what });
            }
        }
        let patience = self.rng.between(40_000, 160_000);
        self.queue.push(self.now + patience, Event::Patience { client, operation, attempt });
    }

    pub(crate) fn answer(&mut self, client: usize, operation: u64, answer: Answer) {
        if self.rng.chance(self.plan.lost_permille / 2) {
            return;
        }
        let delay = self.rng.between(100, 1_000);
        self.queue.push(self.now + delay, Event::Answer { client, operation, answer });
    }

    pub(crate) fn take_answer(&mut self, client: usize, operation: u64, answer: Answer) {
        let Some(current) = &mut self.clients[client].current else { return };
        if current.operation != operation {
            return;
        }
        note!(self, "client {client} is told {answer:?}");
        let Some(current) = &mut self.clients[client].current else { return };
        match answer {
            Answer::Value(found) => {
                let found =
                    found.map(|found| Versioned { value: found.value.to_vec(), revision: Some(found.revision) });
                self.complete(client, Told::Found(found));
            }
            Answer::Outcome(Outcome::SessionOpened(id)) => {
                let shard = current.shard;
                self.clients[client].sessions.insert(shard, Session { id, number: 0 });
                self.complete(client, Told::Failed);
            }
            Answer::Outcome(Outcome::Applied { revision, existed, .. }) => {
                if current.attempts > 1 {
                    self.coverage.count(Situation::Duplicate);
                }
                let put = matches!(&current.kind, Kind::Write { action: Action::Put(_), .. });
                let done = if put {
                    Told::Done { revision: Some(revision.0), existed: None }
                } else {
                    Told::Done { revision: None, existed: Some(existed > 0) }
                };
                self.complete(client, done);
            }
            Answer::Outcome(Outcome::RevisionMismatch { actual, .. }) => {
                self.coverage.count(Situation::Mismatch);
                self.complete(client, Told::Mismatch { actual: Some(actual) });
            }
            Answer::Outcome(Outcome::SessionExpired) => {
                self.coverage.count(Situation::SessionExpired);
                let shard = current.shard;
                let definite = current.attempts == 1 && !current.maybe;
                self.clients[client].sessions.remove(&shard);
                if shard != FIRST_SHARD {
                    self.clients[client].sessions.remove(&FIRST_SHARD);
                }
                self.complete(client, if definite { Told::Failed } else { Told::Unknown });
            }
            Answer::Outcome(Outcome::Nothing) => self.complete(client, Told::Unknown),
            Answer::Refused(Refusal::NotPrimary { primary: Some(primary) }) => {
                self.clients[client].guess = node_of(primary);
                self.rest(client);
            }
            Answer::Refused(Refusal::Unknown) => {
                current.maybe = true;
                self.rest(client);
            }
            Answer::Refused(_) => {
                self.clients[client].guess = self.rng.index(self.nodes.len());
                self.rest(client);
            }
        }
    }

    /// An attempt has got no answer in time: it may still take effect.
    pub(crate) fn lose_patience(&mut self, client: usize, operation: u64, attempt: u32) {
        let Some(current) = &mut self.clients[client].current else { return };
        if current.operation == operation && current.attempts == attempt && !current.resting {
            current.maybe = true;
            self.clients[client].guess = self.rng.index(self.nodes.len());
            self.rest(client);
        }
    }

    /// The next attempt, after a while, if there is to be one.
    fn rest(&mut self, client: usize) {
        let last = self.ending.last_reads && client == 0;
        let Some(current) = &mut self.clients[client].current else { return };
        let once = matches!(current.kind, Kind::Write { request: None, .. }) && current.maybe;
        if once || (current.attempts >= MAX_ATTEMPTS && !last) {
            let told = if current.maybe { Told::Unknown } else { Told::Failed };
            self.complete(client, told);
        } else if !current.resting {
            current.resting = true;
            let operation = current.operation;
            let delay = self.rng.between(1_000, 15_000);
            self.queue.push(self.now + delay, Event::Again { client, operation });
        }
    }

    pub(crate) fn try_again(&mut self, client: usize, operation: u64) {
        if self.clients[client].current.as_ref().is_some_and(|now| now.operation == operation && now.resting) {
            self.attempt(client);
        }
    }

    fn complete(&mut self, client: usize, told: Told) {
        let Some(current) = self.clients[client].current.take() else { return };
        let revision = match &told {
            Told::Found(Some(found)) => found.revision,
            Told::Found(None) => Some(0),
            Told::Done { revision, .. } => Some(revision.unwrap_or(0)),
            Told::Mismatch { actual } => *actual,
            Told::Unknown | Told::Failed => None,
        };
        if let Some(revision) = revision {
            self.clients[client].revisions.insert(current.key.clone(), revision);
        }
        let good = !matches!(told, Told::Unknown | Told::Failed);
        if self.ending.last_reads && client == 0 && good {
            self.clients[client].script.pop();
        }
        self.record(client, current, told);
        let think = self.rng.between(500, self.plan.think_at_most);
        self.queue.push(self.now + think, Event::Begin(client));
    }

    pub(crate) fn record(&mut self, client: usize, current: Current, outcome: Told) {
        let (action, expected) = match current.kind {
            Kind::Open => return,
            Kind::Read { .. } => (Action::Get, None),
            Kind::Write { action, expected, .. } => (action, expected.map(Expected::Revision)),
        };
        let ret = (outcome != Told::Unknown).then_some(self.now);
        let (client, key) = (self.clients[client].id, current.key.to_vec());
        self.history.push(Operation { client, key, action, expected, call: current.call, ret, outcome });
    }
}
