//! Each machine's pods are in a control group of the machine's name, in every hierarchy.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    error::{Error, Result},
    wait::until,
};

const ROOT: &str = "/sys/fs/cgroup";
/// Of the second version, what pods need.
const CONTROLLERS: &str = "+cpu +cpuset +io +memory +pids";
/// Settings without which nothing can run in a group of `cpuset`, and which are not inherited.
const CPUSET_FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];
/// A killed process leaves its group a little later.
const EMPTY_WITHIN: Duration = Duration::from_secs(10);

/// The machine's control group.
pub(super) fn control_group(machine: &str) -> String {
    format!("kv-{machine}")
}

pub(super) fn make(machine: &str) -> Result<()> {
    let group = control_group(machine);
    if Path::new(ROOT).join("cgroup.controllers").is_file() {
        allow_controllers(Path::new(ROOT))?;
        let folder = Path::new(ROOT).join(group);
        fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
        return allow_controllers(&folder);
    }
    for hierarchy in hierarchies() {
        let folder = hierarchy.join(&group);
        fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
        for file in CPUSET_FILES.iter().filter(|file| hierarchy.join(file).is_file()) {
            let (from, to) = (hierarchy.join(file), folder.join(file));
            let setting = fs::read(&from).map_err(Error::file("read", &from))?;
            fs::write(&to, setting).map_err(Error::file("write", &to))?;
        }
    }
    Ok(())
}

/// Removes them: their processes are gone or going.
pub(super) fn remove(machine: &str) -> Result<()> {
    let group = control_group(machine);
    for hierarchy in hierarchies() {
        let folder = hierarchy.join(&group);
        until(&format!("the removal of {}", folder.display()), EMPTY_WITHIN, || {
            remove_tree(&folder).map_err(|error| Ok(error.to_string()))
        })?;
    }
    Ok(())
}

/// The processes of a container (the runtime names its group so), as this host counts them.
pub(super) fn processes(machine: &str, container: &str) -> Result<Vec<u32>> {
    let group = control_group(machine);
    for hierarchy in hierarchies() {
        let Some(folder) = find(&hierarchy.join(&group), container) else { continue };
        let list = folder.join("cgroup.procs");
        let text = fs::read_to_string(&list).map_err(Error::file("read", &list))?;
        let processes: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        if !processes.is_empty() {
            return Ok(processes);
        }
    }
    Err(Error::Missing { kind: "running container", name: container.to_owned() })
}

/// All mounted hierarchies: one with the second version, many with the first.
fn hierarchies() -> Vec<PathBuf> {
    if Path::new(ROOT).join("cgroup.controllers").is_file() {
        return vec![ROOT.into()];
    }
    let Ok(entries) = fs::read_dir(ROOT) else { return Vec::new() };
    // Links are second names.
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

fn allow_controllers(folder: &Path) -> Result<()> {
    let file = folder.join("cgroup.subtree_control");
    fs::write(&file, CONTROLLERS).map_err(Error::file("write", &file))
}

/// A group goes only without its subgroups. What a folder holds besides them can't be removed and needn't be.
fn remove_tree(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&entry.path())?;
    }
    fs::remove_dir(folder)
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let mut folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.find_map(|entry| if entry.file_name() == name { Some(entry.path()) } else { find(&entry.path(), name) })
}
