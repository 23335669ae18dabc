//! The requests of a stream that the driver has, found by a number that is reused: no hashing on the fast path.

use kv_proto::v1::pipeline_request::Request as WireRequest;
use tokio::time::Instant;

/// A request that waits for its answer.
pub(super) struct Waiting {
    /// The client's.
    pub id: u64,
    pub request: WireRequest,
    pub began: Instant,
    pub deadline: Instant,
}

/// Where they wait.
#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    /// Grows with each use, so that an answer which comes after the deadline doesn't meet the slot's next request.
    generation: u32,
    waiting: Option<Waiting>,
}

impl Slots {
    /// Keeps a request and gives the token to take it by.
    pub(super) fn insert(&mut self, waiting: Waiting) -> u64 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            // A stream's requests in flight are bounded far below 2^32.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let slot = &mut self.slots[at as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.waiting = Some(waiting);
        u64::from(slot.generation) << 32 | u64::from(at)
    }

    /// The request of a token, once.
    pub(super) fn take(&mut self, token: u64) -> Option<Waiting> {
        let (generation, at) = ((token >> 32) as u32, token as u32);
        let slot = self.slots.get_mut(at as usize).filter(|slot| slot.generation == generation)?;
        let waiting = slot.waiting.take()?;
        self.free.push(at);
        Some(waiting)
    }

    /// All whose deadline has passed.
    pub(super) fn take_late(&mut self, now: Instant) -> Vec<Waiting> {
        let mut late = Vec::new();
        for (at, slot) in (0..).zip(&mut self.slots) {
            if slot.waiting.as_ref().is_some_and(|waiting| waiting.deadline <= now) {
                late.extend(slot.waiting.take());
                self.free.push(at);
            }
        }
        late
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kv_proto::v1::GetRequest;

    use super::*;

    fn waiting(id: u64, deadline: Instant) -> Waiting {
        Waiting { id, request: WireRequest::Get(GetRequest::default()), began: deadline, deadline }
    }

    #[test]
    fn a_token_finds_its_request_once_and_never_the_slots_next_one() {
        let now = Instant::now();
        let mut slots = Slots::default();
        let first = slots.insert(waiting(1, now));
        assert_eq!(slots.take(first).map(|waiting| waiting.id), Some(1));
        let second = slots.insert(waiting(2, now));
        assert!(slots.take(first).is_none());
        assert_eq!(slots.len(), 1);
        assert_eq!(slots.take(second).map(|waiting| waiting.id), Some(2));
        assert_eq!((slots.len(), slots.slots.len()), (0, 1), "the slot was reused");
        assert!(slots.take(u64::MAX).is_none());
    }

    #[test]
    fn only_late_requests_are_taken() {
        let now = Instant::now();
        let mut slots = Slots::default();
        let late = slots.insert(waiting(1, now));
        let early = slots.insert(waiting(2, now + Duration::from_secs(1)));
        let taken: Vec<_> = slots.take_late(now).iter().map(|waiting| waiting.id).collect();
        assert_eq!(taken, [1]);
        assert!(slots.take(late).is_none());
        assert!(slots.take(early).is_some());
    }
}
