//! The way to the API server: clients whose requests are counted and end in time, and which write only while the Lease is
//! held.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    BoxError,
    body::{self, Bytes, HttpBody},
    http::{HeaderValue, Method, Request, Response, header::USER_AGENT},
};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
    config::InferConfigError,
};
use tokio::time::timeout;
use tower::{Layer, Service};

use crate::{lease::Leadership, metrics::Metrics};

/// How long the making of a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long a request may take, its repetitions and the whole answer included; of a watch, the beginning of the answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of an answer, at most; a list is read in pages, and a watch is a stream.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// For watchers: after so many seconds the API server ends a watch, and the watcher opens a new one. A connection whose other
/// side is gone without a word is noticed by nothing else, so this is also for how long a watch can be deaf.
pub const WATCH_SECONDS: u32 = 60;
const AGENT: HeaderValue = HeaderValue::from_static(concat!("kv-operator/", env!("CARGO_PKG_VERSION")));

/// Why there is no client, or no answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiServerError {
    /// Neither a pod's service account nor a kubeconfig is there to be used.
    #[error("the API server is not known: run in a pod with a service account, or set KUBECONFIG")]
    Unknown(#[from] InferConfigError),
    /// The certificates or credentials can't be used.
    #[error("the API server's certificates or credentials can't be used")]
    Client(#[from] kube::Error),
    /// A write of who may not be the only one any more.
    #[error("nothing is written: the Lease is not held")]
    NotLeading,
    /// It took too long.
    #[error("the API server has not answered within {ANSWER_WITHIN:?}")]
    Late,
}

/// Where the API server of this pod is, or of the kubeconfig, and how to speak to it.
#[derive(Clone, Debug)]
pub struct ApiServer {
    config: Config,
    metrics: Metrics,
}

impl ApiServer {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// [`ApiServerError::Unknown`].
    pub async fn find(metrics: Metrics) -> Result<Self, ApiServerError> {
        Ok(Self::new(Config::infer().await?, metrics))
    }

    fn new(mut config: Config, metrics: Metrics) -> Self {
        config.connect_timeout = Some(CONNECT_WITHIN);
        config.write_timeout = Some(ANSWER_WITHIN);
        // It would be the connection's, and cut watches of which nothing is heard. Requests have their own bound below.
        config.read_timeout = None;
        config.headers.push((USER_AGENT, AGENT));
        Self { config, metrics }
    }

    /// A client with connections of its own, which it makes when they are needed. With a `leadership`, it writes nothing unless
    /// that holds.
    ///
    /// # Errors
    /// [`ApiServerError::Client`].
    pub fn client(&self, leadership: Option<Leadership>) -> Result<Client, ApiServerError> {
        let requests = Requests { metrics: self.metrics.clone(), leadership };
        Ok(ClientBuilder::try_from(self.config.clone())?.with_layer(&requests).build())
    }
}

/// Lets requests through, counts them, and bounds how long they take.
#[derive(Clone)]
struct Requests {
    metrics: Metrics,
    leadership: Option<Leadership>,
}

impl Requests {
    fn may(&self, method: &Method) -> bool {
        *method == Method::GET || self.leadership.as_ref().is_none_or(Leadership::holds)
    }
}

impl<S> Layer<S> for Requests {
    type Service = BoundedRequests<S>;

    fn layer(&self, inner: S) -> BoundedRequests<S> {
        BoundedRequests { inner, requests: self.clone() }
    }
}

struct BoundedRequests<S> {
    inner: S,
    requests: Requests,
}

type Answer = Result<Response<body::Body>, BoxError>;

impl<S, B> Service<Request<Body>> for BoundedRequests<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<body::Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !self.requests.may(request.method()) {
            return Box::pin(async { Err(ApiServerError::NotLeading.into()) });
        }
        // As kube names its own requests.
        let verb = request.extensions().get::<&'static str>().copied().unwrap_or("other");
        self.requests.metrics.api_request(verb);
        let streamed = verb.starts_with("watch");
        let answer = self.inner.call(request);
        let whole = async move {
            let (head, body) = answer.await.map_err(Into::into)?.into_parts();
            let body = body::Body::new(body);
            let body = match streamed {
                true => body,
                false => body::to_bytes(body, MAX_ANSWER_BYTES).await?.into(),
            };
            Ok(Response::from_parts(head, body))
        };
        Box::pin(async { timeout(ANSWER_WITHIN, whole).await.map_err(|_| ApiServerError::Late)? })
    }
}
