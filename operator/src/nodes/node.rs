use std::time::{Duration, Instant};

use kv_client::{Client, ClientOptions, Discovery, Transport};

use super::ClusterReport;

/// How long the making of a connection may take: another node is tried then.
const CONNECT_WITHIN: Duration = Duration::from_millis(700);
/// How long a node may take to describe the cluster. It gives the others 300 ms.
const DESCRIBE_WITHIN: Duration = Duration::from_secs(1);
/// How long a node may take to say that it is there, when it has said nothing for a while.
const PROBE_WITHIN: Duration = Duration::from_millis(500);
/// How long a node may take to write down that a node is to be drained.
const DRAIN_WITHIN: Duration = Duration::from_millis(1500);

/// One node, asked directly: it is never another one that answers.
pub(super) struct Node {
    client: Client,
}

/// Descriptions of a cluster, as one node sees it.
pub(super) struct Reports(kv_client::DescriptionWatch);

impl Node {
    pub(super) async fn connect(address: &str) -> Result<Self, kv_client::Error> {
        let options = ClientOptions {
            deadline: DESCRIBE_WITHIN,
            attempt_timeout: DESCRIBE_WITHIN,
            connect_timeout: CONNECT_WITHIN,
            sessions: false,
            // Another node is asked instead.
            retries: false,
            transport: Transport::Unary,
            in_flight: 16,
            follow_locations: false,
            ..ClientOptions::new(Discovery::Nodes(vec![address.to_owned()]))
        };
        Ok(Self { client: Client::connect(options).await? })
    }

    pub(super) async fn describe(&self) -> Result<ClusterReport, kv_client::Error> {
        let description = self.client.describe(false).await?;
        Ok(ClusterReport::new(description, Instant::now()))
    }

    /// Whether it is there: it speaks for itself alone, which costs the others nothing.
    pub(super) async fn probe(&self) -> Result<(), kv_client::Error> {
        self.client.with_deadline(PROBE_WITHIN).describe(true).await.map(drop)
    }

    pub(super) async fn watch(&self) -> Result<Reports, kv_client::Error> {
        Ok(Reports(self.client.watch_description().await?))
    }

    pub(super) async fn drain(&self, node: &str, undo: bool) -> Result<u32, kv_client::Error> {
        self.client.with_deadline(DRAIN_WITHIN).drain(node, undo).await
    }
}

impl Reports {
    /// The next one. May be given up and asked again: none is lost by that.
    pub(super) async fn next(&mut self) -> Result<ClusterReport, kv_client::Error> {
        let description = self.0.next().await?;
        Ok(ClusterReport::new(description, Instant::now()))
    }
}
