use std::collections::{BTreeMap, VecDeque};

use kv_checker::Operation;
use kv_replication::core::{Effect, Input, Rule, Rules};
use kv_types::{NodeName, Placement, ShardId};

use crate::{
    client::Client,
    coverage::{Coverage, Situation},
    event::{Event, NodeEvent},
    in_flight::InFlight,
    invariants::Invariant,
    ledger::Ledger,
    network::Network,
    node::Node,
    plan::{Micros, Plan, RECOVER_WITHIN},
    queue::Queue,
    recovery::Ending,
    requests::Requests,
    rng::Rng,
    zookeeper::{ZooKeeper, first_config},
};

/// The shard that a cluster begins with.
pub(crate) const FIRST_SHARD: ShardId = ShardId(1);

/// Many times what a run takes.
const MAX_STEPS: u64 = 300_000;

/// A cluster, its clients and everything that goes wrong around them, from one seed.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) rules: Rules,
    /// The rule that is broken, for those that the core doesn't keep.
    pub(crate) broken: Option<Rule>,
    pub(crate) rng: Rng,
    pub(crate) now: Micros,
    pub(crate) queue: Queue,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) zookeeper: ZooKeeper,
    pub(crate) in_flight: InFlight,
    pub(crate) clients: Vec<Client>,
    pub(crate) requests: Requests,
    pub(crate) ledgers: BTreeMap<ShardId, Ledger>,
    pub(crate) history: Vec<Operation>,
    pub(crate) ending: Ending,
    pub(crate) coverage: Coverage,
    pub(crate) failed: Option<(Invariant, String)>,
    pub(crate) trace: Trace,
    pub(crate) step: u64,
    pub(crate) forced: bool,
    pub(crate) next_shard: u64,
    effects: Vec<Effect>,
}

/// What has happened last, if anybody wants to know.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) on: bool,
    /// Lines that are kept.
    pub(crate) keep: usize,
    pub(crate) lines: VecDeque<String>,
}

/// Adds a line to the trace; costs nothing while it is off.
macro_rules! note {
    ($world:expr, $($text:tt)*) => {
        if $world.trace.on {
            let line = format!($($text)*);
            $world.note(line);
        }
    };
}
pub(crate) use note;

impl World {
    pub(crate) fn new(seed: u64, broken: Option<Rule>, trace: Trace) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng);
        let nodes: Vec<_> = (0..plan.nodes).map(|index| Node::new(index, &mut rng)).collect();
        let clients = (0..plan.clients).map(|index| Client::new(index as u64)).collect();
        let mut world = Self {
            network: Network::new(plan.nodes),
            zookeeper: ZooKeeper::default(),
            in_flight: InFlight::default(),
            rules: broken.map_or_else(Rules::all, Rules::without),
            broken,
            rng,
            now: 0,
            queue: Queue::default(),
            nodes,
            clients,
            requests: Requests::default(),
            ledgers: BTreeMap::new(),
            history: Vec::new(),
            ending: Ending::default(),
            coverage: Coverage::default(),
            failed: None,
            trace,
            step: 0,
            forced: false,
            next_shard: FIRST_SHARD.0 + 1,
            effects: Vec::new(),
            plan,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let placed: Vec<_> = self.nodes[..self.plan.copies].iter().map(|node| node.volume).collect();
        let config = first_config(&placed);
        if let Ok(home) = NodeName::new("node-0") {
            let placement = Placement { home, replicas: placed, copies: self.plan.copies };
            self.ledgers.insert(FIRST_SHARD, Ledger::new(FIRST_SHARD, config.lineage));
            self.zookeeper.create(FIRST_SHARD, config, placement);
        }
        for node in 0..self.nodes.len() {
            self.start(node);
        }
        for client in 0..self.clients.len() {
            let at = self.rng.between(1, 50_000);
            self.queue.push(at, Event::Begin(client));
        }
        self.queue.push(50_000, Event::Master);
        self.queue.push(self.plan.fault_every, Event::Fault);
        self.queue.push(self.plan.chaos, Event::Heal);
    }

    /// Runs to the end, or to the first violation.
    pub(crate) fn run(&mut self) {
        while self.failed.is_none() && !self.ending.done {
            let Some((at, event)) = self.queue.pop() else { break };
            self.now = self.now.max(at);
            self.step += 1;
            if self.step > MAX_STEPS {
                self.fail(Invariant::Recovers, "it goes on and on".to_owned());
            }
            self.happen(event);
            self.check_invariants();
        }
        if self.failed.is_none() {
            self.judge();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Node { node, life, what } => {
                if self.nodes[node].up && life.is_none_or(|life| life == self.nodes[node].life) {
                    if self.nodes[node].is_paused(self.now) {
                        self.nodes[node].backlog.push_back(what);
                    } else {
                        self.reach(node, what);
                    }
                }
            }
            Event::Resume(node) => self.resume(node),
            Event::Start(node) => self.start(node),
            Event::Trap { node, away } => {
                if self.ending.healed_at.is_none() {
                    self.crash(node, away);
                }
            }
            Event::Force { node, shard } => {
                if self.ending.healed_at.is_none() {
                    self.force(node, shard);
                }
            }
            Event::Change(request) => self.change(*request),
            Event::Lookup { node, life, shard } => self.look_up(node, life, shard),
            Event::Master => self.master(),
            Event::Fault => self.next_fault(),
            Event::Heal => self.heal(),
            Event::Inspect => self.inspect(),
            Event::Begin(client) => self.begin_operation(client),
            Event::Answer { client, operation, answer } => self.take_answer(client, operation, answer),
            Event::Patience { client, operation, attempt } => self.lose_patience(client, operation, attempt),
            Event::Again { client, operation } => self.try_again(client, operation),
        }
    }

    /// A paused process gets its backlog, at once and in order.
    fn resume(&mut self, node: usize) {
        if !self.nodes[node].up || self.nodes[node].is_paused(self.now) {
            return;
        }
        note!(self, "node {node} resumes");
        // The first thing a process does is to look at its own clock: it may have to cease.
        self.look_around(node);
        for what in std::mem::take(&mut self.nodes[node].backlog) {
            // Steered runs crash a process in the middle of what it does.
            if self.failed.is_none() && self.nodes[node].up {
                self.reach(node, what);
                self.check_invariants();
            }
        }
    }

    /// Feeds a core and carries out what it says.
    pub(crate) fn feed(&mut self, node: usize, shard: ShardId, input: Input) {
        let mut effects = std::mem::take(&mut self.effects);
        let now = self.nodes[node].time(self.now);
        if let Some(core) = self.nodes[node].replicas.get_mut(&shard).and_then(|replica| replica.core.as_mut()) {
            if self.trace.on && !matches!(input, Input::Tick | Input::Flush) {
                let line = format!("node {node} shard {shard} <- {input:?}");
                core.step(now, input, &mut effects);
                self.note(line);
            } else {
                core.step(now, input, &mut effects);
            }
        }
        for effect in effects.drain(..) {
            // What a process was about to do when it crashed is never done.
            if self.nodes[node].up && !self.is_trap(node, shard, &effect) {
                self.carry_out(node, shard, effect);
            }
        }
        self.effects = effects;
    }

    #[expect(clippy::wrong_self_convention, reason = "it sends to a node, and converts nothing")]
    pub(crate) fn to_node(&mut self, delay: Micros, node: usize, what: NodeEvent) {
        let life = Some(self.nodes[node].life);
        self.queue.push(self.now + delay, Event::Node { node, life, what });
    }

    pub(crate) fn fail(&mut self, invariant: Invariant, text: String) {
        if self.failed.is_none() {
            note!(self, "VIOLATION of {invariant}: {text}");
            self.failed = Some((invariant, text));
        }
    }

    pub(crate) fn note(&mut self, line: String) {
        if self.trace.lines.len() >= self.trace.keep {
            self.trace.lines.pop_front();
        }
        self.trace.lines.push_back(format!("{:>8} us step {:>6}: {line}", self.now, self.step));
    }

    /// All faults end now.
    fn heal(&mut self) {
        note!(self, "all faults end");
        self.coverage.count(Situation::Healed);
        self.ending.healed_at = Some(self.now);
        self.network.heal();
        self.zookeeper.down_until = 0;
        self.plan.calm_down();
        for node in 0..self.nodes.len() {
            if !self.nodes[node].up {
                self.start(node);
            } else if self.nodes[node].is_paused(self.now) {
                self.nodes[node].paused_until = 0;
                self.resume(node);
            }
        }
        self.ending.deadline = self.now + RECOVER_WITHIN;
        self.queue.push(self.now + 20_000, Event::Inspect);
    }
}
