use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    data::Data,
    membership::{Membership, parse_version},
};

/// The static part of the configuration; ZooKeeper rewrites its pointer to the dynamic part.
pub(crate) const STATIC: &str = "zoo.cfg";
/// What the names of dynamic files begin with; the version, if any, follows after a full stop.
pub(crate) const DYNAMIC: &str = "zoo.cfg.dynamic";
/// The line that points to the dynamic part.
pub(crate) const POINTER: &str = "dynamicConfigFile=";
/// Makes ZooKeeper vote with an empty database, once.
pub(crate) const MARKER: &str = "initialize";
/// Holds the token of the recovery under which this claim was looked at last.
pub(crate) const HELD: &str = "recovery";

/// Where a claim's parts are mounted.
#[derive(Clone, Debug)]
pub struct Folders {
    /// The configuration.
    pub conf: PathBuf,
    /// Snapshots and `myid`.
    pub data: PathBuf,
    /// Logs, and the marker.
    pub datalog: PathBuf,
}

/// What lies on a member's claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The id that it was made for.
    pub id: Option<u32>,
    /// The file that zoo.cfg points to.
    pub pointer: Option<PathBuf>,
    /// What that file says; none if it is missing or can't be read.
    pub membership: Option<Membership>,
    /// Snapshots and logs.
    pub data: Option<Data>,
    /// Whether ZooKeeper has been allowed to begin with nothing, and has not started since.
    pub marker: bool,
    /// The recovery under which it was looked at last.
    pub held: Option<u64>,
}

impl Claim {
    /// Looks at a claim.
    ///
    /// # Errors
    /// If something that is there can't be read: nothing is concluded from that.
    pub fn look(folders: &Folders) -> io::Result<Self> {
        let pointer = text(&folders.conf.join(STATIC))?.and_then(|text| pointer(&text));
        let membership = match &pointer {
            Some(path) => text(path)?.and_then(|text| Membership::read(&text, version_of(path)).ok()),
            None => None,
        };
        Ok(Self {
            id: number(&folders.data.join("myid"))?,
            pointer,
            membership,
            data: Data::look(&folders.data, &folders.datalog)?,
            marker: folders.datalog.join(MARKER).exists(),
            held: number(&folders.conf.join(HELD))?,
        })
    }

    /// Whether the configuration that it holds counts on its vote.
    #[must_use]
    pub fn votes(&self, id: u32) -> bool {
        self.membership.as_ref().is_some_and(|membership| membership.votes(id))
    }

    /// Whether anything may have been written to an ensemble that it has seen.
    #[must_use]
    pub fn holds_data(&self) -> bool {
        self.data.is_some_and(|data| !data.is_empty())
    }
}

fn pointer(text: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| line.trim().strip_prefix(POINTER)).map(|path| PathBuf::from(path.trim()))
}

/// ZooKeeper keeps the version in the file's name, and refuses a file that has it inside.
fn version_of(path: &Path) -> u64 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit_once('.').and_then(|(_, version)| parse_version(version).ok()).unwrap_or(0)
}

fn number<T: std::str::FromStr>(path: &Path) -> io::Result<Option<T>> {
    Ok(text(path)?.and_then(|text| text.trim().parse().ok()))
}

fn text(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
