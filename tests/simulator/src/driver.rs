//! What a node's driver does: inputs in, effects out.

use kv_replication::core::{Body, Committed, Core, Effect, Input, Message, Refusal, Rule, Ticket, Token};
use kv_types::{Command, ShardId};

use crate::{
    coverage::Situation,
    disk::{Disk, Write},
    event::{Answer, Asked, Event, NodeEvent, Request, node_of},
    invariants::Invariant,
    node::Replica,
    plan::LEASE,
    requests::{Open, Waits},
    table::Table,
    world::{World, note},
};

/// More than one copy comes to by itself while its node runs.
const INCARNATIONS_OF_ONE: u64 = 1_000_000;

impl World {
    /// Something reaches a process that is up and not paused.
    pub(crate) fn reach(&mut self, node: usize, what: NodeEvent) {
        match what {
            NodeEvent::Tick => {
                self.look_around(node);
                for shard in self.shards_of(node) {
                    self.feed(node, shard, Input::Tick);
                }
                let delay = self.rng.between(LEASE / 14, LEASE / 10);
                self.to_node(delay, node, NodeEvent::Tick);
            }
            NodeEvent::Persist => {
                self.persist(node);
                let delay = self.rng.between(20_000, 300_000);
                self.to_node(delay, node, NodeEvent::Persist);
            }
            NodeEvent::Input(shard, input) => {
                if let (Input::Durable(ticket), Some(replica)) = (&*input, self.nodes[node].replicas.get_mut(&shard)) {
                    replica.disk.sync(*ticket);
                }
                self.feed(node, shard, *input);
            }
            NodeEvent::Message(shard, message) => self.feed(node, shard, Input::Message(*message)),
            NodeEvent::Request(request) => self.request(node, request),
            NodeEvent::SnapshotAsked { shard, by, life, epoch, ask } => {
                self.give_snapshot(node, shard, by, life, epoch, ask);
            }
            NodeEvent::SnapshotArrived { shard, epoch, ask, snapshot } => {
                self.take_snapshot(node, shard, epoch, ask, *snapshot);
            }
            NodeEvent::SnapshotMissed { shard, epoch, ask } => {
                if self.awaits_snapshot(node, shard, ask) {
                    self.coverage.count(Situation::SnapshotFailed);
                    self.feed(node, shard, Input::SnapshotFailed { epoch });
                }
            }
            NodeEvent::Watch(shard) => {
                // What a watch makes one read may be as old as the ZooKeeper server that is asked.
                let age = if self.rng.chance(100) { 1 + self.rng.index(4) } else { 0 };
                if self.is_connected(node)
                    && let Some(config) = self.zookeeper.earlier(shard, age).cloned()
                {
                    if age > 0 {
                        self.coverage.count(Situation::StaleConfig);
                    }
                    self.feed(node, shard, Input::Config { config, quorum: false });
                }
            }
        }
    }

    pub(crate) fn shards_of(&self, node: usize) -> Vec<ShardId> {
        self.nodes[node].replicas.keys().copied().collect()
    }

    pub(crate) fn is_broken_here(&self, rule: Rule) -> bool {
        self.broken == Some(rule)
    }

    /// A process starts on what its volume holds.
    pub(crate) fn start(&mut self, node: usize) {
        if self.nodes[node].up {
            return;
        }
        note!(self, "node {node} starts on {:?}", self.nodes[node].volume);
        if self.nodes[node].life > 0 && self.rng.chance(self.plan.reboot_permille) {
            self.nodes[node].reboot(self.now, &mut self.rng);
            self.coverage.count(Situation::Rebooted);
        }
        let time = self.nodes[node].time(self.now);
        self.nodes[node].up = true;
        self.nodes[node].life += 1;
        self.nodes[node].paused_until = 0;
        self.nodes[node].session = crate::node::Session { seen_at: time, ..Default::default() };
        if self.nodes[node].life == 1 {
            self.make_replicas(node, true);
        }
        for shard in self.shards_of(node) {
            self.open(node, shard);
        }
        let delay = self.rng.between(1, LEASE / 10);
        self.to_node(delay, node, NodeEvent::Tick);
        let delay = self.rng.between(20_000, 300_000);
        self.to_node(delay, node, NodeEvent::Persist);
    }

    /// Copies that the placement asks for. A volume in the ISR of a shard that it knows nothing of has lost its copy.
    pub(crate) fn make_replicas(&mut self, node: usize, first: bool) {
        let volume = self.nodes[node].volume;
        let placed = |placement: &kv_types::Placement| placement.replicas.contains(&volume);
        let view = if first { &self.zookeeper.placement } else { &self.nodes[node].session.placement };
        let shards: Vec<_> = view.iter().filter(|(_, placement)| placed(placement)).map(|(shard, _)| *shard).collect();
        for shard in shards {
            let in_sync = self.zookeeper.config(shard).is_some_and(|config| config.is_in_sync(volume));
            if self.nodes[node].replicas.contains_key(&shard) || (in_sync && !first) {
                continue;
            }
            self.nodes[node].replicas.insert(shard, Replica::new(Disk::empty(shard)));
            if !first {
                self.open(node, shard);
            }
        }
    }

    pub(crate) fn open(&mut self, node: usize, shard: ShardId) {
        self.nodes[node].incarnation += INCARNATIONS_OF_ONE;
        let (volume, incarnation, time) =
            (self.nodes[node].volume, self.nodes[node].incarnation, self.nodes[node].time(self.now));
        let (settings, rules) = (self.plan.settings(), self.rules);
        let Some(replica) = self.nodes[node].replicas.get_mut(&shard) else { return };
        let recovered = replica.disk.recover();
        if recovered.torn {
            self.coverage.count(Situation::Torn);
        }
        if recovered.void {
            self.coverage.count(Situation::Void);
        }
        replica.table = replica.disk.recovered_table();
        replica.surroundings = Default::default();
        replica.synced_by = self.now;
        replica.read_early.clear();
        replica.awaits_snapshot = false;
        replica.barrier_due = None;
        let line = self.trace.on.then(|| format!("node {node} shard {shard} recovers {recovered:?}"));
        replica.core = Some(Core::new(volume, incarnation, settings, rules, recovered, time));
        if let Some(line) = line {
            self.note(line);
        }
    }

    fn request(&mut self, node: usize, request: Request) {
        let shard = request.shard;
        let replica = self.nodes[node].replicas.get(&shard);
        let in_range = replica
            .and_then(|replica| replica.core.as_ref())
            .and_then(Core::config)
            .is_some_and(|config| config.range.contains(&request.key));
        if !in_range {
            let (client, operation) = (request.client, request.operation);
            self.answer(client, operation, Answer::Refused(Refusal::NotPrimary { primary: None }));
            return;
        }
        let what = request.what.clone();
        let early = self
            .is_broken_here(Rule::ValueAndLeaseOfOneTerm)
            .then(|| Answer::Value(replica.and_then(|replica| replica.table.get(&request.key))));
        let committed = self.ledgers.get(&shard).map_or(0, |ledger| ledger.last().seq.0);
        let open = Open { node, since: self.now, what: Waits::Client(request), committed };
        let token = self.requests.open(open);
        match what {
            Asked::Read { confirmed } => {
                if let (Some(early), Some(replica)) = (early, self.nodes[node].replicas.get_mut(&shard)) {
                    replica.read_early.insert(token, early);
                }
                self.feed(node, shard, Input::Read { token, confirmed });
                self.feed(node, shard, Input::Flush);
            }
            Asked::Write { payload } => {
                self.feed(node, shard, Input::Propose { token, payload });
                if self.rng.chance(700) {
                    self.feed(node, shard, Input::Flush);
                } else {
                    self.to_node(200, node, NodeEvent::Input(shard, Box::new(Input::Flush)));
                }
            }
        }
    }

    pub(crate) fn carry_out(&mut self, node: usize, shard: ShardId, effect: Effect) {
        if self.trace.on {
            self.note(format!("node {node} shard {shard} -> {effect:?}"));
        }
        match effect {
            Effect::Send(message) => self.send(node, shard, message),
            Effect::Append { entries, ticket } => self.write(node, shard, ticket, Write::Append(entries)),
            Effect::Truncate { after, ticket } => {
                self.coverage.count(Situation::TailCut);
                self.write(node, shard, ticket, Write::Truncate(after));
            }
            Effect::Promise { epoch, lineage, void, ticket } => {
                self.write(node, shard, ticket, Write::Promise { epoch, lineage, void });
            }
            Effect::Reset { base, history, ticket } => {
                let Some(replica) = self.nodes[node].replicas.get_mut(&shard) else { return };
                if base == kv_types::EntryId::ZERO {
                    replica.table = Table::empty(shard);
                    replica.started_over = true;
                }
                let table = Box::new(replica.table.clone());
                self.write(node, shard, ticket, Write::Reset { history, table });
            }
            Effect::CompareAndSet { expected, new, split } => self.send_change(node, shard, expected, new, split),
            Effect::ReadConfig => self.ask_config(node, shard),
            Effect::Apply(committed) => self.apply(node, shard, committed),
            Effect::Serve(token) => self.serve(node, shard, token),
            Effect::Refuse { token, refusal } => {
                let Some(open) = self.close(token) else { return };
                match open.what {
                    Waits::Client(request) => {
                        if refusal == Refusal::Unknown {
                            self.coverage.count(Situation::UnknownOutcome);
                        }
                        self.answer(request.client, request.operation, Answer::Refused(refusal));
                    }
                    Waits::Handover => self.coverage.count(Situation::HandoverFailed),
                    Waits::Split => {}
                }
            }
            Effect::Done { token, .. } => {
                self.close(token);
            }
            Effect::FetchEntries { to, from, max_bytes } => {
                let entries = self.nodes[node].replicas.get(&shard).and_then(|r| r.disk.fetch(from, max_bytes));
                let input = Input::Fetched { to, from, entries };
                let delay = self.rng.skewed(50, 20_000);
                self.to_node(delay, node, NodeEvent::Input(shard, Box::new(input)));
            }
            Effect::FetchSnapshot { from, epoch } => self.ask_snapshot(node, shard, node_of(from), epoch),
            Effect::Leads(leads) => {
                if let Some(replica) = self.nodes[node].replicas.get_mut(&shard) {
                    if leads {
                        replica.disk.mend();
                    }
                    let config = replica.core.as_ref().filter(|_| leads).and_then(Core::config);
                    replica.barrier_due = config.map(|config| config.epoch);
                }
            }
        }
    }

    fn close(&mut self, token: Token) -> Option<Open> {
        let open = self.requests.close(token);
        if open.is_none() {
            self.fail(Invariant::AnsweredOnce, format!("{token:?} was answered twice"));
        }
        open
    }

    fn write(&mut self, node: usize, shard: ShardId, ticket: Ticket, write: Write) {
        let stalls = self.rng.chance(self.plan.stall_permille);
        let took = if stalls { self.rng.between(1_000, LEASE) } else { self.rng.between(50, self.plan.sync_at_most) };
        let now = self.now;
        let Some(replica) = self.nodes[node].replicas.get_mut(&shard) else { return };
        replica.disk.write(ticket, write);
        replica.synced_by = replica.synced_by.max(now + took);
        let delay = replica.synced_by - now;
        self.to_node(delay, node, NodeEvent::Input(shard, Box::new(Input::Durable(ticket))));
    }

    fn apply(&mut self, node: usize, shard: ShardId, committed: Vec<Committed>) {
        for Committed { entry, token } in committed {
            let Some(replica) = self.nodes[node].replicas.get_mut(&shard) else { return };
            replica.barrier_due.take_if(|epoch| entry.id.epoch >= *epoch);
            let (outcome, split) = replica.table.apply(&entry);
            let lineage = replica.core.as_ref().map(Core::lineage);
            let promoted = self.zookeeper.config(shard).is_some_and(|c| c.primary == self.nodes[node].volume);
            let result = match self.ledgers.get_mut(&shard) {
                // A copy that has not heard of a force-promote may still apply what it had, and tells nobody. The one that
                // was promoted goes on with it.
                Some(ledger) if !promoted && lineage.is_some_and(|lineage| lineage < ledger.lineage) => match token {
                    Some(_) => Err((Invariant::OneServer, format!("{:?} is answered in an older lineage", entry.id))),
                    None => Ok(None),
                },
                Some(ledger) => ledger.applied(&entry, &outcome),
                None => Ok(None),
            };
            match result {
                Ok(None) => {}
                Ok(Some(child)) => {
                    if let Ok(Command::Split(split)) = Command::decode(entry.payload.clone()) {
                        self.ledgers.insert(split.child, child);
                    }
                }
                Err((invariant, text)) => {
                    let volume = self.nodes[node].volume;
                    self.fail(invariant, format!("at {volume:?}, shard {shard}: {text}"));
                }
            }
            if let Some((split, table)) = split {
                self.make_child(node, shard, split.child, table);
            }
            if let Some(token) = token
                && let Some(Open { what: Waits::Client(request), .. }) = self.close(token)
            {
                self.answer(request.client, request.operation, Answer::Outcome(outcome));
            }
        }
    }

    /// Reads the table and answers at this very moment.
    fn serve(&mut self, node: usize, shard: ShardId, token: Token) {
        let Some(open) = self.close(token) else { return };
        let Waits::Client(request) = open.what else { return };
        let Some(replica) = self.nodes[node].replicas.get_mut(&shard) else { return };
        let in_range = replica.core.as_ref().and_then(Core::config).is_some_and(|c| c.range.contains(&request.key));
        if replica.core.as_ref().and_then(Core::config).is_some_and(|config| config.isr.len() == 1) {
            self.coverage.count(Situation::SoleServer);
        }
        let early = replica.read_early.remove(&token);
        let applied = replica.table.applied();
        let value = replica.table.get(&request.key);
        if !in_range {
            let refusal = Refusal::NotPrimary { primary: None };
            self.answer(request.client, request.operation, Answer::Refused(refusal));
            return;
        }
        if early.is_none() && applied.0 < open.committed {
            let text = format!("{token:?} reads at {applied}, and {} was committed when it arrived", open.committed);
            self.fail(Invariant::NoStaleRead, text);
        }
        let confirmed = matches!(request.what, Asked::Read { confirmed: true });
        self.coverage.count(if confirmed { Situation::ConfirmedRead } else { Situation::LeasedRead });
        self.answer(request.client, request.operation, early.unwrap_or(Answer::Value(value)));
    }

    fn send(&mut self, node: usize, shard: ShardId, message: Message) {
        let to = node_of(message.to);
        let lost = self.network.is_cut(node, to, self.now) || self.rng.chance(self.plan.lost_permille);
        if lost || self.nodes[to].volume != message.to {
            return;
        }
        let copies = 1 + u64::from(self.rng.chance(self.plan.doubled_permille));
        let wake = matches!(message.body, Body::Wake);
        for _ in 0..copies {
            let slow = self.rng.chance(self.plan.slow_permille) && !wake;
            let delay =
                if slow { self.rng.skewed(1_000, self.plan.slow_at_most) } else { self.rng.between(100, 1_500) };
            let what = NodeEvent::Message(shard, Box::new(message.clone()));
            self.queue.push(self.now + delay, Event::Node { node: to, life: None, what });
        }
    }
}
