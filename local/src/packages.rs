//! Programs that the distribution has, and commands that are run to their end.

use std::{
    fs::File,
    process::{Command, Output, Stdio},
};

use crate::{
    error::{Error, Result},
    process::in_path,
};

/// Of a failed command's output, what its error shows.
const OUTPUT_LINES: usize = 20;
/// In the folder for temporary files: `apt-get` fails where another one is at work.
const LOCK: &str = "kv-apt-get.lock";

/// Whether [`install`] can do anything: this is root, on a Debian.
#[must_use]
pub fn can_install() -> bool {
    rustix::process::geteuid().is_root() && in_path("apt-get").is_some()
}

/// Installs packages of a Debian, one program of ours after the other. Blocks.
///
/// # Errors
/// [`Error::Command`] if `apt-get` fails.
pub fn install(packages: &[&str]) -> Result<()> {
    let path = std::env::temp_dir().join(LOCK);
    let lock = File::create(&path).map_err(Error::file("make", &path))?;
    lock.lock().map_err(Error::file("lock", &path))?;
    let apt_get = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        run(command)
    };
    apt_get(&["update", "-q"])?;
    apt_get(&[&["install", "-q", "-y", "--no-install-recommends"], packages].concat())
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let started = |source| Error::Start { program: program.clone(), source };
    let output = command.stdin(Stdio::null()).output().map_err(started)?;
    if output.status.success() {
        return Ok(());
    }
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    let command = std::iter::once(program.as_str().into()).chain(arguments).collect::<Vec<_>>();
    Err(Error::Command { command: command.join(" "), status: output.status, output: last_lines(&output) })
}

fn last_lines(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(OUTPUT_LINES)..].join("\n")
}
