use std::{
    fs::OpenOptions,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::error::{Error, Result};

/// How often a process is asked whether it has ended.
const POLL: Duration = Duration::from_millis(5);
/// Of a log's end, what an error shows.
const TAIL_BYTES: u64 = 2_000;

type Spawned = io::Result<Child>;

/// Starts the processes of one cluster, and sees to it that they don't outlive it.
#[derive(Debug)]
pub struct Launcher {
    /// To a thread that spawns them all and lives as long as this: the kernel's parent-death signal goes out when the
    /// *thread* that spawned a process ends, and threads of a runtime come and go.
    spawner: mpsc::Sender<(Command, mpsc::Sender<Spawned>)>,
    process_ids: PathBuf,
}

impl Launcher {
    /// Records the ids of what it starts in `process_ids`.
    ///
    /// # Errors
    /// [`Error::Start`] if no thread can be made.
    pub fn new(process_ids: PathBuf) -> Result<Self> {
        let (spawner, commands) = mpsc::channel::<(Command, mpsc::Sender<Spawned>)>();
        std::thread::Builder::new()
            .name("kv-local-spawn".to_owned())
            .spawn(move || {
                for (mut command, answer) in commands {
                    // Fails only if the asker is gone; then the child is dropped and ends with this thread.
                    let _ = answer.send(command.spawn());
                }
            })
            .map_err(|source| Error::Start { program: "a thread".to_owned(), source })?;
        Ok(Self { spawner, process_ids })
    }

    /// Starts `program`, with what it prints appended to `log`.
    ///
    /// # Errors
    /// [`Error::Start`] or [`Error::File`].
    pub fn launch(
        &self,
        name: &str,
        program: &Path,
        arguments: &[String],
        environment: &[(String, String)],
        log: &Path,
    ) -> Result<Process> {
        let output = OpenOptions::new().create(true).append(true).open(log).map_err(Error::file("write", log))?;
        let errors = output.try_clone().map_err(Error::file("write", log))?;
        let mut command = if parent_death_signal_available() {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // Ctrl-C at the terminal is for the shell alone: it ends its children in its own order.
            .process_group(0);
        let started = |source| Error::Start { program: program.display().to_string(), source };
        let child = self.spawn(command).map_err(started)?;
        let process = Process { name: name.to_owned(), log: log.to_owned(), child, paused: false };
        self.record(process.id())?;
        Ok(process)
    }

    fn spawn(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::other("the thread that starts processes is gone");
        let (answer, spawned) = mpsc::channel();
        self.spawner.send((command, answer)).map_err(|_| gone())?;
        spawned.recv().map_err(|_| gone())?
    }

    fn record(&self, id: u32) -> Result<()> {
        let path = &self.process_ids;
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| writeln!(file, "{id}"))
            .map_err(Error::file("write", path))
    }
}

/// util-linux's `setpriv` sets the parent-death signal and becomes the program: without it (and after our own SIGKILL)
/// the recorded process ids are what is left to clean up by.
fn parent_death_signal_available() -> bool {
    in_path("setpriv").is_some()
}

/// The program `name` as PATH finds it.
#[must_use]
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// A child process, killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    paused: bool,
}

impl Process {
    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it writes to.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it has been stopped by [`Process::pause`].
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// How it ended, or `None` if it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGKILL; returns when it is gone.
    ///
    /// # Errors
    /// [`Error::Signal`].
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().and_then(|()| self.child.wait()).map_err(|source| self.error(source))?;
        Ok(())
    }

    /// SIGSTOP: it stays, and does nothing.
    ///
    /// # Errors
    /// [`Error::Signal`] if it is gone.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::STOP)?;
        self.paused = true;
        Ok(())
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// [`Error::Signal`] if it is gone.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::CONT)?;
        self.paused = false;
        Ok(())
    }

    /// SIGTERM: asks it to leave in order.
    ///
    /// # Errors
    /// [`Error::Signal`] if it is gone.
    pub fn ask_to_end(&mut self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Waits for its end, and kills it after `within`. Returns how it ended, `None` if it was killed.
    ///
    /// # Errors
    /// [`Error::Signal`].
    pub async fn wait_or_kill(&mut self, within: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Ok(Some(status));
            }
            sleep(POLL).await;
        }
        self.kill()?;
        Ok(None)
    }

    /// The error for a process that ended before it was ready, with the end of its log.
    pub(crate) fn ended_error(&self, status: ExitStatus) -> Error {
        let (process, log) = (self.name.clone(), self.log.clone());
        Error::Ended { process, status, tail: tail(&log).unwrap_or_default(), log }
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.ended().is_some() {
            return Err(Error::NotRunning { process: self.name.clone() });
        }
        // Not reaped yet (`ended` said so), so the id is still this process's.
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| self.error(io::ErrorKind::InvalidInput.into()))?;
        kill_process(id, signal).map_err(|errno| self.error(errno.into()))
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Signal { process: self.name.clone(), source }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none()
            && let Err(error) = self.kill()
        {
            tracing::error!(process = self.name, %error, "a process was left behind");
        }
    }
}

fn tail(log: &Path) -> io::Result<String> {
    let mut file = std::fs::File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(directory: &Path, script: &str) -> (Process, Launcher) {
        let launcher = Launcher::new(directory.join("pids")).expect("a thread");
        let arguments = ["-c".to_owned(), script.to_owned()];
        let log = directory.join("log");
        let process = launcher.launch("a-shell", Path::new("bash"), &arguments, &[], &log);
        (process.expect("bash runs"), launcher)
    }

    fn state(id: u32) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        stat.rsplit_once(')')?.1.trim().chars().next()
    }

    async fn until(mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "waited 20 s");
            sleep(POLL).await;
        }
    }

    #[tokio::test]
    async fn pauses_resumes_and_ends_in_order() {
        let directory = tempfile::tempdir().expect("a directory");
        let script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.01; done";
        let (mut process, _launcher) = launch(directory.path(), script);
        let log = process.log().to_owned();
        until(|| std::fs::read_to_string(&log).is_ok_and(|text| text.contains("up"))).await;
        process.pause().expect("it runs");
        until(|| state(process.id()) == Some('T')).await;
        process.resume().expect("it runs");
        process.ask_to_end().expect("it runs");
        let status = process.wait_or_kill(Duration::from_secs(20)).await.expect("it ends");
        assert_eq!(status.and_then(|status| status.code()), Some(7));
        assert!(matches!(process.pause(), Err(Error::NotRunning { .. })));
        assert!(tail(&log).expect("it is there").ends_with("bye"));
        let recorded = std::fs::read_to_string(directory.path().join("pids")).expect("recorded");
        assert_eq!(recorded.trim(), process.id().to_string());
    }

    #[tokio::test]
    async fn does_not_outlive_the_thread_that_started_it() {
        if !parent_death_signal_available() {
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let script = "echo up; while :; do sleep 0.01; done";
        let (mut process, launcher) = launch(directory.path(), script);
        let log = process.log().to_owned();
        until(|| std::fs::read_to_string(&log).is_ok_and(|text| text.contains("up"))).await;
        drop(launcher);
        until(|| process.ended().is_some()).await;
    }

    #[tokio::test]
    async fn is_killed_when_it_does_not_end_and_when_dropped() {
        let directory = tempfile::tempdir().expect("a directory");
        let script = "trap '' TERM; echo up; while :; do sleep 0.01; done";
        let (mut deaf, _launcher) = launch(directory.path(), script);
        let log = deaf.log().to_owned();
        until(|| std::fs::read_to_string(&log).is_ok_and(|text| text.contains("up"))).await;
        deaf.ask_to_end().expect("it runs");
        let status = deaf.wait_or_kill(Duration::from_millis(200)).await.expect("it is killed");
        assert_eq!(status, None);
        let paused = {
            let (mut paused, _launcher) = launch(directory.path(), "while :; do sleep 1; done");
            paused.pause().expect("it runs");
            paused.id()
        };
        assert_eq!(state(paused), None);
    }
}
