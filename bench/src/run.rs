use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum as _;
use kv_client::Transport;

use crate::{
    error::{Error, Result},
    limits,
    load::Durations,
    report::{FORMAT, Machine, Measurement, Report, Settings, SystemReport},
    system::{Driver, Etcd, Kv, System, SystemName, ZooKeeper},
    workload::{Group, Workload},
};

/// Copies of each key that the store keeps by default, and in the run that keeps as many as the others.
const COPIES: (usize, usize) = (2, 3);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// One after the other, each started anew.
    pub systems: Vec<SystemName>,
    /// What is done with each.
    pub groups: Vec<Group>,
    /// Requests in flight of loads of 100-byte values, ascending.
    pub in_flight: Vec<usize>,
    /// Of each load before it is measured.
    pub warm_up: Duration,
    /// Of each load.
    pub measured: Duration,
    /// How often a leader is killed.
    pub crashes: usize,
    /// Where all systems keep their data, each in a folder of its own: it says which disk is measured. It must exist.
    pub directory: PathBuf,
    /// Where what was built is kept. It is made if need be.
    pub cache: PathBuf,
}

/// Measures all of it, and says on standard error what it is doing.
///
/// # Errors
/// [`Error`] of the first system that can't be started or fails under its load.
pub async fn run(options: &Options) -> Result<Report> {
    fs::create_dir_all(&options.cache).map_err(Error::file("make", &options.cache))?;
    let measured_limits = if options.groups.contains(&Group::Limits) {
        eprintln!("kv-bench: the machine without any store");
        let (directory, each) = (options.directory.clone(), options.measured);
        let measured = tokio::task::spawn_blocking(move || limits::measure(&directory, each)).await;
        measured.map_err(Error::request)??
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
    };
    for system in &options.systems {
        let name = system.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        eprintln!("kv-bench: starting {name}");
        let directory = options.directory.join(&name);
        let measured = of(*system, name, &directory, options).await?;
        report.systems.push(measured);
        // The next one finds the disk as this one did.
        fs::remove_dir_all(&directory).map_err(Error::file("remove", &directory))?;
    }
    Ok(report)
}

async fn of(system: SystemName, name: String, directory: &Path, options: &Options) -> Result<SystemReport> {
    let (default, three) = COPIES;
    match system {
        SystemName::Kv => measure(Kv::start(directory, default, Transport::Pipeline).await?, name, options).await,
        SystemName::KvUnary => measure(Kv::start(directory, default, Transport::Unary).await?, name, options).await,
        SystemName::KvThreeCopies => {
            measure(Kv::start(directory, three, Transport::Pipeline).await?, name, options).await
        }
        SystemName::Etcd => measure(Etcd::start(directory, &options.cache, Driver::Tool).await?, name, options).await,
        SystemName::EtcdTonic => {
            measure(Etcd::start(directory, &options.cache, Driver::Tonic).await?, name, options).await
        }
        SystemName::ZooKeeper => measure(ZooKeeper::start(directory).await?, name, options).await,
    }
}

async fn measure(mut system: impl System, name: String, options: &Options) -> Result<SystemReport> {
    let mut report = SystemReport {
        version: system.version(),
        settings: system.settings(),
        name,
        measurements: Vec::new(),
        crash_millis: Vec::new(),
    };
    let durations = Durations { warm_up: options.warm_up, measured: options.measured };
    for workload in workloads(options) {
        if !system.offers(workload.operation) {
            continue;
        }
        let sample = system.load(workload, durations).await?;
        eprintln!("kv-bench: {}: {workload}: {:.0}/s", report.name, sample.rate());
        report.measurements.push(Measurement { workload, sample });
    }
    let crashes = if options.groups.contains(&Group::Crash) { options.crashes } else { 0 };
    for round in 0..crashes {
        let took = system.crash_leader(round as u64).await?;
        eprintln!("kv-bench: {}: crash {}: {:.0} ms", report.name, round + 1, took.as_secs_f64() * 1e3);
        report.crash_millis.push(took.as_secs_f64() * 1e3);
    }
    system.stop().await?;
    Ok(report)
}

fn workloads(options: &Options) -> impl Iterator<Item = Workload> {
    options.groups.iter().flat_map(|group| group.workloads(&options.in_flight))
}

fn version() -> String {
    let profile = if cfg!(debug_assertions) { "debug: its figures mean little" } else { "release" };
    format!("{} ({profile})", env!("CARGO_PKG_VERSION"))
}
