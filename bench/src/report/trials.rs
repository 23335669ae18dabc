//! What measurements other than loads have found.

use serde::{Deserialize, Serialize};

use super::Sample;

/// Memory of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Bytes that are in memory, of files that it has mapped too.
    pub resident_bytes: u64,
    /// Those of them that are no file's.
    pub anonymous_bytes: u64,
}

/// Planned handovers under a load of writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Handovers {
    /// Writes in flight to all shards, beside those that looked.
    pub in_flight: usize,
    /// Milliseconds that the slowest write to the shard took, for each handover.
    pub client_millis: Vec<f64>,
    /// Milliseconds from the first held request to the first answer of the new primary, for each handover.
    pub node_millis: Vec<f64>,
    /// Writes meanwhile.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Why the last one did.
    pub last_error: Option<String>,
}

/// Start of a node that has data, and memory of all nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Bytes of all keys and values, counted once.
    pub live_bytes: u64,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// Seconds without requests before memory was looked at.
    pub rest_seconds: f64,
    /// Of each node at rest, without data.
    pub empty: Vec<Memory>,
    /// Of each node at rest, with all data.
    pub full: Vec<Memory>,
    /// Of the node that was started, at rest after that.
    pub started: Option<Memory>,
    /// Milliseconds from the start of a node that had ended in order until it served, each time.
    pub millis: Vec<f64>,
}

/// A node that was away while others were written to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CatchUp {
    /// Bytes of all keys and values before, counted once.
    pub live_bytes: u64,
    /// Bytes of keys and values that were written while it was away, each time.
    pub missed_bytes: u64,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// Milliseconds from the start of the node until it had everything, each time.
    pub millis: Vec<f64>,
}

/// Full load for long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Endurance {
    /// Bytes of all keys and values, counted once.
    pub live_bytes: u64,
    /// Copies of each.
    pub copies: u64,
    /// Bytes of log that all nodes together keep as they are set.
    pub log_bytes: u64,
    /// What came of the load.
    pub sample: Sample,
    /// What was seen meanwhile, in the order of time.
    pub moments: Vec<Moment>,
}

/// One look at the nodes during a long load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Seconds since the load began, its warm-up counted.
    pub seconds: f64,
    /// Of each node.
    pub memory: Vec<Memory>,
    /// Bytes that all nodes together take of the disk.
    pub disk_bytes: u64,
    /// Those of them that are logs whose length is set.
    pub log_bytes: u64,
}

/// Writes a second with so many keys and shards.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GrowthPoint {
    /// Different keys, all written before.
    pub keys: u64,
    /// Shards.
    pub shards: usize,
    /// Writes in flight.
    pub in_flight: usize,
    /// What came of the load.
    pub sample: Sample,
}

/// Part of a long load, by its moments: the first of it is left out, since caches and buffers fill.
const FIFTHS: usize = 5;

impl Endurance {
    /// Mean memory of the largest node in the last fifth by that in the second fifth; `None` of too few moments.
    #[must_use]
    pub fn memory_growth(&self) -> Option<f64> {
        let largest = |moment: &Moment| moment.memory.iter().map(|memory| memory.resident_bytes).max().unwrap_or(0);
        let fifth = self.moments.len() / FIFTHS;
        let mean = |moments: &[Moment]| moments.iter().map(|moment| largest(moment) as f64).sum::<f64>() / fifth as f64;
        let (early, late) = (self.moments.get(fifth..2 * fifth)?, &self.moments[self.moments.len() - fifth..]);
        let (early, late) = (mean(early), mean(late));
        (fifth > 0 && early > 0.0).then(|| late / early)
    }

    /// The most that the disk held, without the log that is kept in any case, by all copies of the live data. Log beyond what is
    /// set counts.
    #[must_use]
    pub fn disk_ratio(&self) -> Option<f64> {
        let others = |moment: &Moment| moment.disk_bytes.saturating_sub(moment.log_bytes.min(self.log_bytes));
        let most = self.moments.iter().map(others).max()?;
        let live = self.live_bytes * self.copies;
        (live > 0).then(|| most as f64 / live as f64)
    }
}

/// The value below which that part of all lies, the largest of few; `None` of none.
#[must_use]
pub fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(at.saturating_sub(1)).or(sorted.last()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(resident_bytes: u64, disk_bytes: u64) -> Moment {
        let memory = vec![Memory::default(), Memory { resident_bytes, anonymous_bytes: 0 }];
        Moment { memory, disk_bytes, log_bytes: 40, ..Moment::default() }
    }

    #[test]
    fn memory_is_compared_without_its_first_fifth() {
        let mut long = Endurance { live_bytes: 100, copies: 2, log_bytes: 30, ..Endurance::default() };
        assert_eq!((long.memory_growth(), long.disk_ratio()), (None, None));
        long.moments = [1, 100, 100, 100, 110].map(|bytes| moment(bytes, bytes + 220)).to_vec();
        assert!((long.memory_growth().expect("there are five") - 1.1).abs() < 1e-9);
        assert!((long.disk_ratio().expect("there are five") - 1.5).abs() < 1e-9);
    }

    #[test]
    fn a_quantile_of_few_is_the_largest() {
        assert_eq!((quantile(&[], 0.5), quantile(&[2.0, 1.0], 0.99)), (None, Some(2.0)));
        let hundred: Vec<_> = (1..=100).map(f64::from).collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|part| quantile(&hundred, part)), [1.0, 50.0, 99.0, 100.0].map(Some));
    }
}
