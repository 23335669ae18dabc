use std::{fs, path::Path};

use crate::report::Machine;

impl Machine {
    /// This one, with the file system that `directory` lies on. What can't be found out is "unknown".
    pub(crate) fn look(directory: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let unknown = || "unknown".to_owned();
        let processor = value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown);
        let memory = value(&read("/proc/meminfo"), "MemTotal");
        let kibibytes = memory.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        let uname = rustix::system::uname();
        let [name, release] = [uname.sysname(), uname.release()].map(|text| text.to_string_lossy().into_owned());
        Self {
            processor,
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kibibytes.unwrap_or(0) * 1024,
            kernel: format!("{name} {release}"),
            file_system: file_system(&read("/proc/mounts"), directory).unwrap_or_else(unknown),
        }
    }
}

/// Such as `MemTotal:   1024 kB`.
fn value(text: &str, name: &str) -> Option<String> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(field, _)| field.trim() == name).map(|(_, value)| value.trim().to_owned()).next()
}

/// The type of the deepest mount that holds the directory.
fn file_system(mounts: &str, directory: &Path) -> Option<String> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let holding = fields.filter(|fields| fields.len() > 2 && directory.starts_with(fields[1]));
    holding.max_by_key(|fields| fields[1].len()).map(|fields| fields[2].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/disk xfs rw 0 0\n";
        let found = |directory: &str| file_system(mounts, Path::new(directory));
        assert_eq!(found("/tmp/disk/run").as_deref(), Some("xfs"));
        assert_eq!(found("/tmp/disks").as_deref(), Some("tmpfs"));
        assert_eq!(found("/home").as_deref(), Some("ext4"));
        assert_eq!(value("a : 1\nMemTotal:  1024 kB\n", "MemTotal").as_deref(), Some("1024 kB"));
    }
}
