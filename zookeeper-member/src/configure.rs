use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{
    claim::{Claim, DYNAMIC, Folders, HELD, MARKER, STATIC},
    data::VERSION_FOLDER,
    decide::{Refusal, Step, decide},
    disk::{Disk, clear, put},
    membership::{Member, Membership},
    record::{Record, RecordError},
    report::{Did, Report},
    zoo_cfg,
};

const READABLE: u32 = 0o640;

/// What a member's configuration depends on.
#[derive(Clone, Debug)]
pub struct Options {
    /// The member itself, as one who votes.
    pub own: Member,
    /// Where the operator's record is mounted.
    pub record: PathBuf,
    /// Where the claim is mounted.
    pub folders: Folders,
    /// The rest.
    pub settings: Settings,
}

/// What is the same for all members.
#[derive(Clone, Default)]
pub struct Settings {
    /// Milliseconds of ZooKeeper's tick: sessions last 2 to 20 of them.
    pub tick_millis: u32,
    /// `super:BASE64`: the digest of who may reconfigure.
    pub super_digest: Option<String>,
    /// Port for Prometheus; none: no metrics but `mntr`.
    pub metrics_port: Option<u16>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tick_millis, super_digest, metrics_port } = self;
        let super_digest = super_digest.as_ref().map(|_| "…");
        let mut shown = f.debug_struct("Settings");
        shown.field("tick_millis", tick_millis).field("super_digest", &super_digest);
        shown.field("metrics_port", metrics_port).finish()
    }
}

/// Why a claim could not be made ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigureError {
    /// The operator's record can't be read.
    #[error("the ensemble's record can't be used")]
    Record(#[from] RecordError),
    /// The claim can't be read.
    #[error("can't read the claim")]
    Look(#[source] io::Error),
    /// The claim can't be written.
    #[error("can't write the claim")]
    Write(#[source] io::Error),
    /// ZooKeeper must not start.
    #[error("zookeeper must not start")]
    Refused(#[from] Refusal),
}

/// Makes a claim ready for ZooKeeper's start, and says what was found and done; ZooKeeper may start only if
/// [`Report::may_start`]. Can be repeated after a crash at any point.
pub fn configure(options: &Options, disk: &dyn Disk) -> Report {
    let mut report = Report::default();
    match attempt(options, disk, &mut report) {
        Ok(did) => report.did = did,
        Err(error) => {
            let mut reason = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                reason += &format!(": {error}");
                source = error.source();
            }
            report.did = Did::Refused(reason);
        }
    }
    report
}

fn attempt(options: &Options, disk: &dyn Disk, report: &mut Report) -> Result<Did, ConfigureError> {
    let Options { own, record, folders, settings: _ } = options;
    let claim = Claim::look(folders).map_err(ConfigureError::Look)?;
    report.found = Some(claim.clone());
    let record = Record::read(record)?;
    report.token = record.recovery.as_ref().map(|recovery| recovery.token);
    let step = decide(own, &record, &claim)?;
    carry_out(options, disk, &claim, &step).map_err(ConfigureError::Write)?;
    Ok(match step {
        Step::FirstBoot(_) => Did::FirstBoot,
        Step::LaterBoot | Step::Adopt(_) => Did::LaterBoot,
        Step::Join { .. } => Did::Joiner,
        Step::Recover(_) => Did::Recovered,
        Step::Hold { .. } => Did::Held,
    })
}

/// The order matters: whatever a crash leaves is decided about anew, and leads to the same step again.
fn carry_out(options: &Options, disk: &dyn Disk, claim: &Claim, step: &Step) -> io::Result<()> {
    let Options { own, folders, .. } = options;
    let Folders { conf, data, datalog } = folders;
    for folder in [conf, data, datalog] {
        disk.make_folder(folder)?;
    }
    if claim.id.is_none() {
        put(disk, &data.join("myid"), format!("{}\n", own.id).as_bytes(), READABLE)?;
    }
    match step {
        Step::Hold { token } => return put(disk, &conf.join(HELD), format!("{token}\n").as_bytes(), READABLE),
        Step::LaterBoot => {
            let pointer = claim.pointer.clone().unwrap_or_else(|| conf.join(DYNAMIC));
            put_static(options, disk, &pointer)?;
        }
        Step::Adopt(membership) => {
            clear(disk, datalog, |name| name == MARKER)?;
            // First: once the pointer is there the next start is one like any other, and ZooKeeper would read a change that had
            // been proposed to the former configuration.
            let pointed = claim.pointer.as_ref().and_then(|path| path.file_name());
            clear(disk, conf, |name| name.starts_with(DYNAMIC) && Some(name.as_ref()) != pointed)?;
            put_membership(options, disk, membership)?;
        }
        Step::Join { membership, blank } => {
            // A marker that is left would let it vote with nothing.
            clear(disk, datalog, |name| name == MARKER)?;
            if *blank {
                empty(disk, folders)?;
            }
            put_membership(options, disk, membership)?;
        }
        Step::FirstBoot(membership) | Step::Recover(membership) => {
            clear(disk, datalog, |name| name == MARKER)?;
            // A member that ran without a marker has stored that it must not vote.
            empty(disk, folders)?;
            put_membership(options, disk, membership)?;
            put(disk, &datalog.join(MARKER), b"", READABLE)?;
        }
    }
    // Last: while it is there a recovery's step is decided in the same way again, and once it is gone never again.
    clear(disk, conf, |name| name == HELD)
}

fn empty(disk: &dyn Disk, folders: &Folders) -> io::Result<()> {
    for folder in [&folders.data, &folders.datalog] {
        clear(disk, &folder.join(VERSION_FOLDER), |_| true)?;
    }
    Ok(())
}

/// The dynamic file, then the pointer to it, and then nothing else of the kind.
fn put_membership(options: &Options, disk: &dyn Disk, membership: &Membership) -> io::Result<()> {
    let conf = &options.folders.conf;
    let name = match membership.version {
        0 => DYNAMIC.to_owned(),
        version => format!("{DYNAMIC}.{version:x}"),
    };
    let pointer = conf.join(&name);
    put(disk, &pointer, membership.lines().as_bytes(), READABLE)?;
    put_static(options, disk, &pointer)?;
    clear(disk, conf, |other| other.starts_with(DYNAMIC) && *other != name)
}

fn put_static(options: &Options, disk: &dyn Disk, pointer: &Path) -> io::Result<()> {
    let Options { folders, settings, .. } = options;
    let text = zoo_cfg::text(folders, settings, pointer);
    put(disk, &folders.conf.join("logback.xml"), zoo_cfg::LOGBACK.as_bytes(), READABLE)?;
    put(disk, &folders.conf.join(STATIC), text.as_bytes(), READABLE)
}
