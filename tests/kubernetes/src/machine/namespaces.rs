use std::{
    fs::{self, OpenOptions},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    error::{Error, Result},
    layout::{Layout, make_folder},
    machine::DISK,
    process::ProcessId,
    wait::until,
};

/// What a machine's first process does: it mounts, says that it has, and takes in what loses its parent. `/run` is of the
/// machine alone, and the disk is found below it, so that no path is longer on one host than on another.
const FIRST_PROCESS: &str = r#"
set -e
hostname "$1"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir "$3" /run/lock
mount --bind "$2" "$3"
echo "$4" > /proc/sys/net/ipv4/ip_forward
: > "$3/booted"
while :; do sleep 1000000 & wait; done
"#;
const BOOTS_WITHIN: Duration = Duration::from_secs(10);

/// Network, processes, mounts and name of one machine. They are held by its first process: when that is killed, the kernel
/// ends every process in them, and mounts and network go with the last one. Nothing is left but the disk.
#[derive(Clone, Debug)]
pub(crate) struct Namespaces {
    layout: Layout,
    name: String,
}

impl Namespaces {
    pub(crate) fn of(layout: &Layout, name: &str) -> Self {
        Self { layout: layout.clone(), name: name.to_owned() }
    }

    pub(crate) fn start(&self) -> Result<()> {
        let disk = self.layout.machine(&self.name);
        let booted = disk.join("booted");
        make_folder(&disk)?;
        let _ = fs::remove_file(&booted);
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc", "sh", "-c"])
            .args([FIRST_PROCESS, "sh", &self.name])
            .arg(&disk)
            // The control plane is the end of the line: it forwards nothing.
            .args([DISK, if self.name == crate::machine::CONTROL_PLANE { "0" } else { "1" }]);
        let log = self.log("boot")?;
        let outer = spawn(unshare, &log)?;
        let process = until(&format!("the start of {}", self.name), BOOTS_WITHIN, || {
            if !outer.is_running() {
                let tail = crate::command::tail(&log);
                return Err(Err(Error::Ended { process: self.name.clone(), log: log.clone(), tail }));
            }
            match outer.children().pop() {
                Some(first) if booted.is_file() => Ok(first),
                _ => Err(Ok("it is not up".into())),
            }
        })?;
        process.save(&self.first_process())
    }

    /// Ends everything in them.
    pub(crate) fn kill(&self) -> Result<()> {
        match ProcessId::load(&self.first_process()) {
            Some(process) => process.kill(),
            None => Ok(()),
        }
    }

    pub(crate) fn are_there(&self) -> bool {
        ProcessId::load(&self.first_process()).is_some_and(|process| process.is_running())
    }

    /// The number of the first process on this host; 0 without one, which no program accepts.
    pub(crate) fn id(&self) -> i32 {
        ProcessId::load(&self.first_process()).map_or(0, |process| process.number())
    }

    /// `program`, to be run in all of them.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.id().to_string(), "--mount", "--net", "--pid", "--uts", "--ipc", "--"])
            .arg(program);
        command
    }

    /// `program` of this host with this host's files, to be run in their network.
    pub(crate) fn in_network(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.id().to_string(), "--net", "--", program]);
        command
    }

    /// Starts a program that goes on when this one ends.
    pub(crate) fn spawn(&self, name: &str, command: Command) -> Result<ProcessId> {
        spawn(command, &self.log(name)?)
    }

    /// The log of a program.
    pub(crate) fn log(&self, name: &str) -> Result<PathBuf> {
        let folder = self.layout.logs().join(&self.name);
        make_folder(&folder)?;
        Ok(folder.join(format!("{name}.log")))
    }

    fn first_process(&self) -> PathBuf {
        self.layout.machine(&self.name).join("first-process")
    }
}

fn spawn(mut command: Command, log: &std::path::Path) -> Result<ProcessId> {
    let output = OpenOptions::new().create(true).append(true).open(log).map_err(Error::file("write", log))?;
    let errors = output.try_clone().map_err(Error::file("write", log))?;
    let program = command.get_program().to_string_lossy().into_owned();
    // Ctrl-C at the terminal is not for it.
    let command = command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
    let child = command.spawn().map_err(|source| Error::Start { program, source })?;
    ProcessId::of(child.id())
}
