//! What the node's two volumes hold, and how soon their disks take what is written.

use std::fmt;

use kv_storage::{LogStats, VolumeStats};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// Of which folder.
type Label = [(&'static str, String); 1];

/// A number of a volume: name, help, value.
type Number = (&'static str, &'static str, fn(&VolumeStats) -> u64);

const GAUGES: [Number; 3] = [
    ("volume_table_bytes", "Table of a volume, on disk and in memory", |volume| {
        volume.table.disk_bytes + volume.table.memory_bytes
    }),
    ("log_used_bytes", "Records in all segments of a volume's log", |volume| volume.log.used_bytes),
    ("log_queued_bytes", "Records that wait to be written to a volume's log", |volume| volume.log.queued_bytes),
];

const COUNTERS: [Number; 2] = [
    ("log_records", "Records written to a volume's log", |volume| volume.log.records),
    ("log_written_bytes", "Written to a volume's log, in whole blocks", |volume| volume.log.bytes),
];

/// Classes of less than 32 µs are one bucket: no disk is that fast.
const FIRST_CLASS: usize = 5;

pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, volumes: &[(Label, VolumeStats)]) -> fmt::Result {
    for (name, help, value) in GAUGES {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (label, volume) in volumes {
            let value = i64::try_from(value(volume)).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(family.encode_family(label)?)?;
        }
    }
    for (name, help, value) in COUNTERS {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (label, volume) in volumes {
            ConstCounter::new(value(volume)).encode(family.encode_family(label)?)?;
        }
    }
    let help = "From when a group of records is given to the disk until it is durable";
    let mut family = encoder.encode_descriptor("log_sync_seconds", help, None, MetricType::Histogram)?;
    for (label, volume) in volumes {
        let LogStats { syncs, sync_time, .. } = &volume.log;
        let buckets = buckets(&volume.log);
        let mut metric = family.encode_family(label)?;
        metric.encode_histogram::<NoLabelSet>(sync_time.as_secs_f64(), *syncs, &buckets, None)?;
    }
    Ok(())
}

/// Upper bounds in seconds, and how many lie below each and above the one before.
fn buckets(log: &LogStats) -> Vec<(f64, u64)> {
    let (fast, slow) = log.sync_latency.split_at(FIRST_CLASS + 1);
    let bound = |class: usize| (1_u64 << class) as f64 / 1e6;
    let mut buckets = vec![(bound(FIRST_CLASS), fast.iter().sum())];
    buckets.extend(slow.iter().enumerate().map(|(more, count)| (bound(FIRST_CLASS + 1 + more), *count)));
    // The last class has no upper bound.
    if let Some(last) = buckets.last_mut() {
        last.0 = f64::MAX;
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sync_is_in_the_bucket_of_its_latency() {
        let mut log = LogStats::default();
        for (class, count) in [(0, 1), (5, 2), (6, 4), (10, 8), (23, 16)] {
            log.sync_latency[class] = count;
        }
        let buckets = buckets(&log);
        let of = |bound: f64| buckets.iter().find(|(upper, _)| *upper == bound).map(|(_, count)| *count);
        assert_eq!((of(32e-6), of(64e-6), of(1024e-6), of(f64::MAX)), (Some(3), Some(4), Some(8), Some(16)));
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), 31);
    }
}
