use std::time::Duration;

use bytes::Bytes;
use kv_proto::v1::{
    ClusterDescription, DescribeRequest, DrainRequest, ForcePromoteRequest, HandoverRequest, MoveRequest,
    RebuildZookeeperRequest, SplitRequest, cluster_client::ClusterClient,
};
use tokio::time::{Instant, timeout_at};
use tonic::{Response, Status, Streaming, transport::Channel};

use crate::{
    Client, Error, Result,
    backoff::Backoff,
    failure::Failure,
    retry::{Kind, Progress, Verdict},
};

/// A shard was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The new primary's epoch.
    pub epoch: u64,
    /// From holding the first request to the new primary's first answer.
    pub pause: Duration,
}

/// A shard was split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The new shard.
    pub child: u64,
    /// Its first key.
    pub at: Bytes,
}

/// What force-promote did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForcePromotion {
    /// False: it was not confirmed, and nothing was done.
    pub done: bool,
    /// What is lost, for a person.
    pub message: String,
}

/// What rebuilding ZooKeeper did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeperRebuild {
    /// False: it was not confirmed, and nothing was done.
    pub done: bool,
    /// What is written, and which nodes were not heard, for a person.
    pub message: String,
}

/// The cluster's description whenever it changes.
#[derive(Debug)]
pub struct DescriptionWatch {
    client: Client,
    open: Option<Streaming<ClusterDescription>>,
}

/// Describing asks all nodes, and one that hangs must not use up the caller's deadline.
const DESCRIBE_ATTEMPT: Duration = Duration::from_secs(4);

impl Client {
    /// What the cluster is: nodes, roles, shards, lag. `local`: only what the answering node itself knows.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn describe(&self, local: bool) -> Result<ClusterDescription> {
        self.administer(Kind::Harmless, |mut cluster| async move { cluster.describe(DescribeRequest { local }).await })
            .await
    }

    /// The description now and whenever it changes.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn watch_description(&self) -> Result<DescriptionWatch> {
        let mut watch = DescriptionWatch { client: self.clone(), open: None };
        watch.open().await?;
        Ok(watch)
    }

    /// Makes another in-sync copy the primary of a shard. Answered when the target serves.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Refused`] if the target has no copy in sync.
    pub async fn handover(&self, shard: u64, target: &str) -> Result<Handover> {
        let request = HandoverRequest { shard, target: target.into() };
        let answer = self.once(request, |mut cluster, request| async move { cluster.handover(request).await }).await?;
        Ok(Handover { epoch: answer.epoch, pause: Duration::from_micros(answer.pause_micros) })
    }

    /// Moves homes and copies off a node, or takes that back. Returns how many the node still holds.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn drain(&self, node: &str, undo: bool) -> Result<u32> {
        let request = DrainRequest { node: node.into(), undo };
        let answer = self.once(request, |mut cluster, request| async move { cluster.drain(request).await }).await?;
        Ok(answer.remaining)
    }

    /// Splits a shard at a key, or at the middle of a sample. Answered when both halves serve.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn split(&self, shard: u64, at: Option<Bytes>) -> Result<Split> {
        let request = SplitRequest { shard, at: at.unwrap_or_default() };
        let answer = self.once(request, |mut cluster, request| async move { cluster.split(request).await }).await?;
        Ok(Split { child: answer.child, at: answer.at })
    }

    /// Gives a shard another home. Answered when the placement is written; the copies follow.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn move_home(&self, shard: u64, home: &str) -> Result<()> {
        let request = MoveRequest { shard, home: home.into() };
        self.once(request, |mut cluster, request| async move { cluster.r#move(request).await }).await?;
        Ok(())
    }

    /// Makes a copy outside the last in-sync set the primary of a shard that is lost otherwise: acknowledged writes are
    /// lost. Unless `confirmed`, it only says which. `empty` makes a range anew whose copies are all destroyed.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn force_promote(&self, shard: u64, node: &str, empty: bool, confirmed: bool) -> Result<ForcePromotion> {
        let request = ForcePromoteRequest { shard, node: node.into(), empty, confirmed };
        let answer =
            self.once(request, |mut cluster, request| async move { cluster.force_promote(request).await }).await?;
        Ok(ForcePromotion { done: answer.done, message: answer.message })
    }

    /// Writes into a ZooKeeper that was wholly lost what the nodes know. Unless `confirmed`, it only says what. The client
    /// must know a node: ZooKeeper can't name one.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Refused`] if ZooKeeper still holds a cluster, or the node that was asked has not seen it
    /// since its start.
    pub async fn rebuild_zookeeper(&self, confirmed: bool) -> Result<ZooKeeperRebuild> {
        let request = RebuildZookeeperRequest { confirmed };
        let answer =
            self.once(request, |mut cluster, request| async move { cluster.rebuild_zookeeper(request).await }).await?;
        Ok(ZooKeeperRebuild { done: answer.done, message: answer.message })
    }

    /// A request that changes the cluster: sent again only while it is certain that nothing was done.
    async fn once<Q, T, F>(&self, request: Q, call: impl Fn(ClusterClient<Channel>, Q) -> F) -> Result<T>
    where
        Q: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.administer(Kind::Plain, |cluster| call(cluster, request.clone())).await
    }

    async fn administer<T, F>(&self, kind: Kind, call: impl Fn(ClusterClient<Channel>) -> F) -> Result<T>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let shared = &self.shared;
        let deadline = Instant::now() + self.deadline;
        let mut progress = Progress::new(kind);
        let mut backoff = Backoff::new();
        let mut avoided = None;
        loop {
            let now = std::time::Instant::now();
            let address = shared.nodes.any(avoided.as_deref(), now);
            let address = address.ok_or_else(|| Error::Unavailable("no node is known".into()))?;
            let limit = match kind {
                Kind::Harmless => deadline.min(Instant::now() + DESCRIBE_ATTEMPT),
                Kind::Once | Kind::Plain => deadline,
            };
            let connecting = limit.min(Instant::now() + shared.options.connect_timeout);
            let failure = match shared.pool.get(&address, &shared.options, connecting).await {
                Ok(connection) => match timeout_at(limit, call(connection.cluster())).await {
                    Ok(Ok(response)) => return Ok(response.into_inner()),
                    Ok(Err(status)) => Failure::from(status),
                    Err(_) => Failure::unanswered(format!("{address} did not answer in time")),
                },
                Err(failure) => failure,
            };
            shared.take_note(&failure, &address);
            match progress.judge(&failure) {
                Verdict::Again if !shared.options.retries => return Err(shared.explain(progress.give_up(&failure))),
                Verdict::Again | Verdict::NewSession => {}
                Verdict::Fail(error) => return Err(shared.explain(error)),
            }
            avoided = Some(address);
            let wake = Instant::now() + backoff.pause();
            if wake >= deadline {
                return Err(shared.explain(progress.give_up(&failure)));
            }
            tokio::time::sleep_until(wake).await;
        }
    }
}

impl DescriptionWatch {
    /// The next description. A watch that was cut is opened again at another node.
    ///
    /// # Errors
    /// See [`Error`]: no node accepted it within the client's deadline.
    pub async fn next(&mut self) -> Result<ClusterDescription> {
        loop {
            match &mut self.open {
                None => self.open().await?,
                Some(stream) => match stream.message().await {
                    Ok(Some(description)) => return Ok(description),
                    Ok(None) | Err(_) => {
                        self.open = None;
                        // A node that ends each watch at once must not be asked without a pause.
                        tokio::time::sleep(Backoff::LONGEST).await;
                    }
                },
            }
        }
    }

    async fn open(&mut self) -> Result<()> {
        let watch =
            |mut cluster: ClusterClient<Channel>| async move { cluster.watch(DescribeRequest::default()).await };
        self.open = Some(self.client.administer(Kind::Harmless, watch).await?);
        Ok(())
    }
}
