//! Starts the process under test with the recorder between it and its files.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::{
    check::Said,
    plan::Plan,
    replay::{Image, Item, lay_out},
    workload,
};

const SEED: &str = "KV_FAULTS_SEED";
const STEPS: &str = "KV_FAULTS_STEPS";
const ROOT: &str = "KV_RECORD_ROOT";
const MARKS: &str = "KV_RECORD_MARKS";
const ALWAYS: &str = "KV_FAIL_ALWAYS";

/// Which call fails, counted from 1, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) errno: rustix::io::Errno,
    /// All calls after it fail too.
    pub(crate) always: bool,
}

/// What a process did and how it ended.
pub(crate) struct Ran {
    pub(crate) items: Vec<Item>,
    pub(crate) said: Said,
    /// `None`: by a signal.
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
}

impl Ran {
    /// The calls that could have failed, by name.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter(|item| item.kind == b'c').map(|item| item.text.as_str())
    }
}

/// A folder in memory if there is one: nothing here needs a real disk.
pub(crate) fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// The recorder, compiled. `None` if that can't be done here, which is said.
pub(crate) fn recorder() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return None;
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/recorder.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("recorder.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
        let built = compiler.args(["-ldl", "-lpthread"]).status().ok()?;
        assert!(built.success(), "the recorder does not compile");
        Some(library)
    });
    if built.is_none() {
        eprintln!("SKIPPED: faults of storage: needs Linux on x86-64 and a C compiler (cc)");
        assert!(std::env::var_os("CI").is_none(), "nothing is skipped in CI");
    }
    built.as_deref()
}

/// Runs the plan of `seed` in `root`, which holds `start`.
pub(crate) fn run(root: &Path, seed: u64, steps: usize, fault: Option<Fault>, start: &Image) -> Ran {
    let work = folder();
    let (record, marks) = (work.path().join("record"), work.path().join("marks"));
    lay_out(start, root).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["the_process_under_test", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("LD_PRELOAD", recorder().unwrap()).env("KV_RECORD_FILE", &record).env(ROOT, root).env(MARKS, &marks);
    command.env(SEED, seed.to_string()).env(STEPS, steps.to_string()).env("RUST_BACKTRACE", "1");
    if let Some(Fault { at, errno, always }) = fault {
        command.env("KV_FAIL_AT", at.to_string()).env("KV_FAIL_ERRNO", errno.raw_os_error().to_string());
        if always {
            command.env(ALWAYS, "1");
        }
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let items = Item::read_all(&std::fs::read(&record).unwrap_or_default());
    let mut said = Said::default();
    items.iter().filter(|item| item.kind == b'M').for_each(|item| said.hear(item));
    let text = [output.stdout, output.stderr].concat();
    Ran { items, said, code: output.status.code(), output: String::from_utf8_lossy(&text).into_owned() }
}

/// The side of the process.
pub(crate) fn main() {
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let path = |name| PathBuf::from(std::env::var_os(name).unwrap());
    let plan = Plan::new(number(SEED), number(STEPS) as usize);
    let room_returns = std::env::var_os(ALWAYS).is_none();
    workload::run(&path(ROOT), &path(MARKS), &plan, room_returns);
}
