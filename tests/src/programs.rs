//! The programs under test, run to their end.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

pub use crate::requirements::skip;

/// What means "stuck" for a program that is expected to end by itself.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// How a program ended, and what it printed.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None`: a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub output: String,
    /// Standard output and standard error.
    pub text: String,
}

/// A program of this workspace: where `KV_NODE_BINARY` points (for `kv-node`), or beside the tests.
///
/// # Panics
/// If it has not been built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    if name == "kv-node"
        && let Some(path) = std::env::var_os("KV_NODE_BINARY")
    {
        return path.into();
    }
    let path = target().join(name);
    assert!(path.is_file(), "no {name} at {}: run `cargo build --workspace --bins`", path.display());
    path
}

/// The directory of the programs of this build.
///
/// # Panics
/// If the test's own program has no place.
#[must_use]
pub fn target() -> PathBuf {
    let test = std::env::current_exe().expect("a program knows its path");
    test.parent().and_then(Path::parent).expect("tests lie in `deps`").to_owned()
}

/// Runs a program to its end.
///
/// # Panics
/// If it can't be started or does not end.
pub async fn run_to_end(program: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    for variable in ["KVCTL_ZOOKEEPER", "KVCTL_NODE", "RUST_LOG", "KV_LOG"] {
        command.env_remove(variable);
    }
    let output = timeout(ENDS_WITHIN, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{} {arguments:?} does not end", program.display()));
    let Output { status, stdout, stderr } = output.expect("the program starts");
    let [output, errors] = [&stdout[..], &stderr[..]].map(String::from_utf8_lossy);
    let text = format!("{output}{errors}");
    Ended { code: status.code(), output: output.into_owned(), text }
}
