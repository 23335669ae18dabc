//! What folders take of a disk, and what is left of it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

/// As `st_blocks` counts, whatever the file system's blocks are.
const BLOCK_BYTES: u64 = 512;
/// What a measurement leaves free: a full disk would be measured instead of a store, and harm others.
pub(crate) const LEFT_FREE: u64 = 1 << 30;

/// Bytes that all files in the folders take. A file that goes meanwhile counts for nothing.
pub(crate) fn used(folders: &[PathBuf]) -> u64 {
    folders.iter().map(|folder| of(folder).unwrap_or(0)).sum()
}

fn of(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Not what a link leads to.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += metadata.blocks() * BLOCK_BYTES;
        if metadata.is_dir() {
            bytes += of(&entry.path()).unwrap_or(0);
        }
    }
    Ok(bytes)
}

/// # Errors
/// [`Error::NoSpace`] if less than `needed` bytes beside [`LEFT_FREE`] are free.
pub(crate) fn check_room(directory: &Path, needed: u64) -> Result<()> {
    let found = rustix::fs::statvfs(directory).map_err(io::Error::from)?;
    let (free_bytes, needed_bytes) = (found.f_bavail * found.f_frsize, needed.saturating_add(LEFT_FREE));
    if free_bytes >= needed_bytes {
        return Ok(());
    }
    Err(Error::NoSpace { path: directory.to_owned(), free_bytes, needed_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_all_folders_count_and_too_little_room_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let inner = directory.path().join("a/b");
        fs::create_dir_all(&inner).expect("it is writable");
        let before = used(&[directory.path().to_owned()]);
        fs::write(inner.join("file"), vec![1; 100_000]).expect("it is writable");
        let file = fs::File::open(inner.join("file")).expect("it is there");
        file.sync_all().expect("it can be synced");
        let after = used(&[directory.path().to_owned(), "/nowhere".into()]);
        assert!(after >= before + 100_000, "{before} {after}");
        let full = check_room(directory.path(), u64::MAX).expect_err("no disk is that large").to_string();
        assert!(full.contains("--dir"), "{full}");
    }
}
