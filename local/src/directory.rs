use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::error::{Error, Result};

/// How long a process of an earlier run may take to go after SIGKILL.
const STALE_GONE_WITHIN: Duration = Duration::from_secs(10);
/// Only processes that run one of these are ever killed as left over.
const OUR_PROGRAMS: [&str; 2] = ["kv-node", "QuorumPeerMain"];

/// Where a cluster keeps its files: a temporary directory that goes with this value, or one that is kept.
#[derive(Debug)]
pub struct WorkDirectory {
    path: PathBuf,
    /// Holds the lock of a kept directory.
    lock: File,
    temporary: Option<TempDir>,
}

impl WorkDirectory {
    /// A new temporary directory.
    ///
    /// # Errors
    /// [`Error::File`] if it can't be made.
    pub fn temporary() -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("kv-local-")
            .tempdir()
            .map_err(Error::file("make a directory in", &std::env::temp_dir()))?;
        Self::open(directory.path().to_owned(), Some(directory))
    }

    /// A directory that stays, made if it is missing. Processes that a run that was killed has left behind in it are
    /// killed.
    ///
    /// # Errors
    /// [`Error::DirectoryInUse`] if another `kv-local` has it; [`Error::File`] if it can't be used.
    pub fn kept(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(Error::file("make", path))?;
        let path = fs::canonicalize(path).map_err(Error::file("open", path))?;
        let directory = Self::open(path, None)?;
        directory.kill_left_over()?;
        Ok(directory)
    }

    fn open(path: PathBuf, temporary: Option<TempDir>) -> Result<Self> {
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(Error::file("make", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::DirectoryInUse { path }),
            Err(TryLockError::Error(error)) => return Err(Error::file("lock", &lock_path)(error)),
        }
        for part in ["logs", "zookeeper"] {
            let part = path.join(part);
            fs::create_dir_all(&part).map_err(Error::file("make", &part))?;
        }
        Ok(Self { path, lock, temporary })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it outlives this value.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.temporary.is_none()
    }

    /// The file that process ids are recorded in.
    #[must_use]
    pub fn process_ids(&self) -> PathBuf {
        self.path.join("pids")
    }

    /// The log file of a process.
    #[must_use]
    pub fn log(&self, process: &str) -> PathBuf {
        self.path.join("logs").join(format!("{process}.log"))
    }

    /// The first port of the last run, if there was one.
    #[must_use]
    pub fn last_ports(&self) -> Option<u16> {
        fs::read_to_string(self.path.join("ports")).ok()?.trim().parse().ok()
    }

    /// Records the ports of this run.
    ///
    /// # Errors
    /// [`Error::File`] if it can't be written.
    pub fn record_ports(&self, base: u16) -> Result<()> {
        let path = self.path.join("ports");
        fs::write(&path, format!("{base}\n")).map_err(Error::file("write", &path))
    }

    /// Nodes of an earlier run: those that have a directory `kv-0`, `kv-1`, … without a gap.
    #[must_use]
    pub fn known_nodes(&self) -> usize {
        (0..).take_while(|index| self.path.join(format!("kv-{index}")).is_dir()).count()
    }

    fn kill_left_over(&self) -> Result<()> {
        let path = self.process_ids();
        let recorded = fs::read_to_string(&path).unwrap_or_default();
        let stale: Vec<Pid> = recorded
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .filter(|id| self.is_ours(*id))
            .filter_map(Pid::from_raw)
            .collect();
        for pid in &stale {
            tracing::warn!(pid = pid.as_raw_nonzero(), "killing a process of an earlier run");
            // It may have ended since it was looked at: that is what is wanted.
            let _ = kill_process(*pid, Signal::KILL);
        }
        let deadline = Instant::now() + STALE_GONE_WITHIN;
        while stale.iter().any(|pid| self.is_ours(pid.as_raw_nonzero().get())) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        OpenOptions::new().write(true).create(true).truncate(true).open(&path).map_err(Error::file("write", &path))?;
        Ok(())
    }

    /// A process id may have been given to another program since: the command line must name our program and this
    /// directory.
    fn is_ours(&self, id: i32) -> bool {
        let Ok(command_line) = fs::read(format!("/proc/{id}/cmdline")) else {
            return false;
        };
        let command_line = String::from_utf8_lossy(&command_line);
        OUR_PROGRAMS.iter().any(|program| command_line.contains(program))
            && command_line.contains(&*self.path.to_string_lossy())
    }
}

impl Drop for WorkDirectory {
    /// Closing the file is not enough: a process that another thread is just starting has a copy of the descriptor from
    /// its fork to its exec, and the lock with it.
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(path = %self.path.display(), %error, "the lock of the directory stays until the program ends");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_directory_is_used_by_one_at_a_time() {
        let parent = tempfile::tempdir().expect("a directory");
        let path = parent.path().join("cluster");
        let first = WorkDirectory::kept(&path).expect("it is free");
        assert!(matches!(WorkDirectory::kept(&path), Err(Error::DirectoryInUse { .. })));
        drop(first);
        WorkDirectory::kept(&path).expect("it is free again");
    }

    /// What a fork leaves in the child until its exec is what a clone of the descriptor is here.
    #[test]
    fn a_process_that_is_being_started_does_not_keep_a_directory() {
        let parent = tempfile::tempdir().expect("a directory");
        let path = parent.path().join("cluster");
        let first = WorkDirectory::kept(&path).expect("it is free");
        let inherited = first.lock.try_clone().expect("a descriptor");
        drop(first);
        WorkDirectory::kept(&path).expect("it is free again");
        drop(inherited);
    }

    #[test]
    fn a_temporary_directory_goes_and_a_kept_one_stays() {
        let temporary = WorkDirectory::temporary().expect("a directory");
        let path = temporary.path().to_owned();
        assert!(path.is_dir() && !temporary.is_kept());
        drop(temporary);
        assert!(!path.exists());

        let parent = tempfile::tempdir().expect("a directory");
        let path = parent.path().join("cluster");
        let kept = WorkDirectory::kept(&path).expect("a directory");
        kept.record_ports(10_200).expect("it is writable");
        fs::create_dir(path.join("kv-0")).expect("it is writable");
        drop(kept);
        let kept = WorkDirectory::kept(&path).expect("a directory");
        assert_eq!((kept.last_ports(), kept.known_nodes()), (Some(10_200), 1));
    }

    #[test]
    fn only_processes_of_the_directory_are_killed_as_left_over() {
        let parent = tempfile::tempdir().expect("a directory");
        let path = parent.path().join("cluster");
        let directory = WorkDirectory::kept(&path).expect("a directory");
        // `exec -a` gives the stand-ins the command lines that are looked for.
        let start = |name: &str| {
            let script = format!("exec -a '{name}' sleep 60");
            Command::new("bash").args(["-c", &script]).spawn().expect("bash runs")
        };
        let mut ours = start(&format!("kv-node --data {}/kv-0/data", directory.path().display()));
        let mut other = start("kv-node --data /elsewhere");
        let named = |id: u32| {
            let command = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
            command.starts_with("kv-node")
        };
        while !(named(ours.id()) && named(other.id())) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let ids = format!("{}\n{}\nnonsense\n", ours.id(), other.id());
        fs::write(directory.process_ids(), ids).expect("it is writable");
        drop(directory);

        // The parent of a killed process has to collect it before it is gone.
        let collected = std::thread::spawn(move || ours.wait().expect("it ends"));
        let directory = WorkDirectory::kept(&path).expect("a directory");
        assert!(!collected.join().expect("it ends").success());
        assert!(other.try_wait().expect("it can be asked").is_none());
        assert_eq!(fs::read_to_string(directory.process_ids()).expect("it exists"), "");
        other.kill().expect("it runs");
        other.wait().expect("it ends");
    }
}
