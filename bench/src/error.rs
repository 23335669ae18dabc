use std::{io, path::PathBuf, time::Duration};

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
    /// A file, a program or a process of this machine.
    #[error(transparent)]
    Local(#[from] kv_local::Error),
    /// The disk is nearly full.
    #[error("{free_bytes} bytes are free at {}, and {needed_bytes} must stay free: give a larger disk by --dir, or measure less", path.display())]
    NoSpace {
        /// Where the data is kept.
        path: PathBuf,
        /// What is free there.
        free_bytes: u64,
        /// What must stay free.
        needed_bytes: u64,
    },
    /// Sockets or threads of this process.
    #[error("can't measure the machine")]
    Machine(#[from] io::Error),
}

impl Error {
    /// For `map_err`: an error of a system's client.
    pub(crate) fn request(error: impl std::fmt::Display) -> Self {
        Self::Request { why: error.to_string() }
    }
}

/// Shorthand of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
