use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

/// Why a local cluster could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Java or Maven is not installed and could not be installed.
    #[error("{tool} is not installed: run `apt-get install -y default-jre-headless maven`")]
    MissingTool {
        /// The program that was looked for.
        tool: &'static str,
    },
    /// A program that was run to its end failed.
    #[error("`{command}` failed with {status}: {output}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it printed.
        output: String,
    },
    /// A file or directory could not be used.
    #[error("can't {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("can't start {program}")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// A signal could not be sent.
    #[error("can't signal {process}")]
    Signal {
        /// The process's name.
        process: String,
        /// Why not.
        source: io::Error,
    },
    /// `kv-node` was not found.
    #[error("no kv-node at {}: run `cargo build --bins`, or name it by --node-binary or KV_NODE_BINARY", path.display())]
    NoNodeBinary {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A process ended before it was ready.
    #[error("{process} ended with {status} before it was ready; the end of {} says:\n{tail}", log.display())]
    Ended {
        /// The process's name.
        process: String,
        /// How it ended.
        status: ExitStatus,
        /// Its log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// A process was not ready in time.
    #[error("{process} is not ready after {}: {detail}; see {}", humantime::format_duration(*within), log.display())]
    NotReady {
        /// The process's name.
        process: String,
        /// How long it was waited for.
        within: Duration,
        /// What it said last.
        detail: String,
        /// Its log file.
        log: PathBuf,
    },
    /// There is no node of that number.
    #[error("there is no node {index}: the nodes are 0 to {last}")]
    NoSuchNode {
        /// The number asked for.
        index: usize,
        /// The highest one.
        last: usize,
    },
    /// There is no ZooKeeper server of that number.
    #[error("there is no ZooKeeper server {index}: the servers are 0 to {last}")]
    NoSuchServer {
        /// The number asked for.
        index: usize,
        /// The highest one.
        last: usize,
    },
    /// The action needs a process that is not running.
    #[error("{process} is running: `kill` it first")]
    Running {
        /// The process's name.
        process: String,
    },
    /// The action needs a running process.
    #[error("{process} is not running: `start` it first")]
    NotRunning {
        /// The process's name.
        process: String,
    },
    /// Another `kv-local` uses the directory.
    #[error("{} is in use by another kv-local", path.display())]
    DirectoryInUse {
        /// The directory.
        path: PathBuf,
    },
    /// All port ranges are taken.
    #[error("no free range of ports between {from} and {to}: stop what uses them")]
    NoPorts {
        /// The first port tried.
        from: u16,
        /// The end of the ports tried.
        to: u16,
    },
    /// The cluster's port range holds no free port.
    #[error("the ports {from} to {to} of this cluster are used up: start fewer nodes (some {nodes} fit)")]
    PortsUsedUp {
        /// The first port of the range.
        from: u16,
        /// The last port of the range.
        to: u16,
        /// Nodes for which a range is made.
        nodes: u16,
    },
    /// A proxy could not listen.
    #[error("the proxy can't listen on {address}")]
    Listen {
        /// Its address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// An option is out of its bounds.
    #[error("{option} is {value}: it must be {bound}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What it must be.
        bound: &'static str,
    },
}

impl Error {
    /// For `map_err`: an I/O error of a file.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

/// An error with all its causes in one line, for a person.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Shorthand of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_said_once() {
        let source = io::Error::other("the disk is full");
        let error = Error::Start { program: "java".into(), source };
        assert_eq!(chain(&error), "can't start java: the disk is full");
    }
}
