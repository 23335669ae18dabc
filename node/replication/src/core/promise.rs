use std::collections::VecDeque;

use kv_types::Epoch;

use super::{Core, Effect, Rule, Ticket};

/// The epoch below which a replica listens to nobody. It never exceeds the configuration's epoch + 1.
#[derive(Debug)]
pub(super) struct Promise {
    current: Epoch,
    durable: Epoch,
    at_start: Epoch,
    syncing: VecDeque<(Ticket, Epoch)>,
}

impl Promise {
    pub(super) const fn new(recovered: Epoch) -> Self {
        Self { current: recovered, durable: recovered, at_start: recovered, syncing: VecDeque::new() }
    }

    pub(super) const fn current(&self) -> Epoch {
        self.current
    }

    /// Whether all that was promised would survive a crash.
    pub(super) fn is_durable(&self) -> bool {
        self.durable >= self.current
    }

    /// What was persisted when the process started.
    pub(super) const fn at_start(&self) -> Epoch {
        self.at_start
    }

    pub(super) fn on_durable(&mut self, ticket: Ticket) {
        while let Some((_, epoch)) = self.syncing.pop_front_if(|(waiting, _)| *waiting <= ticket) {
            self.durable = self.durable.max(epoch);
        }
    }
}

impl Core {
    /// Raises the promise at once in memory and asks for it to be made durable.
    pub(super) fn persist_promise(&mut self, epoch: Epoch, effects: &mut Vec<Effect>) {
        self.promise.current = self.promise.current.max(epoch);
        let epoch = self.promise.current;
        if !self.rules.hold(Rule::PromisePersisted) {
            self.promise.durable = epoch;
            return;
        }
        let ticket = self.ticket();
        self.promise.syncing.push_back((ticket, epoch));
        effects.push(Effect::Promise { epoch, lineage: self.lineage, void: self.void, ticket });
    }
}
