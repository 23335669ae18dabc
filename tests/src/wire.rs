//! Requests as they are on the wire, without the client library: nothing is repeated, no error is hidden.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use kv_proto::v1::{
    ErrorInfo, GetRequest, OpenSessionRequest, PutRequest, PutResponse, RequestContext, kv_client::KvClient,
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
}

impl Wire {
    /// Connects when the first request is made.
    ///
    /// # Panics
    /// Never: an address makes a URL.
    #[must_use]
    pub fn to(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("it is a URL").timeout(WITHIN);
        Self { kv: KvClient::new(endpoint.connect_lazy()) }
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
