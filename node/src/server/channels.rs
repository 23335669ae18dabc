//! Connections to the other nodes, for requests that they serve.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kv_proto::v1::{
    PipelineRequest, cluster_client::ClusterClient, kv_client::KvClient, pipeline_request::Request as WireRequest,
    pipeline_response::Response as WireResponse,
};
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint},
};

use super::status::ErrorAnswer;

/// Nodes that a connection is kept to; a cluster has fewer, but addresses change.
const MAX_CHANNELS: usize = 256;
/// Short, since a request waits meanwhile; the next attempt may find another primary.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// A connection that does not answer a ping within the second is given up.
const PING_EVERY: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// One connection to each node, made when it is first needed and again when it was lost.
#[derive(Debug)]
pub(crate) struct Channels {
    open: Mutex<HashMap<String, Channel>>,
    max_message_bytes: usize,
}

impl Channels {
    pub(crate) fn new(max_message_bytes: usize) -> Self {
        Self { open: Mutex::default(), max_message_bytes }
    }

    /// Sends a request to the node at `address`. How long to wait is up to the caller.
    pub(crate) async fn call(&self, address: &str, request: WireRequest) -> Result<WireResponse, ErrorAnswer> {
        self.send(self.kv(address)?, request).await.map_err(|status| ErrorAnswer::from_peer(address, &status))
    }

    pub(crate) fn kv(&self, address: &str) -> Result<KvClient<Channel>, ErrorAnswer> {
        let channel = self.channel(address)?;
        Ok(KvClient::new(channel).max_decoding_message_size(self.max_message_bytes))
    }

    pub(crate) fn cluster(&self, address: &str) -> Result<ClusterClient<Channel>, ErrorAnswer> {
        let channel = self.channel(address)?;
        Ok(ClusterClient::new(channel).max_decoding_message_size(self.max_message_bytes))
    }

    async fn send(&self, mut kv: KvClient<Channel>, request: WireRequest) -> Result<WireResponse, Status> {
        Ok(match request {
            WireRequest::Get(request) => WireResponse::Get(kv.get(request).await.map(Response::into_inner)?),
            WireRequest::Put(request) => WireResponse::Put(kv.put(request).await.map(Response::into_inner)?),
            WireRequest::Delete(request) => WireResponse::Delete(kv.delete(request).await.map(Response::into_inner)?),
            WireRequest::Batch(request) => WireResponse::Batch(kv.batch(request).await.map(Response::into_inner)?),
            WireRequest::OpenSession(request) => {
                WireResponse::OpenSession(kv.open_session(request).await.map(Response::into_inner)?)
            }
            // On a pipeline a scan is answered with one page, unlike the stream of a unary scan.
            scan @ WireRequest::Scan(_) => {
                let request = PipelineRequest { id: 1, request: Some(scan) };
                let mut answers = kv.pipeline(tokio_stream::once(request)).await?.into_inner();
                let answer = answers.message().await?.and_then(|answer| answer.response);
                match answer {
                    Some(WireResponse::Error(info)) => return Err(ErrorAnswer::from_info(info).into()),
                    Some(page) => page,
                    None => return Err(Status::unknown("no page was answered")),
                }
            }
        })
    }

    fn channel(&self, address: &str) -> Result<Channel, ErrorAnswer> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = open.get(address) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| ErrorAnswer::unavailable(format!("address {address:?} is not host:port: {error}")))?;
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .connect_lazy();
        if open.len() >= MAX_CHANNELS
            && let Some(any) = open.keys().next().cloned()
        {
            open.remove(&any);
        }
        open.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}

#[cfg(test)]
mod tests {
    use kv_proto::v1::{ErrorReason, GetRequest};

    use super::*;

    #[tokio::test]
    async fn a_node_that_is_not_there_is_a_definite_error() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        drop(listener);
        let channels = Channels::new(1 << 20);
        for _ in 0..3 {
            let request = WireRequest::Get(GetRequest { key: "k".into(), ..GetRequest::default() });
            let error = channels.call(&address, request).await.expect_err("nobody listens");
            assert_eq!((error.reason(), error.is_definite()), (ErrorReason::NotAvailable, true), "{error:?}");
        }
    }
}
