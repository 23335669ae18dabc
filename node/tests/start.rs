//! The process before it has found a cluster.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What means "stuck".
const STUCK: Duration = Duration::from_secs(20);

/// A node that looks for ZooKeeper where nobody listens. Goes with this value.
struct Waiting {
    process: Child,
    http: String,
    zookeeper: String,
    _directory: TempDir,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    listener.local_addr().expect("bound").to_string()
}

impl Waiting {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (grpc, http, nobody) = (free_address(), free_address(), free_address());
        let zookeeper = format!("{nobody}/kvclusters/none");
        let process = Command::new(env!("CARGO_BIN_EXE_kv-node"))
            .args(["run", "--name", "kv-0", "--zookeeper", &zookeeper, "--listen", &grpc, "--http", &http])
            .arg("--data")
            .arg(directory.path().join("data"))
            .arg("--bkpdata")
            .arg(directory.path().join("bkpdata"))
            .stderr(Stdio::null())
            .spawn()
            .expect("the program runs");
        Self { process, http, zookeeper, _directory: directory }
    }

    /// The status line and the body.
    fn get(&self, path: &str) -> (String, String) {
        let deadline = Instant::now() + STUCK;
        let mut stream = loop {
            match TcpStream::connect(&self.http) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "nobody listens at {}: {error}", self.http),
            }
            sleep(Duration::from_millis(10));
        };
        stream.set_read_timeout(Some(STUCK)).expect("a timeout");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of http");
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }

    fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + STUCK;
        loop {
            if let Some(status) = self.process.try_wait().expect("it is a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_node_that_waits_for_zookeeper_is_alive_and_says_what_it_waits_for() {
    let mut node = Waiting::start();
    assert_eq!(node.get("/livez"), ("HTTP/1.1 200 OK".to_owned(), "alive\n".to_owned()));
    for path in ["/readyz", "/metrics"] {
        let (status, reason) = node.get(path);
        assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
        assert!(reason.contains(&format!("waiting for ZooKeeper at {}", node.zookeeper)), "{reason}");
    }
    let id = Pid::from_child(&node.process);
    kill_process(id, Signal::TERM).expect("it runs");
    assert!(node.ended().success(), "SIGTERM is an orderly end, also while it waits");
}
