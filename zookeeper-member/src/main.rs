//! Makes a ZooKeeper member's claim ready before ZooKeeper starts, and answers the probes of its container.

use std::{
    error::Error,
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use kv_zookeeper_member::{Disk, Folders, Member, Options, RealDisk, Role, Settings, alive, configure, ready};

const PROGRAM: &str = "kv-zookeeper-member";
const EXECUTABLE: u32 = 0o755;

#[derive(Parser)]
#[command(name = PROGRAM, version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the claim ready for ZooKeeper's start; fails if ZooKeeper must not start
    Configure(Box<Configure>),
    /// Succeeds if the member serves
    Ready(Probe),
    /// Succeeds if the member's process answers
    Alive(Probe),
}

#[derive(Args)]
struct Configure {
    /// Name of the pod: it ends with the ordinal
    #[arg(long, env = "POD_NAME")]
    pod_name: String,
    /// Name under which the other members find this one
    #[arg(long, env = "ZOOKEEPER_HOST")]
    host: String,
    /// Folder of the operator's record
    #[arg(long, value_name = "DIR")]
    ensemble: PathBuf,
    /// Folder of the configuration, on the claim
    #[arg(long, value_name = "DIR", default_value = "/conf")]
    conf: PathBuf,
    /// Folder of snapshots, on the claim
    #[arg(long, value_name = "DIR", default_value = "/data")]
    data: PathBuf,
    /// Folder of logs, on the claim
    #[arg(long, value_name = "DIR", default_value = "/datalog")]
    datalog: PathBuf,
    /// `super:BASE64` of who may reconfigure
    #[arg(long, env = "ZOOKEEPER_SUPER_DIGEST", hide_env_values = true)]
    super_digest: Option<String>,
    /// Port for followers
    #[arg(long, default_value_t = 2888)]
    peer_port: u16,
    /// Port for elections
    #[arg(long, default_value_t = 3888)]
    election_port: u16,
    /// Port for clients
    #[arg(long, default_value_t = 2181)]
    client_port: u16,
    /// Port for Prometheus, if ZooKeeper is to serve metrics there (its image needs the jars for it)
    #[arg(long)]
    metrics_port: Option<u16>,
    /// ZooKeeper's tick in milliseconds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(100..=60_000))]
    tick_millis: u32,
    /// Copy this program there, for the probes
    #[arg(long, value_name = "DIR")]
    install: Option<PathBuf>,
    /// Where the report is written to besides standard output
    #[arg(long, value_name = "FILE", default_value = "/dev/termination-log")]
    report: PathBuf,
}

#[derive(Args)]
struct Probe {
    /// The member's address for clients
    #[arg(long, default_value = "127.0.0.1:2181")]
    address: SocketAddr,
    /// Milliseconds for the whole
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    timeout_millis: u64,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Configure(arguments) => run_configure(&arguments),
        Command::Ready(probe) => ready(probe.address, probe.within()).map(drop).map_err(Into::into),
        Command::Alive(probe) => alive(probe.address, probe.within()).map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut source = Some(&*error as &dyn Error);
            let mut text = PROGRAM.to_owned();
            while let Some(error) = source {
                text += &format!(": {error}");
                source = error.source();
            }
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

impl Probe {
    fn within(&self) -> Duration {
        Duration::from_millis(self.timeout_millis)
    }
}

fn run_configure(arguments: &Configure) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = &arguments.install {
        install(folder).map_err(|error| format!("can't copy this program to {}: {error}", folder.display()))?;
    }
    let report = configure(&arguments.options()?, &RealDisk);
    let json = report.to_json();
    println!("{json}");
    // Without it the operator only knows less, and ZooKeeper can start all the same.
    if let Err(error) = fs::File::create(&arguments.report).and_then(|mut file| file.write_all(json.as_bytes())) {
        eprintln!("{PROGRAM}: can't write the report to {}: {error}", arguments.report.display());
    }
    if report.may_start() { Ok(()) } else { Err("zookeeper must not start now: see the report".into()) }
}

/// The member's own container has no program of ours. Nobody runs it yet, so a torn copy is written anew.
fn install(folder: &Path) -> std::io::Result<()> {
    let own = fs::read(std::env::current_exe()?)?;
    let partial = folder.join(format!(".{PROGRAM}.unfinished"));
    RealDisk.write(&partial, &own, EXECUTABLE)?;
    RealDisk.rename(&partial, &folder.join(PROGRAM))
}

impl Configure {
    fn options(&self) -> Result<Options, Box<dyn Error>> {
        let ordinal = self.pod_name.rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse::<u32>().ok());
        let id = ordinal.and_then(|ordinal| ordinal.checked_add(1));
        let id = id.ok_or_else(|| format!("pod name {:?} does not end with -ORDINAL", self.pod_name))?;
        let own = Member {
            id,
            host: self.host.clone(),
            peer_port: self.peer_port,
            election_port: self.election_port,
            role: Role::Participant,
            client_port: self.client_port,
        };
        // What the others would not understand is refused here and not by them.
        if own.to_string().parse::<Member>().as_ref() != Ok(&own) {
            return Err(
                format!("host {:?} is no name or address that ZooKeeper's configuration can hold", self.host).into()
            );
        }
        let (conf, data, datalog) = (self.conf.clone(), self.data.clone(), self.datalog.clone());
        let settings = Settings {
            tick_millis: self.tick_millis,
            super_digest: self.super_digest.clone(),
            metrics_port: self.metrics_port,
        };
        Ok(Options { own, record: self.ensemble.clone(), folders: Folders { conf, data, datalog }, settings })
    }
}
