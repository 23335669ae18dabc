use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum as _;
use kv_client::Transport;

use crate::{
    error::Result,
    goals::goals,
    limits,
    load::Durations,
    report::{FORMAT, Failure, Machine, Measurement, Report, Settings, SystemReport},
    system::{Driver, Etcd, Kv, KvVariant, Setup, System, SystemName, ZooKeeper},
    trial::{self, Extent},
    workload::{Group, Workload},
};

/// Copies of each key that the store keeps by default, and in the run that keeps as many as the others.
const COPIES: (usize, usize) = (2, 3);
/// Part of the version of a build whose figures are not judged.
pub(crate) const DEBUG: &str = "debug: its figures mean little";

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// One after the other, each started anew.
    pub systems: Vec<SystemName>,
    /// What is done with each.
    pub groups: Vec<Group>,
    /// Those of the systems that are put under full load for long.
    pub endurance_systems: Vec<SystemName>,
    /// Requests in flight of loads of 100-byte values, ascending.
    pub in_flight: Vec<usize>,
    /// Of each load before it is measured.
    pub warm_up: Duration,
    /// Of each load.
    pub measured: Duration,
    /// How often a leader is killed.
    pub crashes: usize,
    /// How much there is of everything else.
    pub extent: Extent,
    /// Where all systems keep their data, each in a folder of its own: it says which disk is measured. It must exist.
    pub directory: PathBuf,
    /// Where what was built is kept. It is made if need be.
    pub cache: PathBuf,
    /// What runs [`crate::relay`] if its first argument is `relay`: the wire is measured between processes.
    pub program: PathBuf,
}

/// Measures all of it, and says on standard error what it is doing. What a system fails in is part of its report.
///
/// # Errors
/// [`crate::Error`] of the machine or its disk.
pub async fn run(options: &Options) -> Result<Report> {
    fs::create_dir_all(&options.cache).map_err(kv_local::Error::file("make", &options.cache))?;
    let measured_limits = if options.groups.contains(&Group::Limits) {
        eprintln!("kv-bench: the machine without any store");
        limits::measure(&options.directory, &options.program, &options.in_flight, options.measured).await?
    } else {
        Vec::new()
    };
    let mut report = Report {
        format: FORMAT,
        machine: Machine::look(&options.directory),
        settings: Settings {
            warm_up_seconds: options.warm_up.as_secs_f64(),
            seconds: options.measured.as_secs_f64(),
            crashes: options.crashes,
            version: version(),
        },
        limits: measured_limits,
        systems: Vec::new(),
        goals: Vec::new(),
    };
    for system in &options.systems {
        let measured = of(*system, options).await?;
        report.systems.push(measured);
    }
    report.goals = goals(&report);
    Ok(report)
}

async fn of(name: SystemName, options: &Options) -> Result<SystemReport> {
    let (default, three) = COPIES;
    let kv = |copies, transport| Measuring::<Kv> { name, variant: KvVariant { copies, transport }, options };
    match name {
        SystemName::Kv => kv(default, Transport::Pipeline).all().await,
        SystemName::KvUnary => kv(default, Transport::Unary).all().await,
        SystemName::KvThreeCopies => kv(three, Transport::Pipeline).all().await,
        SystemName::Etcd => Measuring::<Etcd> { name, variant: Driver::Tool, options }.all().await,
        SystemName::EtcdTonic => Measuring::<Etcd> { name, variant: Driver::Tonic, options }.all().await,
        SystemName::ZooKeeper => Measuring::<ZooKeeper> { name, variant: (), options }.all().await,
    }
}

/// Everything that is asked of one system.
struct Measuring<'a, S: System> {
    name: SystemName,
    variant: S::Variant,
    options: &'a Options,
}

impl<S: System> Measuring<'_, S> {
    async fn all(&self) -> Result<SystemReport> {
        let name = self.name.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let mut report = SystemReport { name, ..SystemReport::default() };
        let directory = self.options.directory.join(&report.name);
        let measured = Box::pin(self.loads(&directory, &mut report)).await;
        note(measured, "loads", &mut report);
        self.clear(&directory)?;
        for group in &self.options.groups {
            if self.takes(*group) {
                let measured = Box::pin(self.trial(*group, &directory, &mut report)).await;
                note(measured, &group.to_string(), &mut report);
                self.clear(&directory)?;
            }
        }
        Ok(report)
    }

    fn takes(&self, group: Group) -> bool {
        let chosen = group != Group::Endurance || self.options.endurance_systems.contains(&self.name);
        chosen && group.is_trial() && self.name.takes(group)
    }

    /// The next cluster finds the disk as this one did.
    fn clear(&self, directory: &Path) -> Result<()> {
        if directory.exists() {
            fs::remove_dir_all(directory).map_err(kv_local::Error::file("remove", directory))?;
        }
        Ok(())
    }

    fn setup<'a>(&'a self, directory: &'a Path) -> Setup<'a> {
        Setup { directory, cache: &self.options.cache, live_bytes: 0, shards: None }
    }

    fn durations(&self) -> Durations {
        Durations { warm_up: self.options.warm_up, measured: self.options.measured }
    }

    /// Those that the goals are about: the most requests in flight, and the middle number.
    fn in_flight(&self) -> (usize, usize) {
        let depths = &self.options.in_flight;
        (depths.iter().copied().max().unwrap_or(1), depths.get(depths.len() / 2).copied().unwrap_or(1))
    }

    async fn loads(&self, directory: &Path, report: &mut SystemReport) -> Result<()> {
        let options = self.options;
        eprintln!("kv-bench: starting {}", report.name);
        // Also without a load: its version and settings are part of a report.
        let mut system = S::start(self.variant, self.setup(directory)).await?;
        (report.version, report.settings) = (system.version(), system.settings());
        for workload in workloads(options) {
            if !system.offers(workload.operation) {
                continue;
            }
            let sample = system.load(workload.into(), self.durations()).await?;
            eprintln!("kv-bench: {}: {workload}: {:.0}/s", report.name, sample.rate());
            report.measurements.push(Measurement { workload, sample });
        }
        let crashes = if options.groups.contains(&Group::Crash) { options.crashes } else { 0 };
        for round in 0..crashes {
            let took = system.crash_leader(round as u64).await?;
            eprintln!("kv-bench: {}: crash {}: {:.0} ms", report.name, round + 1, took.as_secs_f64() * 1e3);
            report.crash_millis.push(took.as_secs_f64() * 1e3);
        }
        system.stop().await
    }

    async fn trial(&self, group: Group, directory: &Path, report: &mut SystemReport) -> Result<()> {
        let (setup, extent, variant) = (self.setup(directory), &self.options.extent, self.variant);
        let (most, middle) = self.in_flight();
        eprintln!("kv-bench: {}: {group}", report.name);
        match group {
            Group::Handover => {
                report.handovers = trial::handover::<S>(variant, setup, extent.handovers, middle).await?;
            }
            Group::Start => report.start = Some(trial::start::<S>(variant, setup, extent).await?),
            Group::CatchUp => report.catch_up = Some(trial::catch_up::<S>(variant, setup, extent).await?),
            Group::Endurance => {
                let long = trial::endurance::<S>(variant, setup, extent, most, self.options.warm_up).await?;
                report.endurance = Some(long);
            }
            Group::Growth => {
                report.growth = trial::growth::<S>(variant, setup, extent, most, self.durations()).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// A run takes long: what fails is said, and the rest measured all the same.
fn note(measured: Result<()>, what: &str, report: &mut SystemReport) {
    if let Err(error) = measured {
        let why = kv_local::chain(&error);
        eprintln!("kv-bench: {}: {what} failed: {why}", report.name);
        report.failures.push(Failure { what: what.to_owned(), why });
    }
}

fn workloads(options: &Options) -> impl Iterator<Item = Workload> {
    options.groups.iter().flat_map(|group| group.workloads(&options.in_flight))
}

pub(crate) fn version() -> String {
    let profile = if cfg!(debug_assertions) { DEBUG } else { "release" };
    format!("{} ({profile})", env!("CARGO_PKG_VERSION"))
}
