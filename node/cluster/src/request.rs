use zookeeper_client::{Acls, CreateMode, Error as ZkError, MultiReadResult, MultiWriteError, MultiWriteResult, Stat};

use crate::{Error, Result, session::Session};

/// Znodes that one read asks for: with some hundred bytes each, far below ZooKeeper's bound of 1 MiB.
const READ_CHUNK: usize = 256;

/// One part of an atomic write.
pub(crate) enum Write {
    /// The znode exists and, if given, has this version.
    Check { path: String, version: Option<i32> },
    /// The znode does not exist; the mode may add a sequence number to its path.
    Create { path: String, data: Vec<u8>, mode: CreateMode },
    /// The znode has this version.
    Set { path: String, data: Vec<u8>, version: i32 },
    /// The znode has this version; `None`: any.
    Delete { path: String, version: Option<i32> },
}

/// Why an atomic write failed as a whole.
pub(crate) enum WriteFailure {
    /// Nothing was changed because this part (counted from 0) did not apply.
    Part(usize, ZkError),
    /// Anything else.
    Whole(Error),
}

/// A znode as read.
pub(crate) struct Node {
    pub(crate) data: Vec<u8>,
    pub(crate) stat: Stat,
}

impl Write {
    pub(crate) fn create(path: String, data: Vec<u8>) -> Self {
        Self::Create { path, data, mode: CreateMode::Persistent }
    }

    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Check { path, .. }
            | Self::Create { path, .. }
            | Self::Set { path, .. }
            | Self::Delete { path, .. } => path,
        }
    }
}

impl WriteFailure {
    /// The same without the part's number.
    pub(crate) fn into_error(self, path: &str) -> Error {
        match self {
            Self::Part(_, source) => Error::Refused { path: path.to_owned(), source },
            Self::Whole(error) => error,
        }
    }
}

impl Session {
    /// Applies all of `writes` or none.
    pub(crate) async fn commit(&self, writes: Vec<Write>) -> Result<Vec<MultiWriteResult>, WriteFailure> {
        let path = writes.first().map(|write| write.path().to_owned()).unwrap_or_default();
        let outcome = self
            .call(&path, |client| async move {
                let mut multi = client.new_multi_writer();
                for write in &writes {
                    match write {
                        Write::Check { path, version } => multi.add_check_version(path, version.unwrap_or(-1)),
                        Write::Create { path, data, mode } => {
                            multi.add_create(path, data, &mode.with_acls(Acls::anyone_all()))
                        }
                        Write::Set { path, data, version } => multi.add_set_data(path, data, Some(*version)),
                        Write::Delete { path, version } => multi.add_delete(path, *version),
                    }?;
                }
                match multi.commit().await {
                    Ok(results) => Ok(Ok(results)),
                    Err(MultiWriteError::OperationFailed { index, source }) => Ok(Err((index, source))),
                    Err(MultiWriteError::RequestFailed { source }) => Err(source),
                }
            })
            .await;
        match outcome {
            Ok(Ok(results)) => Ok(results),
            Ok(Err((index, source))) => Err(WriteFailure::Part(index, source)),
            Err(error) => Err(WriteFailure::Whole(error)),
        }
    }

    /// Waits until this server has everything that was written before.
    pub(crate) async fn sync(&self) -> Result<()> {
        let root = self.layout().root().to_owned();
        self.call(self.layout().root(), |client| async move { client.sync(&root).await }).await
    }

    /// The znode, or `None` if there is none. May be stale unless [`Self::sync`] came first.
    pub(crate) async fn read(&self, path: &str) -> Result<Option<Node>> {
        let owned = path.to_owned();
        found(self.call(path, |client| async move { client.get_data(&owned).await }).await)
    }

    /// [`Self::sync`] and [`Self::read`] in one go: ZooKeeper carries out a session's requests in their order, so the second need not wait
    /// for the first one's answer.
    pub(crate) async fn read_synced(&self, path: &str) -> Result<Option<Node>> {
        let owned = path.to_owned();
        let asked = self.call(path, |client| async move {
            let (synced, read) = (client.sync(&owned), client.get_data(&owned));
            synced.await?;
            read.await
        });
        found(asked.await)
    }

    /// Like [`Self::read`] for many, in the same order.
    pub(crate) async fn read_all(&self, paths: &[String]) -> Result<Vec<Option<Node>>> {
        let mut nodes = Vec::with_capacity(paths.len());
        for chunk in paths.chunks(READ_CHUNK) {
            let asked = chunk.to_vec();
            let results = self
                .call(self.layout().root(), |client| async move {
                    let mut multi = client.new_multi_reader();
                    for path in &asked {
                        multi.add_get_data(path)?;
                    }
                    multi.commit().await
                })
                .await?;
            if results.len() != chunk.len() {
                return Err(Error::Unknown(None));
            }
            for (result, path) in results.into_iter().zip(chunk) {
                nodes.push(match result {
                    MultiReadResult::Data { data, stat } => Some(Node { data, stat }),
                    MultiReadResult::Error { err: ZkError::NoNode } => None,
                    MultiReadResult::Error { err } => return Err(Error::Refused { path: path.clone(), source: err }),
                    _ => return Err(Error::Unknown(None)),
                });
            }
        }
        Ok(nodes)
    }

    /// Names of the znodes below `path`; none if there is no such znode.
    pub(crate) async fn children(&self, path: &str) -> Result<Vec<String>> {
        let owned = path.to_owned();
        let answer = self.call(path, |client| async move { client.list_children(&owned).await }).await;
        match answer {
            Ok(children) => Ok(children),
            Err(Error::Refused { source: ZkError::NoNode, .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Makes `path` and what lies above it, as far as it does not exist.
    pub(crate) async fn make_path(&self, path: &str) -> Result<()> {
        let owned = path.to_owned();
        self.call(path, |client| async move {
            client.mkdir(&owned, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await
        })
        .await
    }
}

/// What was read, or `None` if there is no such znode.
fn found(answer: Result<(Vec<u8>, Stat)>) -> Result<Option<Node>> {
    match answer {
        Ok((data, stat)) => Ok(Some(Node { data, stat })),
        Err(Error::Refused { source: ZkError::NoNode, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
