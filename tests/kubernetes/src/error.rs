use std::{
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

/// Why a cluster could not be made, used or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No cluster can be made on this machine.
    #[error("no Kubernetes can be made here: {why}; or set KUBECONFIG to one that is there")]
    Unavailable {
        /// What it lacks.
        why: String,
    },
    /// Another source tree has its cluster on this machine.
    #[error("this machine has the cluster of {}: run `make kube-down` there first", tree.display())]
    HeldElsewhere {
        /// That tree.
        tree: PathBuf,
    },
    /// There is no cluster.
    #[error("no cluster is running: run `make kube-up`")]
    NotRunning,
    /// What was asked for needs a cluster that this crate has made.
    #[error("{what} needs a cluster of this machine, and KUBECONFIG names another one")]
    Foreign {
        /// What was asked for.
        what: &'static str,
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
    /// A process ended that should run.
    #[error("{process} has ended; the end of {} says:\n{tail}", log.display())]
    Ended {
        /// Its name.
        process: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// Something was waited for, and did not come.
    #[error("{what}: not within {}: {detail}", humantime::format_duration(*within))]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        within: Duration,
        /// What was there instead.
        detail: String,
    },
    /// There is no such thing in the cluster.
    #[error("there is no {kind} {name}")]
    Missing {
        /// What it would be.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A program of the workspace has not been built.
    #[error("no {name} at {}: run `cargo build --package {package} --bin {name}`", path.display())]
    NotBuilt {
        /// The program.
        name: &'static str,
        /// Its package.
        package: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Programs of the distribution could not be installed.
    #[error("the packages that it needs can't be installed")]
    Packages(#[source] kv_local::Error),
    /// ZooKeeper's jars could not be had.
    #[error("no ZooKeeper for its image")]
    ZooKeeper(#[source] kv_local::Error),
    /// The kubeconfig could not be used.
    #[error("can't use the kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: kube::config::KubeconfigError,
    },
    /// No client could be made.
    #[error("can't make a client of the API server")]
    Client(#[source] kube::Error),
    /// What a program printed was not understood.
    #[error("can't read what {from} says")]
    Unreadable {
        /// Who said it.
        from: String,
        /// Why not.
        source: serde_json::Error,
    },
}

impl Error {
    /// For `map_err`: an I/O error of a file.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

/// Shorthand of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
