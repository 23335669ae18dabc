use std::time::Duration;

/// Why a membership could not be changed. In all cases it is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No server of the ensemble has given a session.
    #[error("no member at {connect} gives a session within {within:?}")]
    NotReached {
        /// Where members were looked for.
        connect: String,
        /// How long.
        within: Duration,
        /// Why not, if a server said so.
        source: Option<zookeeper_client::Error>,
    },
    /// A version that ZooKeeper can't have given.
    #[error("version {version:x} is no version of a configuration: it must be below 2^63")]
    Version {
        /// The version.
        version: u64,
    },
    /// The members refuse it, and will go on to do so.
    #[error(
        "the members refuse the change: the Secret's super-secret must be the one they were started with, and reconfigEnabled \
         be on"
    )]
    Refused(#[source] zookeeper_client::Error),
}
