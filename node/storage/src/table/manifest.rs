#[cfg(any(test, fuzzing))]
pub mod fuzz;

use std::{fs, io, path::Path};

use xxhash_rust::xxh3::xxh3_128;

use super::TableError;

/// Length of `current`: number and checksum of the manifest, kind of the checksum.
const CURRENT_LEN: usize = 25;

/// Checks the manifest that lsm-tree is about to read. It writes a checksum of it and does not look at that itself: a
/// flipped bit in the manifest could order tables wrongly, and old values would come back.
pub(super) fn check(folder: &Path) -> Result<(), TableError> {
    let current = match fs::read(folder.join("current")) {
        Ok(current) => current,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return check_new(folder),
        Err(error) => return Err(error.into()),
    };
    let Some((number, checksum)) = fields(&current) else {
        return Err(TableError::Corrupt("the pointer to its manifest is malformed".into()));
    };
    let manifest = match fs::read(folder.join(format!("v{number}"))) {
        Ok(manifest) => manifest,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(TableError::Corrupt(format!("manifest {number} is missing")));
        }
        Err(error) => return Err(error.into()),
    };
    if xxh3_128(&manifest) != checksum {
        return Err(TableError::Corrupt(format!("the checksum of manifest {number} does not match")));
    }
    Ok(())
}

/// Number and checksum of the manifest that `current` points to.
fn fields(current: &[u8]) -> Option<(u64, u128)> {
    let number = current.get(..8)?.try_into().ok().map(u64::from_le_bytes)?;
    let checksum = current.get(8..24)?.try_into().ok().map(u128::from_le_bytes)?;
    (current.len() == CURRENT_LEN && current[CURRENT_LEN - 1] == 0).then_some((number, checksum))
}

/// Without a pointer there must be no tables either: a crash while it was made leaves none.
fn check_new(folder: &Path) -> Result<(), TableError> {
    let tables = match fs::read_dir(folder.join("tables")) {
        Ok(tables) => tables.count(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error.into()),
    };
    if tables > 0 {
        return Err(TableError::Corrupt("the pointer to its manifest is missing".into()));
    }
    Ok(())
}
