//! As much of etcd's client as the loads need that its own tool has not. The messages are those of etcd's `rpc.proto`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use kv_client::keys;
use tonic::{
    Request, Response, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::{
    error::{Error, Result},
    load::Connection,
    workload::SCAN_KEYS,
};

const PUT: PathAndQuery = PathAndQuery::from_static("/etcdserverpb.KV/Put");
const RANGE: PathAndQuery = PathAndQuery::from_static("/etcdserverpb.KV/Range");

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: Bytes,
    #[prost(int64, tag = "3")]
    limit: i64,
    #[prost(bool, tag = "7")]
    serializable: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    entries: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
}

/// As of other systems, but for the first byte. etcd's tool makes keys of all lengths of values that begin with an even one: a scan
/// must not come upon those.
fn key(number: u64) -> Bytes {
    let mut key = keys::spread(number).to_vec();
    if let Some(first) = key.first_mut() {
        *first = 0xff;
    }
    key.into()
}

/// Connections to one member or several. After a failure the next one is asked.
#[derive(Clone, Debug)]
pub(crate) struct EtcdClient {
    channels: Arc<[Channel]>,
    turn: Arc<AtomicUsize>,
}

impl EtcdClient {
    /// `addresses` as `host:port`; a request that takes longer than `timeout` has failed.
    pub(super) fn new(addresses: &[String], timeout: Duration) -> Result<Self> {
        let connect = |address: &String| {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(Error::request)?;
            Ok(endpoint.timeout(timeout).connect_timeout(timeout).tcp_nodelay(true).connect_lazy())
        };
        let channels = addresses.iter().map(connect).collect::<Result<Vec<_>>>()?;
        Ok(Self { channels: channels.into(), turn: Arc::default() })
    }

    async fn call<A, B>(&self, path: PathAndQuery, message: A) -> Result<B>
    where
        A: prost::Message + Send + Sync + 'static,
        B: prost::Message + Default + Send + Sync + 'static,
    {
        let turn = self.turn.load(Ordering::Relaxed);
        let mut client = Grpc::new(self.channels[turn % self.channels.len()].clone());
        let answer = async {
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            client.unary(Request::new(message), path, ProstCodec::<A, B>::default()).await
        };
        let answer: Result<Response<B>, Status> = answer.await;
        match answer {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => {
                // Of requests that fail together one moves on.
                let _ = self.turn.compare_exchange(turn, turn + 1, Ordering::Relaxed, Ordering::Relaxed);
                Err(Error::request(status))
            }
        }
    }

    async fn range(&self, request: RangeRequest) -> Result<Vec<KeyValue>> {
        Ok(self.call::<_, RangeResponse>(RANGE, request).await?.entries)
    }

    /// A key under another name than a number's.
    pub(super) async fn put_named(&self, key: Bytes, value: Bytes) -> Result<()> {
        self.call::<_, PutResponse>(PUT, PutRequest { key, value }).await.map(drop)
    }

    async fn read(&self, number: u64, value_bytes: usize, serializable: bool) -> Result<()> {
        let request = RangeRequest { key: key(number), serializable, ..RangeRequest::default() };
        match self.range(request).await?.as_slice() {
            [entry] if entry.value.len() == value_bytes => Ok(()),
            entries => Err(Error::request(format!("key {number} has {} values of that length", entries.len()))),
        }
    }
}

impl Connection for EtcdClient {
    async fn put(&self, number: u64, value: Bytes) -> Result<()> {
        self.put_named(key(number), value).await
    }

    async fn get(&self, number: u64, value_bytes: usize) -> Result<()> {
        self.read(number, value_bytes, false).await
    }

    async fn stale_get(&self, number: u64, value_bytes: usize) -> Result<()> {
        self.read(number, value_bytes, true).await
    }

    async fn scan(&self, number: u64) -> Result<()> {
        // A zero byte as the end: to the last key.
        let range_end = Bytes::from_static(b"\0");
        let request = RangeRequest { key: key(number), range_end, limit: SCAN_KEYS as i64, serializable: false };
        match self.range(request).await?.len() {
            0 => Err(Error::request("a scan found nothing")),
            _ => Ok(()),
        }
    }
}
