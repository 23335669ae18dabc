use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    layout::write_file,
};

/// Of a killed process, until it is gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Where `/proc/PID/stat` has the time of the start, counted from behind the name.
const START_TIME_FIELD: usize = 19;

/// A process that may have been started by another program, long ago: known again by the time of its start and the boot
/// of the machine, so that its successor with the same id is never taken for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    id: i32,
    started: String,
    boot: String,
}

impl ProcessId {
    /// Of a process that runs now.
    pub(crate) fn of(id: u32) -> Result<Self> {
        let stat = Path::new("/proc").join(id.to_string()).join("stat");
        let started = started(&stat).ok_or_else(|| Error::Missing { kind: "process", name: id.to_string() })?;
        Ok(Self { id: i32::try_from(id).unwrap_or(i32::MAX), started, boot: boot() })
    }

    /// The one that was saved in `file`, whether it runs or not.
    pub(crate) fn load(file: &Path) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(file).ok()?).ok()
    }

    pub(crate) fn save(&self, file: &Path) -> Result<()> {
        let text =
            serde_json::to_string(self).map_err(|source| Error::Unreadable { from: "a process".into(), source })?;
        write_file(file, text)
    }

    pub(crate) fn number(&self) -> i32 {
        self.id
    }

    pub(crate) fn is_running(&self) -> bool {
        let stat = Path::new("/proc").join(self.id.to_string()).join("stat");
        // If it is a child of ours, a dead one stays until somebody asks for its end.
        if let Some(id) = Pid::from_raw(self.id) {
            let _ = waitpid(Some(id), WaitOptions::NOHANG);
        }
        self.boot == boot() && started(&stat).as_ref() == Some(&self.started)
    }

    /// The processes that it has started and that still run.
    pub(crate) fn children(&self) -> Vec<Self> {
        let list = format!("/proc/{0}/task/{0}/children", self.id);
        let list = fs::read_to_string(list).unwrap_or_default();
        list.split_whitespace().filter_map(|id| Self::of(id.parse().ok()?).ok()).collect()
    }

    /// SIGKILL, and returns when it is gone.
    pub(crate) fn kill(&self) -> Result<()> {
        let started = Instant::now();
        while self.is_running() {
            if let Some(id) = Pid::from_raw(self.id) {
                // It may have gone in between.
                let _ = kill_process(id, Signal::KILL);
            }
            if started.elapsed() > GONE_WITHIN {
                let what = format!("the end of process {}", self.id);
                return Err(Error::Late { what, within: GONE_WITHIN, detail: "it is still there".into() });
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

/// `None` if there is no such process, or if it is dead and only waits to be asked for its end.
fn started(stat: &Path) -> Option<String> {
    let text = fs::read_to_string(stat).ok()?;
    // The name may hold blanks and brackets: what follows the last bracket is numbers, the state before them.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(START_TIME_FIELD - 1).map(str::to_owned))?
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_known_again_and_its_end_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sleep");
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        ProcessId::of(child.id()).unwrap().save(&file).unwrap();
        let process = ProcessId::load(&file).unwrap();
        assert!(process.is_running());
        let another = ProcessId { started: "1".into(), ..process.clone() };
        assert!(!another.is_running(), "the same number, but not the same process");
        another.kill().unwrap();
        assert!(process.is_running(), "another one was killed");
        process.kill().unwrap();
        assert!(!process.is_running());
        let _ = child.wait();
    }
}
