//! The program `kv-local` as people and scripts use it, with real nodes (`kv-node` is looked for where `make build` puts
//! it).

#![allow(clippy::expect_used, reason = "helpers of tests are tests")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// What means "stuck".
const STUCK: Duration = Duration::from_secs(120);

fn kv_local(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kv-local"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str], script: &str) -> Output {
    let mut child = kv_local(arguments).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("it is a pipe");
    input.write_all(script.as_bytes()).expect("it reads");
    drop(input);
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A shell that is spoken to line by line.
struct Conversation {
    child: Child,
    input: ChildStdin,
    output: mpsc::Receiver<String>,
}

impl Conversation {
    fn start(arguments: &[&str]) -> Self {
        let mut child = kv_local(arguments).stderr(Stdio::inherit()).spawn().expect("it starts");
        let input = child.stdin.take().expect("it is a pipe");
        let stdout = child.stdout.take().expect("it is a pipe");
        let (lines, output) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, input, output }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it reads");
    }

    fn hear(&self, part: &str) -> String {
        let deadline = Instant::now() + STUCK;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.output.recv_timeout(left).expect("it answers");
            if line.contains(part) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("ids are small");
        kill_process(Pid::from_raw(id).expect("not 0"), signal).expect("it runs");
    }
}

/// Ids of processes whose command lines name `directory`.
fn processes_of(directory: &Path) -> Vec<String> {
    let directory = directory.to_string_lossy().into_owned();
    let entries = fs::read_dir("/proc").expect("it exists").filter_map(Result::ok);
    let named = entries.filter(|entry| {
        let command_line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        // The shell itself may be told the directory as well.
        text(&command_line).contains(&directory) && !text(&command_line).contains("kv-local\0")
    });
    named.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + STUCK;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not in {STUCK:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_script_prints_values_plainly_and_goes_on_after_an_error() {
    let script = "put 0 foo 'a value'\nget 0 foo\nfrobnicate\ndelete 0 foo\nget 0 foo\n";
    let output = run(&[], script);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 4, "{out}{err}");
    assert!(lines[0].starts_with("written, revision "), "{out}");
    assert_eq!(lines[1..], ["a value", "deleted", "foo does not exist"]);
    assert!(err.contains("line 3: there is no command `frobnicate`"), "{err}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_second_node_brings_the_second_copy() {
    let script = "put 0 foo bar\nnew-client\nget 1 foo\nstatus\nshards\nlist\n";
    let output = run(&[], script);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(out.contains("node 1 is there\nbar\nalive, the master is kv-0 at 127.0.0.1:"), "{out}");
    assert!(out.contains("sub-master") && out.contains("kv-1/bkpdata"), "{out}");
}

#[test]
fn nothing_is_left_after_an_interrupt() {
    let parent = tempfile::tempdir().expect("a directory");
    let mut command = kv_local(&[]);
    command.env("TMPDIR", parent.path());
    let mut child = command.spawn().expect("it starts");
    until("a node runs", || processes_of(parent.path()).len() >= 2);
    let id = i32::try_from(child.id()).expect("ids are small");
    kill_process(Pid::from_raw(id).expect("not 0"), Signal::INT).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(processes_of(parent.path()), Vec::<String>::new());
    assert_eq!(fs::read_dir(parent.path()).expect("it is there").count(), 0);
}

#[test]
fn a_kept_directory_goes_on_after_an_end_and_after_a_kill() {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = parent.path().join("cluster");
    let arguments = ["--nodes", "2", "--dir", directory.to_str().expect("it is UTF-8")];
    let output = run(&arguments, "put 0 foo first\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(processes_of(&directory), Vec::<String>::new());

    let mut shell = Conversation::start(&arguments);
    shell.say("get 1 foo");
    shell.hear("first");
    shell.say("put 1 foo second");
    shell.hear("written");
    let refused = run(&arguments, "");
    assert!(text(&refused.stderr).contains("in use by another kv-local"), "{}", text(&refused.stderr));
    shell.signal(Signal::KILL);
    shell.child.wait().expect("it is killed");

    let output = run(&arguments, "get 0 foo\nlist\n");
    let out = text(&output.stdout);
    assert_eq!(out.lines().next(), Some("second"), "{out}{}", text(&output.stderr));
    assert!(out.contains("kv-1"), "{out}");
}

#[test]
fn a_missing_node_is_named() {
    let output = run(&["--node-binary", "/nonexistent/kv-node"], "");
    assert_eq!(output.status.code(), Some(1));
    let err = text(&output.stderr);
    assert!(err.contains("no kv-node at /nonexistent/kv-node") && err.contains("cargo build"), "{err}");
}
