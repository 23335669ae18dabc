//! The search of Wing and Gong with Lowe's memory: try what may come next, undo, remember where nothing was found.

use std::collections::HashSet;

use crate::{
    Operation, Outcome,
    model::{Model, State, Step},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Order,
    Nothing,
    OutOfBudget,
}

/// Looks for an order of one key's operations, in at most `budget` steps.
pub(crate) fn search(operations: &[&Operation], budget: u64) -> Found {
    let operations = relevant(operations);
    let (model, steps) = Model::new(&operations);
    let mut search = Search::new(&operations, model, steps);
    search.run(budget)
}

/// Leaves out what can't matter: gets without an answer, and unknown puts whose value nobody has ever seen, unless an
/// answer may speak of them without naming the value.
fn relevant<'a>(operations: &[&'a Operation]) -> Vec<&'a Operation> {
    let mut seen: HashSet<&[u8]> = HashSet::new();
    let mut speaks_of_any = false;
    for operation in operations {
        match &operation.outcome {
            Outcome::Found(Some(found)) => drop(seen.insert(&found.value)),
            Outcome::Mismatch { .. } | Outcome::Done { existed: Some(_), .. } => speaks_of_any = true,
            _ => {}
        }
        speaks_of_any |= operation.expected.is_some();
    }
    let matters = |operation: &&&Operation| {
        let unseen = match &operation.action {
            crate::Action::Put(value) => !speaks_of_any && !seen.contains(value.as_slice()),
            crate::Action::Get => true,
            crate::Action::Delete => false,
        };
        !(operation.is_unknown() && unseen)
    };
    operations.iter().filter(matters).copied().collect()
}

/// A call or a return, in a doubly linked list by time.
#[derive(Clone, Copy)]
struct Event {
    operation: usize,
    /// The return of a call; `None`: this is a return.
    ret: Option<usize>,
    /// A return that never came: all that is left behind it is of unknown outcome.
    never: bool,
    before: usize,
    after: usize,
}

struct Search {
    model: Model,
    steps: Vec<Step>,
    events: Vec<Event>,
}

const HEAD: usize = 0;
const END: usize = usize::MAX;

impl Search {
    fn new(operations: &[&Operation], model: Model, steps: Vec<Step>) -> Self {
        // Calls before returns at the same time: such operations overlap.
        let mut order: Vec<(u64, bool, usize, bool)> = Vec::with_capacity(operations.len() * 2);
        for (at, operation) in operations.iter().enumerate() {
            order.push((operation.call, false, at, false));
            let never = operation.is_unknown();
            let ret = if never { u64::MAX } else { operation.ret.unwrap_or(u64::MAX) };
            order.push((ret, true, at, never));
        }
        order.sort_unstable_by_key(|(time, is_return, at, never)| (*never, *time, *is_return, *at));
        let mut events = vec![Event { operation: END, ret: None, never: false, before: END, after: END }];
        let mut calls = vec![END; operations.len()];
        for (_, is_return, operation, never) in order {
            let at = events.len();
            events[at - 1].after = at;
            events.push(Event { operation, ret: None, never, before: at - 1, after: END });
            if is_return {
                events[calls[operation]].ret = Some(at);
            } else {
                calls[operation] = at;
            }
        }
        Self { model, steps, events }
    }

    fn run(&mut self, budget: u64) -> Found {
        let mut done = vec![0_u64; self.steps.len().div_ceil(64)];
        let mut seen: HashSet<(Vec<u64>, State)> = HashSet::new();
        let mut taken: Vec<(usize, State)> = Vec::new();
        let mut state = State::NEW;
        let mut at = self.events[HEAD].after;
        for _ in 0..budget {
            let Some(event) = self.events.get(at).copied() else { return Found::Order };
            let (word, bit) = (event.operation / 64, 1 << (event.operation % 64));
            if event.ret.is_some() {
                if let Some(next) = self.model.apply(state, &self.steps[event.operation]) {
                    done[word] |= bit;
                    if seen.insert((done.clone(), next)) {
                        taken.push((at, state));
                        state = next;
                        self.lift(at);
                        at = self.events[HEAD].after;
                        continue;
                    }
                    done[word] &= !bit;
                }
                at = event.after;
            } else if event.never {
                return Found::Order;
            } else {
                let Some((call, before)) = taken.pop() else { return Found::Nothing };
                let operation = self.events[call].operation;
                done[operation / 64] &= !(1 << (operation % 64));
                state = before;
                self.unlift(call);
                at = self.events[call].after;
            }
        }
        Found::OutOfBudget
    }

    fn lift(&mut self, call: usize) {
        self.unlink(call);
        if let Some(ret) = self.events[call].ret {
            self.unlink(ret);
        }
    }

    fn unlift(&mut self, call: usize) {
        if let Some(ret) = self.events[call].ret {
            self.link(ret);
        }
        self.link(call);
    }

    fn unlink(&mut self, at: usize) {
        let Event { before, after, .. } = self.events[at];
        self.events[before].after = after;
        if after != END {
            self.events[after].before = before;
        }
    }

    fn link(&mut self, at: usize) {
        let Event { before, after, .. } = self.events[at];
        self.events[before].after = at;
        if after != END {
            self.events[after].before = at;
        }
    }
}
