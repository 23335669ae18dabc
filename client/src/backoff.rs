use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// The pauses between attempts: doubling from [`Self::FIRST`] to [`Self::LONGEST`], each with jitter of a half.
///
/// The number of attempts is bounded by the request's deadline.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    random: SmallRng,
}

impl Backoff {
    /// The first pause.
    pub const FIRST: Duration = Duration::from_millis(10);
    /// The longest pause.
    pub const LONGEST: Duration = Duration::from_millis(200);

    pub fn new() -> Self {
        // The hasher's keys are the standard library's own randomness: enough to keep clients out of step.
        Self::seeded(RandomState::new().hash_one(0))
    }

    fn seeded(seed: u64) -> Self {
        Self { next: Self::FIRST, random: SmallRng::seed_from_u64(seed) }
    }

    pub fn pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(self.random.random_range(0.5..=1.0));
        self.next = (self.next * 2).min(Self::LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_differ_between_clients() {
        let pauses = |seed| {
            let mut backoff = Backoff::seeded(seed);
            (0..10).map(|_| backoff.pause()).collect::<Vec<_>>()
        };
        let first = pauses(1);
        assert!(first.iter().all(|pause| (Backoff::FIRST / 2..=Backoff::LONGEST).contains(pause)), "{first:?}");
        assert!(first[9] >= Backoff::LONGEST / 2 && first[0] <= Backoff::FIRST, "{first:?}");
        assert_ne!(first, pauses(2));
    }
}
