use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Changes to a volume, one system call or so each: a crash may come before any of them.
///
/// Reading needs no stand-in: tests read the same files.
pub trait Disk {
    /// Makes a folder and those above it.
    ///
    /// # Errors
    /// If it can't be made.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// Writes a file and syncs it.
    ///
    /// # Errors
    /// If it can't be written.
    fn write(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()>;
    /// Gives a file another name, in place of what had that name.
    ///
    /// # Errors
    /// If there is no such file.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// If it is there and can't be removed.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// If it can't be synced.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// The volumes that are mounted.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn write(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(content)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = fs::remove_file(path);
        if removed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) { Ok(()) } else { removed }
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// Where an unfinished file lies: never a name that ZooKeeper or we read.
fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.unfinished"))
}

/// Puts `content` at `path`: after a crash there is all of it, or what was there before.
pub(crate) fn put(disk: &dyn Disk, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let partial = unfinished(path);
    disk.write(&partial, content, mode)?;
    disk.rename(&partial, path)?;
    match path.parent() {
        Some(folder) => disk.sync_folder(folder),
        None => Ok(()),
    }
}

/// Removes the files of a folder for which `condemned` says so, for good; the folder may be missing.
pub(crate) fn clear(disk: &dyn Disk, folder: &Path, condemned: impl Fn(&str) -> bool) -> io::Result<()> {
    let names: Vec<_> = crate::data::names(folder)?.into_iter().filter(|name| condemned(name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    for name in names {
        disk.remove(&folder.join(name))?;
    }
    disk.sync_folder(folder)
}
