use std::{sync::Arc, time::Duration};

use kv_proto::v1::{
    cluster_client::ClusterClient, kv_client::KvClient, pipeline_request::Request, pipeline_response::Response,
};
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::{ClientOptions, Transport, failure::Failure};

mod pipeline;
mod pool;
mod unary;

pub(crate) use pool::Pool;

/// An open connection to one node. The only place where connections are made.
#[derive(Debug)]
pub(crate) struct Connection {
    channel: Channel,
    requests: Requests,
}

#[derive(Debug)]
enum Requests {
    Pipeline(pipeline::Pipeline),
    Unary(unary::Unary),
}

/// A message of the wire, at most: the largest page or batch that a node may be configured for, with room.
const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// Room for answers that this side has not read yet, in bytes.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// A connection that does not answer a ping of HTTP/2 is given up after the two together.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

impl Connection {
    /// Connects to `host:port`. Whatever fails here is definite: no request was sent.
    pub async fn open(address: &Arc<str>, options: &ClientOptions) -> Result<Self, Failure> {
        let connecting = async {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))
                .map_err(|error| Failure::not_sent(format!("address {address:?} is not host:port: {error}")))?;
            let channel = endpoint
                .connect_timeout(options.connect_timeout)
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .http2_keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .keep_alive_while_idle(true)
                .tcp_nodelay(true)
                .connect()
                .await
                .map_err(|error| Failure::not_sent(format!("can't connect to {address}: {}", innermost(&error))))?;
            let client = kv_client(channel.clone());
            let requests = match options.transport {
                Transport::Pipeline => {
                    Requests::Pipeline(pipeline::Pipeline::open(client, address.clone(), options.in_flight).await?)
                }
                Transport::Unary => Requests::Unary(unary::Unary::new(client, options.in_flight)),
            };
            Ok(Self { channel, requests })
        };
        match tokio::time::timeout(options.connect_timeout, connecting).await {
            Ok(opened) => opened,
            Err(_) => {
                let limit = options.connect_timeout;
                Err(Failure::not_sent(format!("can't connect to {address} within {limit:?}")))
            }
        }
    }

    /// Sends one request and waits for its answer, until `deadline`.
    pub async fn send(&self, request: Request, deadline: Instant) -> Result<Response, Failure> {
        match &self.requests {
            Requests::Pipeline(pipeline) => pipeline.send(request, deadline).await,
            Requests::Unary(unary) => unary.send(request, deadline).await,
        }
    }

    /// Whether it has been lost, so that another has to be opened.
    pub fn is_lost(&self) -> bool {
        match &self.requests {
            Requests::Pipeline(pipeline) => pipeline.is_lost(),
            Requests::Unary(unary) => unary.is_lost(),
        }
    }

    pub fn kv(&self) -> KvClient<Channel> {
        kv_client(self.channel.clone())
    }

    pub fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }
}

fn kv_client(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// What the operating system said: the layers above it only say "transport error".
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
