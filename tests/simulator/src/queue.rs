use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use crate::{event::Event, plan::Micros};

/// What is going to happen, by time; what happens at the same time keeps the order in which it was planned.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    events: BinaryHeap<Reverse<Planned>>,
    planned: u64,
}

#[derive(Debug)]
struct Planned {
    at: Micros,
    order: u64,
    event: Event,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Micros, event: Event) {
        self.planned += 1;
        self.events.push(Reverse(Planned { at, order: self.planned, event }));
    }

    pub(crate) fn pop(&mut self) -> Option<(Micros, Event)> {
        self.events.pop().map(|Reverse(planned)| (planned.at, planned.event))
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
