//! What the log needs of a file system, small enough to be simulated with its crashes.

#[cfg(any(test, fuzzing))]
pub(crate) mod memory;
mod real;
#[cfg(test)]
pub(crate) mod simulated;

use std::{io, sync::Arc};

pub(crate) use real::{RealDisk, sync_folder};

/// A folder of flat files.
pub(crate) trait Disk: Send + Sync {
    /// Creates a file of `len` bytes, `start` and then zeros, that is durable with its name when this returns.
    ///
    /// After a crash the file is there whole or not at all.
    fn create(&self, name: &str, start: &[u8], len: u64) -> io::Result<()>;

    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// All names.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Removes a file; durable some time later.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A file of known length: writes lie within it.
pub(crate) trait DiskFile: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset`; bytes beyond the end are an error.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` and returns when they are on the disk.
    ///
    /// After an error nobody knows what is on the disk, and a later success would not say so: the process must stop.
    fn write_durably(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Changes the length, filling with zeros; durable on return.
    fn resize(&self, len: u64) -> io::Result<()>;
}

/// Whether `error` says that there is no room, which passes, and not that the disk fails.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
