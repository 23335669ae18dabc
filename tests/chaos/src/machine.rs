//! What only some machines can do: mounts, lost packets, clocks. Each has a way to be undone that outlives this program.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use kv_local::{Folder, in_path};

use crate::Result;

/// Bytes of a small volume: a few segments of a log, and a table.
const SMALL_VOLUME: &str = "64m";
/// Where Debian puts libfaketime.
const CLOCK_LIBRARIES: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"];

/// What this machine can do, and what has been done to it.
#[derive(Debug)]
pub struct Machine {
    is_root: bool,
    /// Library that gives a process a wall clock of its own.
    clock_library: Option<PathBuf>,
    /// Where the files that set wall clocks are.
    clocks: PathBuf,
    chain: Option<String>,
    /// Undoes what was done when its input ends, which it does however this program ends.
    janitor: Option<Child>,
}

impl Machine {
    /// Looks at this machine. Files for clocks are to be in `directory`.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        let clock_library = CLOCK_LIBRARIES.iter().map(PathBuf::from).find(|path| path.is_file());
        Self { is_root, clock_library, clocks: directory.join("clocks"), chain: None, janitor: None }
    }

    /// Why packets can't be dropped here, if they can't.
    #[must_use]
    pub fn lacks_losses(&self) -> Option<&'static str> {
        let able = self.is_root && in_path("iptables").is_some() && self.chain.is_some();
        (!able).then_some("needs root and iptables with its match `statistic`")
    }

    /// Why a node can't have another clock since boot here, if it can't.
    #[must_use]
    pub fn lacks_boot(&self) -> Option<&'static str> {
        let able = self.is_root && in_path("unshare").is_some() && Path::new("/proc/self/timens_offsets").exists();
        (!able).then_some("needs root and time namespaces")
    }

    /// Environment of nodes whose wall clocks can be set, if they can: `{name}` stands for the node's name.
    #[must_use]
    pub fn clock_environment(&self) -> Vec<(String, String)> {
        let Some(library) = &self.clock_library else { return Vec::new() };
        let variables = [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.clocks.join("{name}").display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            // Timers are not wall clocks, and what waits by them must not be disturbed.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// Sets a node's wall clock so many seconds before or after the right time.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn set_clock(&self, node: &str, seconds: i64) -> Result<()> {
        fs::create_dir_all(&self.clocks)?;
        let path = self.clocks.join(node);
        let new = path.with_extension("new");
        // Renamed, so that the library never reads half of it.
        fs::write(&new, format!("{seconds:+}\n"))?;
        Ok(fs::rename(new, path)?)
    }

    /// Prepares a round in `directory`: a small file system for one volume, and a chain of its own in the packet filter. What
    /// can't be had is left out. The janitor is started before anything is done.
    ///
    /// # Errors
    /// If the janitor can't be started.
    pub fn prepare(&mut self, directory: &Path, small: (usize, Folder)) -> Result<Option<PathBuf>> {
        let volume = directory.join(format!("kv-{}", small.0)).join(small.1.name());
        fs::create_dir_all(&volume)?;
        let chain = format!("kv-chaos-{}", std::process::id());
        // Of each process that was killed, libfaketime leaves two files behind.
        let clocks = format!(
            "while read id; do rm -f /dev/shm/faketime_shm_$id /dev/shm/sem.faketime_sem_$id; done < '{}'\n",
            directory.join("pids").display()
        );
        let as_root = format!(
            "while iptables -w -D INPUT -j {chain}; do :; done\n\
             iptables -w -F {chain} && iptables -w -X {chain}\n\
             for try in $(seq 100); do mountpoint -q '{0}' || break; umount '{0}' && break; sleep 0.1; done\n\
             if mountpoint -q '{0}'; then umount -l '{0}'; fi\n",
            volume.display()
        );
        let script = format!("cat > /dev/null\n{clocks}{}", if self.is_root { &as_root } else { "" });
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C at the terminal is not for it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        self.janitor = Some(command.spawn()?);
        if !self.is_root {
            return Ok(None);
        }
        let options = format!("size={SMALL_VOLUME},mode=755");
        let target = volume.display().to_string();
        let mounted = run("mount", &["-t", "tmpfs", "-o", &options, "kv-chaos", &target]).is_ok();
        if filter(&["-N", &chain]).and_then(|()| filter(&["-I", "INPUT", "-j", &chain])).is_ok() {
            self.chain = Some(chain);
        }
        Ok(mounted.then_some(volume))
    }

    /// Drops this share of the packets to and from these ports.
    ///
    /// # Errors
    /// If iptables refuses.
    pub fn lose(&self, ports: &[u16], share: f64) -> Result<()> {
        let Some(chain) = &self.chain else { return Ok(()) };
        for port in ports {
            for direction in ["--dport", "--sport"] {
                let (port, share) = (port.to_string(), format!("{share:.3}"));
                filter(&[
                    "-A",
                    chain,
                    "-i",
                    "lo",
                    "-p",
                    "tcp",
                    direction,
                    &port,
                    "-m",
                    "statistic",
                    "--mode",
                    "random",
                    "--probability",
                    &share,
                    "-j",
                    "DROP",
                ])?;
            }
        }
        Ok(())
    }

    /// Nothing is dropped any more.
    ///
    /// # Errors
    /// If iptables refuses.
    pub fn lose_nothing(&self) -> Result<()> {
        self.chain.as_ref().map_or(Ok(()), |chain| filter(&["-F", chain]))
    }

    /// Undoes what was prepared, and waits until it is. The processes that use it have ended.
    pub fn clean(&mut self) {
        self.chain = None;
        if let Some(mut janitor) = self.janitor.take() {
            drop(janitor.stdin.take());
            if let Err(error) = janitor.wait() {
                eprintln!("kv-chaos: the janitor: {error}");
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.clean();
    }
}

/// Fills a file system: returns the file that does it.
///
/// # Errors
/// Any but that there is no room left.
pub fn fill(volume: &Path) -> Result<PathBuf> {
    let path = volume.join("ballast");
    let mut file = fs::File::create(&path)?;
    let mut piece = vec![0; 1 << 20];
    while !piece.is_empty() {
        match file.write_all(&piece) {
            Ok(()) => {}
            // Down to the last page.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => piece.truncate(piece.len() / 2),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(path)
}

fn filter(arguments: &[&str]) -> Result<()> {
    run("iptables", &[&["-w"], arguments].concat())
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()).into())
}
