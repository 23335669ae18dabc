//! How long clients had to wait.

use std::time::Duration;

/// Waits of one kind, over all rounds of a test.
#[derive(Clone, Debug, Default)]
pub struct Outages {
    waits: Vec<Duration>,
}

impl Outages {
    /// Adds some.
    pub fn extend(&mut self, waits: impl IntoIterator<Item = Duration>) {
        self.waits.extend(waits);
    }

    /// The wait that `share` (0.0 to 1.0) of all waits don't exceed; zero if there are none.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Duration {
        let mut sorted = self.waits.clone();
        sorted.sort_unstable();
        // Nearest rank: with few waits the p99 is the longest of them.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
    }

    /// Prints p50, p99 and the longest past the test harness, which shows nothing of tests that pass.
    pub fn print(&self, what: &str) {
        use std::io::Write as _;
        let [p50, p99, longest] = [0.5, 0.99, 1.0].map(|share| self.percentile(share).as_millis());
        let waits = self.waits.len();
        let _ = writeln!(std::io::stderr(), "{what}: p50 {p50} ms, p99 {p99} ms, longest {longest} ms ({waits} waits)");
    }

    /// That the longest is below `bound`, which means "stuck" and is far above what is expected.
    ///
    /// # Panics
    /// If it is not, or nothing was measured.
    pub fn assert_below(&self, bound: Duration) {
        assert!(!self.waits.is_empty(), "nothing was measured");
        assert!(self.percentile(1.0) < bound, "an outage took {:?}", self.percentile(1.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let mut outages = Outages::default();
        assert_eq!(outages.percentile(0.5), Duration::ZERO);
        outages.extend((1..=10).rev().map(Duration::from_millis));
        assert_eq!(outages.percentile(0.5), Duration::from_millis(5));
        assert_eq!(outages.percentile(0.99), Duration::from_millis(10));
        assert_eq!(outages.percentile(0.0), Duration::from_millis(1));
    }
}
