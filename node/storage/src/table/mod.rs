//! The table: ordered rows of committed data. It has no journal: after a crash the log is replayed from the applied
//! entry, which lies in the same batch as what the entry did.

#[cfg(test)]
mod conformance;
mod fences;
mod levels;
mod lsm;
mod manifest;
mod memory;
mod memtable;
mod row_key;
mod scan;
mod snapshot;
mod stored;
#[cfg(test)]
mod tests;
mod worker;

use std::io;

use bytes::Bytes;
use kv_types::KeyRange;

pub use lsm::LsmOptions;
pub(crate) use lsm::LsmTable;
#[cfg(any(test, fuzzing))]
pub use manifest::fuzz::table_pointer;
pub use memory::MemoryTable;

/// Ordered rows, bytes to bytes. All calls may come from any thread; what reads may wait for the disk.
pub trait Table: Send + Sync {
    /// The value under `key`.
    ///
    /// # Errors
    /// [`TableError`] if it can't be read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, TableError>;

    /// Writes all of `batch` at once; in memory only, so that it does not wait for the disk. One batch after another:
    /// a later one is never on the disk without the earlier ones.
    ///
    /// # Errors
    /// [`TableError`] if the table has failed before, or if a key can't be one; then nothing is written.
    fn write(&self, batch: Batch) -> Result<Pressure, TableError>;

    /// All rows as they are now.
    fn snapshot(&self) -> Box<dyn Snapshot>;

    /// Rows of `range` as they are now.
    fn scan(&self, range: &KeyRange, direction: Direction) -> Rows {
        self.snapshot().scan(range, direction)
    }

    /// Deletes the rows of `range`, in batches of at most [`DELETE_BATCH`] rows: not at once, and again after a crash.
    /// Returns how many there were.
    ///
    /// # Errors
    /// [`TableError`] if the rows can't be read.
    fn delete_range(&self, range: &KeyRange) -> Result<u64, TableError> {
        let mut deleted = 0;
        let mut batch = Batch::default();
        for row in self.scan(range, Direction::Forward) {
            batch.delete(row?.0);
            deleted += 1;
            if batch.len() == DELETE_BATCH {
                self.write(std::mem::take(&mut batch))?;
            }
        }
        if !batch.is_empty() {
            self.write(batch)?;
        }
        Ok(deleted)
    }

    /// About how many bytes the rows of `range` take, older versions that are still there included. Those of ranges that
    /// lie side by side add up to that of the whole; each is right to about a five-hundredth of the files that it shares
    /// with others.
    fn approximate_size(&self, range: &KeyRange) -> u64;

    /// Returns when all that was written before is on the disk.
    ///
    /// # Errors
    /// [`TableError`] if that can't be done.
    fn flush(&self) -> Result<(), TableError>;

    /// The value under `key` as it would be after a crash.
    ///
    /// # Errors
    /// [`TableError`] if it can't be read.
    fn get_persisted(&self, key: &[u8]) -> Result<Option<Bytes>, TableError>;

    /// How far the disk is behind.
    fn pressure(&self) -> Pressure;

    /// What the table holds and has done.
    fn stats(&self) -> TableStats;

    /// Flushes and stops the threads.
    fn close(&self);
}

/// Rows of the table at one moment, whatever is written later.
pub trait Snapshot: Send + Sync {
    /// The value under `key`.
    ///
    /// # Errors
    /// [`TableError`] if it can't be read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, TableError>;

    /// Rows of `range` in the order of their keys, or the reverse.
    fn scan(&self, range: &KeyRange, direction: Direction) -> Rows;
}

/// Key and value of rows, or why the next one can't be read; then it ends.
pub type Rows = Box<dyn Iterator<Item = Result<(Bytes, Bytes), TableError>> + Send>;

/// Rows of one batch of [`Table::delete_range`].
pub const DELETE_BATCH: usize = 1024;

/// Longest key of a row in bytes.
pub const MAX_ROW_KEY: usize = 65_535;

/// In which order rows come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Ascending keys.
    Forward,
    /// Descending keys.
    Reverse,
}

/// How far the disk is behind what is written. The table takes everything, since what was committed must be applied:
/// it is for the caller to accept less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// It keeps up.
    #[default]
    None,
    /// It falls behind: accept less.
    Slow,
    /// Memory grows: accept no writes until it has caught up.
    Stop,
}

/// What a table holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Bytes in memory that are not on the disk.
    pub memory_bytes: u64,
    /// Bytes on the disk.
    pub disk_bytes: u64,
    /// Memtables that wait to be written.
    pub frozen: u64,
    /// Sorted runs that wait to be merged.
    pub runs: u64,
    /// Memtables written.
    pub flushes: u64,
    /// Compactions done.
    pub compactions: u64,
}

/// Why rows can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// What is on the disk is not what was written: the copy must be made anew from another.
    #[error("the table is damaged: {0}")]
    Corrupt(String),
    /// The file system failed.
    #[error("the table's disk failed")]
    Io(#[from] io::Error),
    /// A key is too long, or has nothing in it.
    #[error("a row's key has {length} bytes: 1 to {MAX_ROW_KEY} are possible")]
    Key {
        /// Length in bytes.
        length: usize,
    },
    /// It was closed, or has failed before.
    #[error("the table has stopped: {0}")]
    Stopped(String),
}

/// What a table tells by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TableEvent {
    /// More is on the disk.
    Persisted,
    /// There is no room on the disk.
    Full,
    /// There is again.
    Room,
    /// See [`TableError::Corrupt`].
    Corrupt(String),
    /// The disk failed; the process must stop.
    Fatal(String),
}

/// Changes that are made at once; of several to one key the last one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<(Bytes, Change)>,
}

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Put(Bytes),
    Delete,
    /// As `Delete`, of a row that was put once.
    DeleteOnly,
}

impl Batch {
    /// Room for `changes` changes.
    #[must_use]
    pub fn with_capacity(changes: usize) -> Self {
        Self { changes: Vec::with_capacity(changes) }
    }

    /// Sets a row.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes.push((key.into(), Change::Put(value.into())));
    }

    /// Deletes a row.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.changes.push((key.into(), Change::Delete));
    }

    /// Deletes a row that was put once and not again since it was last deleted. One that has not left memory yet leaves nothing behind
    /// then, not even the mark that it is deleted (RocksDB's `SingleDelete`).
    pub fn delete_only(&mut self, key: impl Into<Bytes>) {
        self.changes.push((key.into(), Change::DeleteOnly));
    }

    /// Number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn check(&self) -> Result<(), TableError> {
        let mut lengths = self.changes.iter().map(|(key, _)| key.len());
        match lengths.find(|length| !(1..=MAX_ROW_KEY).contains(length)) {
            Some(length) => Err(TableError::Key { length }),
            None => Ok(()),
        }
    }

    /// What `key` becomes: `None` if the batch says nothing of it, `Some(None)` if it is deleted.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        self.changes.iter().rev().find(|(of, _)| of == key).map(|(_, change)| match change {
            Change::Put(value) => Some(value),
            Change::Delete | Change::DeleteOnly => None,
        })
    }
}

/// Removes a damaged table and the mark that says so; the mark last, so that a crash in between does not hide it.
pub(crate) fn remove(folder: &std::path::Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match std::fs::remove_file(lsm::marker(folder)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl From<lsm_tree::Error> for TableError {
    fn from(error: lsm_tree::Error) -> Self {
        match error {
            lsm_tree::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Corrupt(format!("a file is too short: {error}"))
            }
            lsm_tree::Error::Io(error) => Self::Io(error),
            other => Self::Corrupt(format!("{other:?}")),
        }
    }
}
