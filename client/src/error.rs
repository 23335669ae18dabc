use bytes::Bytes;

/// Why a request was not carried out, or may not have been.
///
/// Every variant but [`Error::OutcomeUnknown`] is definite: the write was not applied and will not be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The write may or may not have been applied, and could not be repeated safely.
    #[error("outcome unknown: {0}")]
    OutcomeUnknown(String),
    /// The request or an option breaks a limit or makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A queue, a connection limit or the disk is full.
    #[error("{0}")]
    Exhausted(String),
    /// No node that could be reached within the deadline serves the key.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// ZooKeeper says that the cluster has no master.
    #[error("the cluster is dead: ZooKeeper holds no master")]
    ClusterDead,
    /// ZooKeeper could not be asked, or what it holds can't be read.
    #[error("ZooKeeper at {address}: {message}")]
    ZooKeeper {
        /// As given.
        address: String,
        /// What went wrong.
        message: String,
    },
    /// The key has another revision than expected.
    #[error("the key has revision {actual} instead of the expected one (0: it does not exist)")]
    RevisionMismatch {
        /// The key's revision; 0: it does not exist.
        actual: u64,
    },
    /// The keys of a batch are not all in one shard.
    #[error("the keys are of more than one shard: the next begins at {}", .boundary.escape_ascii())]
    CrossShard {
        /// First key of the next shard.
        boundary: Bytes,
    },
    /// The node belongs to another cluster.
    #[error("{0}")]
    WrongCluster(String),
    /// The watch's token is older than the kept log: read the range anew, and watch from `token`.
    #[error("changes were missed: the token is older than the kept log")]
    Compacted {
        /// Where to start anew.
        token: Bytes,
    },
    /// There is no such shard or node.
    #[error("{0}")]
    NoSuch(String),
    /// An administrative request that can't be carried out now.
    #[error("refused: {0}")]
    Refused(String),
    /// A fault of the node, described in its log.
    #[error("fault of the node: {0}")]
    Fault(String),
}

impl Error {
    /// Whether it is certain that nothing was applied.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::OutcomeUnknown(_))
    }
}
