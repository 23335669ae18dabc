use std::{
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program that this needs is not installed.
    #[error("{tool} is not installed: {advice}")]
    Missing {
        /// The program.
        tool: &'static str,
        /// What to do.
        advice: &'static str,
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
    /// A program could not be started.
    #[error("can't start {program}")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// A file could not be used.
    #[error("can't {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What was read is not what it should be.
    #[error("can't understand {what}: {why}")]
    Unreadable {
        /// What was read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A system did not come to be as it should in time.
    #[error("{what} after {}: {detail}", humantime::format_duration(*within))]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// How long.
        within: Duration,
        /// What was seen last.
        detail: String,
    },
    /// Not one request of a load succeeded.
    #[error("no request of {workload} succeeded: {why}")]
    NothingSucceeded {
        /// The load.
        workload: String,
        /// The last error.
        why: String,
    },
    /// A request failed.
    #[error("a request failed: {why}")]
    Request {
        /// As its client says.
        why: String,
    },
    /// A local cluster.
    #[error(transparent)]
    Local(#[from] kv_local::Error),
    /// Sockets or threads of this process.
    #[error("can't measure the machine")]
    Machine(#[from] io::Error),
}

impl Error {
    /// For `map_err`: an I/O error of a file.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    /// For `map_err`: an error of a system's client.
    pub(crate) fn request(error: impl std::fmt::Display) -> Self {
        Self::Request { why: error.to_string() }
    }
}

/// Shorthand of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
