#[cfg(any(test, fuzzing))]
pub mod fuzz;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use kv_types::{Folder, NodeName, VolumeId};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{TableError, disk::sync_folder, log::ReplayError};

/// Version of a volume's layout.
const FORMAT: u32 = 1;
const FILE: &str = "identity.json";

/// What a volume is. Written once.
// A field that is not known is one whose name is damaged: without its cluster a volume would join any. New ones come with a
// new format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Version of the volume's layout.
    pub format_version: u32,
    /// Made up when the volume was.
    pub volume: VolumeId,
    /// Which of a node's folders it is.
    pub folder: Folder,
    /// Whose.
    pub node: NodeName,
    /// The cluster's UUID, once the node has joined one.
    pub cluster: Option<Uuid>,
}

/// Why a volume can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path is a file.
    #[error("{} is not a directory: give the path of a folder for the volume", .0.display())]
    NotADirectory(PathBuf),
    /// The process may not use it.
    #[error("{} can't be read and written by this user: change its owner or its mode", .0.display())]
    Permission(PathBuf),
    /// Another process has it open.
    #[error("{} is in use by another process: stop that one first", .0.display())]
    InUse(PathBuf),
    /// It was written by a later version of this program.
    #[error("{} has format {found}, this version knows {known} at most: use a newer version", .path.display())]
    NewerFormat {
        /// Path of the volume.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The highest format that is known.
        known: u32,
    },
    /// It is the other folder of a node.
    #[error("{} is a {found} volume and was given as {given}: are the two paths swapped?", .path.display())]
    OtherFolder {
        /// Path of the volume.
        path: PathBuf,
        /// What it is.
        found: Folder,
        /// What it should be.
        given: Folder,
    },
    /// It is of another node.
    #[error("{} is a volume of node {found}, and this is node {given}: give this node its own volume", .path.display())]
    OtherNode {
        /// Path of the volume.
        path: PathBuf,
        /// Whose it is.
        found: NodeName,
        /// Who asked.
        given: NodeName,
    },
    /// The identity file makes no sense.
    #[error("{} can't be understood ({why}): restore it, or empty the folder to start as a new volume", .path.display())]
    Identity {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is data, but nothing that says whose.
    #[error("{} has files and no {FILE}: give an empty folder, or restore that file", .0.display())]
    NotAVolume(PathBuf),
    /// What replicas promised is lost, so this can't go on as the same volume.
    #[error("{}: {why}; empty the folder to start as a new volume", .path.display())]
    LogLost {
        /// Path of the volume.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// An option is out of its bounds.
    #[error("segments of {bytes} bytes are not possible: give {least} to {most}")]
    SegmentSize {
        /// What was given.
        bytes: u64,
        /// Least possible.
        least: u64,
        /// Most possible.
        most: u64,
    },
    /// The table can't be read.
    #[error("the table in {} can't be opened", .path.display())]
    Table {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: TableError,
    },
    /// The file system failed.
    #[error("{} can't be used", .path.display())]
    Io {
        /// Path of the volume.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why a volume was not bound to a cluster.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It is of another one.
    #[error("volume {volume} is of cluster {found}, not of {given}: give this node an empty volume")]
    OtherCluster {
        /// The volume.
        volume: VolumeId,
        /// Its cluster.
        found: Uuid,
        /// The cluster that was asked for.
        given: Uuid,
    },
    /// It can't be written.
    #[error("the volume's identity can't be written")]
    Io(#[from] io::Error),
}

/// A folder that this process alone has open.
pub(super) struct Locked {
    path: PathBuf,
    identity: Identity,
    /// Holds the lock.
    _lock: File,
}

impl Locked {
    pub(super) fn open(path: &Path, folder: Folder, node: &NodeName) -> Result<Self, OpenError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => OpenError::Permission(path.into()),
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => OpenError::NotADirectory(path.into()),
            _ => OpenError::Io { path: path.into(), source },
        };
        if path.exists() && !path.is_dir() {
            return Err(OpenError::NotADirectory(path.into()));
        }
        let made = path.ancestors().take_while(|folder| !folder.exists()).count();
        fs::create_dir_all(path).map_err(failed)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let lock = options.open(path.join("lock")).map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => OpenError::InUse(path.into()),
            other => failed(other.into()),
        })?;
        let identity = match fs::read(path.join(FILE)) {
            Ok(text) => understand(path, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // An empty log folder is what a crash before the identity was written could not leave behind.
                if path.join("log").exists() || path.join("table").exists() {
                    return Err(OpenError::NotAVolume(path.into()));
                }
                // A former start may have made the folder and have ended before it synced what it lies in.
                sync_above(path, made.max(1)).map_err(failed)?;
                let volume = VolumeId(Uuid::new_v4());
                let identity = Identity { format_version: FORMAT, volume, folder, node: node.clone(), cluster: None };
                store(path, &identity).map_err(failed)?;
                identity
            }
            Err(error) => return Err(failed(error)),
        };
        if identity.folder != folder {
            return Err(OpenError::OtherFolder { path: path.into(), found: identity.folder, given: folder });
        }
        if identity.node != *node {
            return Err(OpenError::OtherNode { path: path.into(), found: identity.node, given: node.clone() });
        }
        Ok(Self { path: path.into(), identity, _lock: lock })
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn bind_cluster(&mut self, cluster: Uuid) -> Result<(), BindError> {
        match self.identity.cluster {
            Some(found) if found == cluster => Ok(()),
            Some(found) => Err(BindError::OtherCluster { volume: self.identity.volume, found, given: cluster }),
            None => {
                let bound = Identity { cluster: Some(cluster), ..self.identity.clone() };
                store(&self.path, &bound)?;
                self.identity = bound;
                Ok(())
            }
        }
    }
}

impl OpenError {
    pub(super) fn of_log(path: &Path, error: ReplayError) -> Self {
        match error {
            ReplayError::Newer { found, .. } => {
                Self::NewerFormat { path: path.into(), found, known: crate::SEGMENT_FORMAT }
            }
            ReplayError::Io(source) => Self::Io { path: path.into(), source },
            other => Self::LogLost { path: path.into(), why: other.to_string() },
        }
    }

    pub(super) fn of_table(path: &Path, error: TableError) -> Self {
        Self::Table { path: path.into(), source: error }
    }
}

fn understand(path: &Path, text: &[u8]) -> Result<Identity, OpenError> {
    /// All formats have this much.
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    let wrong = |error: serde_json::Error| OpenError::Identity { path: path.join(FILE), why: error.to_string() };
    let Version { format_version } = serde_json::from_slice(text).map_err(wrong)?;
    if format_version > FORMAT {
        return Err(OpenError::NewerFormat { path: path.into(), found: format_version, known: FORMAT });
    }
    serde_json::from_slice(text).map_err(wrong)
}

/// Makes the names of the folder and of those above it durable, `levels` in all.
fn sync_above(path: &Path, levels: usize) -> io::Result<()> {
    for folder in path.ancestors().skip(1).take(levels) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        match sync_folder(folder) {
            // Who may not look into it has not made anything in it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

fn store(path: &Path, identity: &Identity) -> io::Result<()> {
    let unfinished = path.join(format!("{FILE}.new"));
    let mut file = File::create(&unfinished)?;
    file.write_all(&serde_json::to_vec_pretty(identity)?)?;
    file.sync_all()?;
    fs::rename(&unfinished, path.join(FILE))?;
    sync_folder(path)
}
