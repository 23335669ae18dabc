//! What a run has found, as it is kept in JSON.

mod trials;

use serde::{Deserialize, Serialize};

pub use trials::{CatchUp, Endurance, GrowthPoint, Handovers, Memory, Moment, Start, quantile};

use crate::{
    goals::Goal,
    workload::{Operation, Workload},
};

/// Of what is kept: another number if a reader of this version can't read it.
pub const FORMAT: u32 = 3;

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// Where it ran.
    pub machine: Machine,
    /// How long.
    pub settings: Settings,
    /// What disk and loopback can do.
    pub limits: Vec<Limit>,
    /// The systems, in the order in which they ran.
    pub systems: Vec<SystemReport>,
    /// What was to be reached, and whether it was.
    pub goals: Vec<Goal>,
}

/// The machine of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// As the kernel names it.
    pub processor: String,
    /// Processors that this may use.
    pub processors: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Name and version.
    pub kernel: String,
    /// Of the folder where all systems kept their data, such as `ext4`.
    pub file_system: String,
}

/// The settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Seconds of each load before it is measured.
    pub warm_up_seconds: f64,
    /// Seconds for which each load is measured.
    pub seconds: f64,
    /// How often a leader was killed.
    pub crashes: usize,
    /// Version of this program, and how it was built.
    pub version: String,
}

/// One thing that the machine can do without any store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// What was done.
    pub name: String,
    /// How often a second.
    pub rate: f64,
    /// What is counted, such as "syncs".
    pub unit: String,
    /// The loads of 100-byte values that this is the limit of; `None`: it is for comparison only.
    pub bound: Option<Bound>,
}

/// What a limit is the limit of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// What their requests do.
    pub operation: Operation,
    /// Requests in flight.
    pub in_flight: usize,
    /// What would be used up.
    pub resource: Resource,
}

/// What a machine has only so much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Syncs of one file, as a log makes them.
    Disk,
    /// Messages between processes.
    Wire,
}

/// What one system did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SystemReport {
    /// As `--systems` names it.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How it was started and what drove it, one statement each.
    pub settings: Vec<String>,
    /// The loads that it was put under.
    pub measurements: Vec<Measurement>,
    /// For each kill of its leader, milliseconds until the next write was acknowledged.
    pub crash_millis: Vec<f64>,
    /// Planned handovers; `None` here and below: not measured.
    pub handovers: Option<Handovers>,
    /// Start of a node with data, and memory.
    pub start: Option<Start>,
    /// A node that was away.
    pub catch_up: Option<CatchUp>,
    /// Full load for long.
    pub endurance: Option<Endurance>,
    /// Writes with more keys and shards; the first point is what the others are compared with.
    pub growth: Vec<GrowthPoint>,
    /// What failed, so that its figures are missing or fewer.
    pub failures: Vec<Failure>,
}

/// Something that could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was to be.
    pub what: String,
    /// Why it could not.
    pub why: String,
}

/// One load and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The load.
    pub workload: Workload,
    /// What came of it.
    pub sample: Sample,
}

/// What came of a load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Requests that succeeded while it was measured.
    pub operations: u64,
    /// Requests that failed.
    pub errors: u64,
    /// How long it was measured.
    pub seconds: f64,
    /// Microseconds.
    pub latency: Latency,
    /// Processor time of the servers.
    pub server_seconds: f64,
    /// Processor time of the client.
    pub client_seconds: f64,
    /// Requests that succeeded in each second; the first and the last one may be cut short.
    pub each_second: Vec<u64>,
    /// Microseconds of the slowest request that began in each second; empty where the client does not say.
    pub slowest_each_second: Vec<f64>,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the requests took at most this.
    pub p50: f64,
    /// 99 % did.
    pub p99: f64,
    /// 99.9 % did; `None` if there were too few.
    pub p999: Option<f64>,
    /// The longest.
    pub max: f64,
}

impl Sample {
    /// Requests a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.seconds
    }

    /// Processor seconds of servers and client per million requests.
    #[must_use]
    pub fn per_million(&self) -> (f64, f64) {
        let millions = self.operations as f64 / 1e6;
        (self.server_seconds / millions, self.client_seconds / millions)
    }
}

impl Report {
    /// What `system` did under `workload`.
    #[must_use]
    pub fn sample(&self, system: &str, workload: &Workload) -> Option<&Sample> {
        let system = self.systems.iter().find(|report| report.name == system)?;
        Some(&system.measurements.iter().find(|measurement| measurement.workload == *workload)?.sample)
    }

    /// All loads, each once, in the order in which they were measured first.
    #[must_use]
    pub fn workloads(&self) -> Vec<Workload> {
        let mut workloads = Vec::new();
        for measurement in self.systems.iter().flat_map(|system| &system.measurements) {
            if !workloads.contains(&measurement.workload) {
                workloads.push(measurement.workload);
            }
        }
        workloads
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn measurement(operation: Operation, rate: u64) -> Measurement {
        let sample = Sample {
            operations: rate * 2,
            seconds: 2.0,
            latency: Latency { p50: 1_500.0, p99: 3_000.0, p999: None, max: 9_000.0 },
            server_seconds: rate as f64 * 2.0 * 100e-6,
            client_seconds: rate as f64 * 2.0 * 50e-6,
            each_second: vec![rate, rate],
            ..Sample::default()
        };
        Measurement { workload: Workload { operation, value_bytes: 100, in_flight: 64 }, sample }
    }

    fn system(name: &str, put: u64, scan: Option<u64>, crash_millis: &[f64]) -> SystemReport {
        let scan = scan.map(|rate| measurement(Operation::Scan, rate));
        SystemReport {
            name: name.to_owned(),
            version: "1.2.3".to_owned(),
            settings: vec!["three nodes".to_owned()],
            measurements: std::iter::once(measurement(Operation::Put, put)).chain(scan).collect(),
            crash_millis: crash_millis.to_vec(),
            ..SystemReport::default()
        }
    }

    /// A report with figures that are easy to tell.
    pub(crate) fn made() -> Report {
        Report {
            format: FORMAT,
            machine: Machine {
                processor: "a processor".to_owned(),
                processors: 2,
                memory_bytes: 24 << 30,
                kernel: "Linux 6.1".to_owned(),
                file_system: "ext4".to_owned(),
            },
            settings: Settings {
                warm_up_seconds: 1.0,
                seconds: 2.0,
                crashes: 3,
                version: "0.1.0 (release)".to_owned(),
            },
            limits: vec![Limit {
                name: "appends".to_owned(),
                rate: 24_000.0,
                unit: "syncs".to_owned(),
                bound: Some(Bound { operation: Operation::Put, in_flight: 64, resource: Resource::Disk }),
            }],
            systems: vec![
                system("kv", 12_000, Some(1_000), &[800.0, 1_200.0, 700.0]),
                system("etcd", 4_000, Some(2_000), &[]),
                system("zookeeper", 6_000, None, &[]),
            ],
            goals: Vec::new(),
        }
    }

    /// The same, with one of everything else.
    pub(crate) fn measured() -> Report {
        let memory = |mebibytes: u64| Memory { resident_bytes: mebibytes << 20, anonymous_bytes: 100 << 20 };
        let moment = |seconds: f64, mebibytes| Moment {
            seconds,
            memory: vec![memory(mebibytes)],
            disk_bytes: 5_000_000_000,
            log_bytes: 1_000_000_000,
        };
        let sample = |operations, seconds| Sample {
            operations,
            seconds,
            latency: Latency { max: 200_000.0, ..Latency::default() },
            each_second: vec![operations],
            slowest_each_second: vec![200_000.0],
            ..Sample::default()
        };
        let point =
            |keys, operations| GrowthPoint { keys, shards: 12, in_flight: 256, sample: sample(operations, 1.0) };
        let mut report = made();
        let kv = &mut report.systems[0];
        kv.handovers = Some(Handovers {
            client_millis: vec![10.0, 20.0],
            node_millis: vec![8.0, 9.0],
            requests: 1_000,
            ..Handovers::default()
        });
        kv.start = Some(Start {
            live_bytes: 1 << 30,
            empty: vec![memory(30), memory(20)],
            full: vec![memory(150)],
            started: Some(memory(150)),
            millis: vec![500.0, 300.0, 400.0],
            ..Start::default()
        });
        kv.catch_up = Some(CatchUp { missed_bytes: 128_000_000, millis: vec![2_000.0], ..CatchUp::default() });
        kv.endurance = Some(Endurance {
            live_bytes: 2_000_000_000,
            copies: 2,
            log_bytes: 1_000_000_000,
            sample: sample(1_200, 600.0),
            moments: [50, 100, 100, 100, 110].map(|mebibytes| moment(mebibytes as f64, mebibytes)).to_vec(),
        });
        kv.growth = vec![point(10_000, 2), point(10_000_000, 1)];
        report
    }

    #[test]
    fn a_report_is_the_same_after_it_was_kept() {
        let kept = serde_json::to_string(&made()).expect("JSON");
        assert_eq!(serde_json::from_str::<Report>(&kept).expect("a report"), made());
    }

    #[test]
    fn processor_time_is_per_million_requests() {
        let (servers, client) = measurement(Operation::Put, 500).sample.per_million();
        assert!((servers - 100.0).abs() < 1e-9 && (client - 50.0).abs() < 1e-9, "{servers} {client}");
    }
}
