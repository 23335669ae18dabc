//! Requests as they are on the wire, without the client library: nothing is repeated, no error is hidden.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use kv_proto::v1::{
    BatchOperation, BatchRequest, ErrorInfo, GetRequest, HandoverRequest, MoveRequest, OpenSessionRequest,
    PutOperation, PutRequest, PutResponse, RequestContext, SplitRequest, batch_operation::Operation,
    cluster_client::ClusterClient, kv_client::KvClient,
};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// How long a request may take.
const WITHIN: Duration = Duration::from_secs(10);

/// A connection to one node.
#[derive(Clone, Debug)]
pub struct Wire {
    kv: KvClient<Channel>,
    cluster: ClusterClient<Channel>,
}

impl Wire {
    /// Connects when the first request is made.
    ///
    /// # Panics
    /// Never: an address makes a URL.
    #[must_use]
    pub fn to(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("it is a URL").timeout(WITHIN);
        let channel = endpoint.connect_lazy();
        Self { kv: KvClient::new(channel.clone()), cluster: ClusterClient::new(channel) }
    }

    /// One unary put.
    ///
    /// # Errors
    /// The node's answer, or the connection's failure.
    pub async fn put(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        context: RequestContext,
    ) -> Result<PutResponse, Status> {
        let (key, value, context) = (key.into(), value.into(), Some(context));
        let request = PutRequest { key, value, context, ..PutRequest::default() };
        Ok(self.kv.clone().put(request).await?.into_inner())
    }

    /// One unary get.
    ///
    /// # Errors
    /// The node's answer, or the connection's failure.
    pub async fn get(&self, key: impl Into<Bytes>, context: RequestContext) -> Result<Option<Bytes>, Status> {
        let request = GetRequest { key: key.into(), context: Some(context), ..GetRequest::default() };
        Ok(self.kv.clone().get(request).await?.into_inner().entry.map(|entry| entry.value))
    }

    /// Puts in one batch.
    ///
    /// # Errors
    /// The node's answer, or the connection's failure.
    pub async fn batch(&self, puts: impl IntoIterator<Item = (Bytes, Bytes)>) -> Result<u64, Status> {
        let operations = puts.into_iter().map(|(key, value)| {
            let put = PutOperation { key, value, ..PutOperation::default() };
            BatchOperation { operation: Some(Operation::Put(put)) }
        });
        let request = BatchRequest { operations: operations.collect(), ..BatchRequest::default() };
        Ok(self.kv.clone().batch(request).await?.into_inner().revision)
    }

    /// A planned handover.
    ///
    /// # Errors
    /// The node's answer, or the connection's failure.
    pub async fn handover(&self, shard: u64, target: &str) -> Result<(), Status> {
        let request = HandoverRequest { shard, target: target.to_owned() };
        self.cluster.clone().handover(request).await.map(drop)
    }

    /// A split.
    ///
    /// # Errors
    /// The node's answer, or the connection's failure.
    pub async fn split(&self, shard: u64, at: impl Into<Bytes>) -> Result<(), Status> {
        self.cluster.clone().split(SplitRequest { shard, at: at.into() }).await.map(drop)
    }

    /// Another home for a shard.
    ///
    /// # Errors
    /// The node's answer, or the connection's failure.
    pub async fn move_home(&self, shard: u64, home: &str) -> Result<(), Status> {
        self.cluster.clone().r#move(MoveRequest { shard, home: home.to_owned() }).await.map(drop)
    }

    /// A session of the shard that keeps `key`.
    ///
    /// # Errors
    /// The node's answer, or the connection's failure.
    pub async fn open_session(&self, key: impl Into<Bytes>) -> Result<Bytes, Status> {
        let request = OpenSessionRequest { key: key.into(), context: None };
        Ok(self.kv.clone().open_session(request).await?.into_inner().session)
    }
}

/// What a node says of its refusal; `None`: the status was made by gRPC or by the connection.
#[must_use]
pub fn info(status: &Status) -> Option<ErrorInfo> {
    ErrorInfo::from_status(status)
}

/// The context of request `request` of a session.
#[must_use]
pub fn in_session(session: &Bytes, request: u64) -> RequestContext {
    let session = session.clone();
    RequestContext { session, request, lowest_unanswered: 1, ..RequestContext::default() }
}
