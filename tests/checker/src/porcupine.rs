//! A second opinion: the same histories judged by Porcupine, a checker of others, with a model that is written anew.
//!
//! The program is `tests/checker/porcupine`, built by Go once into the cache (`KV_LOCAL_CACHE`, or `.cache` in the source tree).

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use crate::{Action, Expected, Operation, Outcome};

const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/porcupine");
const SOURCES: &str = concat!(
    include_str!("../porcupine/go.mod"),
    include_str!("../porcupine/go.sum"),
    include_str!("../porcupine/main.go")
);

/// Porcupine's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Every key has an order that explains all answers.
    Linearizable,
    /// A key has none.
    Violation,
    /// The search took too long.
    Undecided,
}

/// The program, ready to be run.
#[derive(Clone, Debug)]
pub struct Porcupine {
    program: PathBuf,
}

impl Porcupine {
    /// Builds the program if the cache does not have it. Where there is no Go the caller's test is skipped, and says so.
    ///
    /// # Panics
    /// If there is no Go and `CI` is set, and if the program can't be built although Go is there: this is for tests.
    #[must_use]
    #[allow(clippy::panic, reason = "this is for tests")]
    pub fn or_skip() -> Option<Self> {
        match build() {
            Ok(Some(program)) => Some(Self { program }),
            Ok(None) => {
                let why = "go is not installed: histories get no second opinion";
                assert!(env::var_os("CI").is_none_or(|value| value.is_empty()), "not skipped, since CI is set: {why}");
                // Past the test harness, which shows nothing of tests that pass.
                let _ = writeln!(io::stderr(), "\n======== SKIPPED: {why} ========\n");
                None
            }
            Err(error) => panic!("porcupine is not built: {error}"),
        }
    }

    /// One judgement for each history.
    ///
    /// # Errors
    /// If the program does not run, or does not answer as it should.
    pub fn judge(&self, histories: &[Vec<Operation>]) -> io::Result<Vec<Judgement>> {
        let mut child = Command::new(&self.program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let lines: String = histories.iter().map(|history| line(history)).collect();
        // Written beside the reading: neither side waits for the other to be done.
        let writes = child.stdin.take().map(|mut stdin| thread::spawn(move || stdin.write_all(lines.as_bytes())));
        let output = child.wait_with_output()?;
        if let Some(writes) = writes {
            writes.join().map_err(|_| io::Error::other("the histories were not written"))??;
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let verdicts: Option<Vec<_>> = text.lines().map(judgement).collect();
        match verdicts {
            Some(verdicts) if output.status.success() && verdicts.len() == histories.len() => Ok(verdicts),
            _ => Err(io::Error::other(format!("porcupine ended with {} and said {text:?}", output.status))),
        }
    }
}

fn build() -> io::Result<Option<PathBuf>> {
    let source_tree = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache");
    let cache = env::var_os("KV_LOCAL_CACHE").map_or_else(source_tree, PathBuf::from).join("porcupine");
    fs::create_dir_all(&cache)?;
    // One at a time, also with another run of the tests.
    let lock = File::create(cache.join("lock"))?;
    lock.lock()?;
    let mut hasher = DefaultHasher::new();
    SOURCES.hash(&mut hasher);
    let program = cache.join(format!("porcupine-{:016x}", hasher.finish()));
    if program.is_file() {
        return Ok(Some(program));
    }
    let partial = cache.join("partial");
    let mut go = Command::new("go");
    go.args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-o"])
        .arg(&partial)
        .arg(".")
        .current_dir(MODULE);
    // No other Go is fetched: the one that is there builds it, or says why not.
    go.envs([("GOTOOLCHAIN", "local"), ("CGO_ENABLED", "0"), ("GOWORK", "off"), ("GOFLAGS", "")]);
    let output = match go.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        output => output?,
    };
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    fs::rename(&partial, &program)?;
    Ok(Some(program))
}

fn judgement(line: &str) -> Option<Judgement> {
    match line {
        "linearizable" => Some(Judgement::Linearizable),
        "violation" => Some(Judgement::Violation),
        "undecided" => Some(Judgement::Undecided),
        _ => None,
    }
}

/// A history as JSON. Keys and values are written in hexadecimal: they are bytes.
fn line(history: &[Operation]) -> String {
    let operations: Vec<String> = history.iter().map(json).collect();
    format!("[{}]\n", operations.join(","))
}

fn json(operation: &Operation) -> String {
    let Operation { client, key, action, expected, call, ret, outcome } = operation;
    let mut text = format!("{{\"client\":{client},\"key\":\"{}\",\"call\":{call}", hex(key));
    // Writing to a string never fails.
    let mut field = |name: &str, value: String| {
        let _ = write!(text, ",\"{name}\":{value}");
    };
    let quoted = |bytes: &[u8]| format!("\"{}\"", hex(bytes));
    if let Some(ret) = ret {
        field("return", ret.to_string());
    }
    match action {
        Action::Get => field("action", "\"get\"".to_owned()),
        Action::Put(value) => {
            field("action", "\"put\"".to_owned());
            field("value", quoted(value));
        }
        Action::Delete => field("action", "\"delete\"".to_owned()),
    }
    match expected {
        None => {}
        Some(Expected::Revision(revision)) => field("if_revision", revision.to_string()),
        Some(Expected::Value(None)) => field("if_absent", "true".to_owned()),
        Some(Expected::Value(Some(value))) => field("if_value", quoted(value)),
    }
    let (name, revision) = match outcome {
        Outcome::Unknown => ("unknown", None),
        Outcome::Failed => ("failed", None),
        Outcome::Found(None) => ("absent", None),
        Outcome::Found(Some(found)) => {
            field("read", quoted(&found.value));
            ("found", found.revision)
        }
        Outcome::Done { revision, existed } => {
            if let Some(existed) = existed {
                field("existed", existed.to_string());
            }
            ("done", *revision)
        }
        Outcome::Mismatch { actual } => ("mismatch", *actual),
    };
    field("outcome", format!("\"{name}\""));
    if let Some(revision) = revision {
        field("revision", revision.to_string());
    }
    text.push('}');
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
