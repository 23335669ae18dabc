use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Keys of a scan.
pub const SCAN_KEYS: usize = 100;
/// In a hundred requests of the mixed load, how many are reads.
pub const MIXED_READS: u32 = 95;
/// How uneven the mixed load is: the exponent of Zipf's law, as in YCSB.
pub const ZIPF_EXPONENT: f64 = 0.99;
/// Different keys, and the bytes of all values together at most: ZooKeeper holds everything in memory.
pub(crate) const SMALL_KEYS: u64 = 10_000;
const BYTES: u64 = 16 << 20;

/// What `--workloads` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Writes of 100-byte values.
    Put,
    /// Linearizable reads of 100-byte values.
    Get,
    /// Reads that may be out of date: what etcd and ZooKeeper offer beside linearizable ones.
    StaleGet,
    /// Writes of 1 KiB.
    #[value(name = "put-1k")]
    Put1k,
    /// Reads of 1 KiB.
    #[value(name = "get-1k")]
    Get1k,
    /// Writes of 64 KiB.
    #[value(name = "put-64k")]
    Put64k,
    /// Reads of 64 KiB.
    #[value(name = "get-64k")]
    Get64k,
    /// 95 reads to 5 writes, keys by Zipf's law.
    Mixed,
    /// Scans of 100 keys.
    Scan,
    /// From the kill of a leader to the next acknowledged write.
    Crash,
    /// Planned handovers under load.
    Handover,
    /// Start of a node with data, and memory at rest with and without.
    Start,
    /// A node that was away, until it has everything again.
    CatchUp,
    /// Full load for long: memory, disk, pauses.
    Endurance,
    /// Writes with more keys and with more shards.
    Growth,
    /// What disk and loopback can do without any store.
    Limits,
}

/// What the requests of a load do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// A write of one key.
    Put,
    /// A linearizable read of one key.
    Get,
    /// A read of one key that may be out of date.
    StaleGet,
    /// Reads and writes, [`MIXED_READS`] in a hundred reads.
    Mixed,
    /// A read of [`SCAN_KEYS`] keys that follow each other.
    Scan,
}

/// One load: what a row of the table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// What its requests do.
    pub operation: Operation,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// Requests in flight at any time: each that is answered is followed by another.
    pub in_flight: usize,
}

impl Group {
    /// The loads of the group; `in_flight` is for those of 100-byte values, and the middle one of it for all others.
    #[must_use]
    pub fn workloads(self, in_flight: &[usize]) -> Vec<Workload> {
        let middle = in_flight.get(in_flight.len() / 2).copied();
        let (operation, value_bytes, in_flight) = match self {
            Self::Put => (Operation::Put, 100, in_flight),
            Self::Get => (Operation::Get, 100, in_flight),
            Self::StaleGet => (Operation::StaleGet, 100, in_flight),
            Self::Put1k => (Operation::Put, 1 << 10, middle.as_slice()),
            Self::Get1k => (Operation::Get, 1 << 10, middle.as_slice()),
            Self::Put64k => (Operation::Put, 64 << 10, middle.as_slice()),
            Self::Get64k => (Operation::Get, 64 << 10, middle.as_slice()),
            Self::Mixed => (Operation::Mixed, 100, middle.as_slice()),
            Self::Scan => (Operation::Scan, 100, middle.as_slice()),
            _ => return Vec::new(),
        };
        in_flight.iter().map(|in_flight| Workload { operation, value_bytes, in_flight: *in_flight }).collect()
    }
}

impl Group {
    /// Whether it has a cluster of its own for what it measures.
    #[must_use]
    pub const fn is_trial(self) -> bool {
        matches!(self, Self::Handover | Self::Start | Self::CatchUp | Self::Endurance | Self::Growth)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

impl Workload {
    /// How many different keys it uses.
    #[must_use]
    pub fn keys(&self) -> u64 {
        (BYTES / (self.value_bytes as u64).max(1)).clamp(1, SMALL_KEYS)
    }

    /// Whether the keys have to be there before.
    #[must_use]
    pub fn reads(&self) -> bool {
        self.operation != Operation::Put
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::StaleGet => "stale get",
            Self::Mixed => "95/5 mix",
            Self::Scan => "scan of 100",
        })
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, value_bytes, in_flight } = self;
        match value_bytes {
            1024.. => write!(f, "{operation}, {} KiB, {in_flight} in flight", value_bytes / 1024),
            _ => write!(f, "{operation}, {value_bytes} B, {in_flight} in flight"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_are_measured_at_all_depths_and_others_at_the_middle_one() {
        let depths =
            |group: Group| group.workloads(&[1, 64, 256]).iter().map(|load| load.in_flight).collect::<Vec<_>>();
        assert_eq!(depths(Group::Put), [1, 64, 256]);
        assert_eq!(depths(Group::Put64k), [64]);
        assert!(depths(Group::Crash).is_empty());
        assert_eq!(Group::Scan.workloads(&[8])[0].to_string(), "scan of 100, 100 B, 8 in flight");
    }

    #[test]
    fn large_values_have_few_keys() {
        let keys = |value_bytes| Workload { operation: Operation::Get, value_bytes, in_flight: 1 }.keys();
        assert_eq!((keys(100), keys(1024), keys(64 << 10)), (10_000, 10_000, 256));
    }
}
