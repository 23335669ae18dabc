//! The `Kv` service: each handler gives its request to the router and takes the answer apart.

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use kv_proto::v1::{
    BatchRequest, BatchResponse, DeleteRequest, DeleteResponse, GetRequest, GetResponse, OpenSessionRequest,
    OpenSessionResponse, PipelineRequest, PutRequest, PutResponse, ScanPage, ScanRequest, WatchEvents, WatchRequest,
    kv_server::Kv, pipeline_request::Request as WireRequest, pipeline_response::Response as WireResponse,
};
use tonic::{Request, Response, Status, Streaming};

use super::{edge::Edge, pipeline, scan, status::ErrorAnswer, watch};

/// Keys and values for clients.
pub(crate) struct KvService {
    pub(crate) edge: Arc<Edge>,
}

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

macro_rules! unary {
    ($self:ident, $request:ident, $kind:ident) => {
        match $self.edge.answer(WireRequest::$kind($request.into_inner())).await? {
            WireResponse::$kind(answer) => Ok(Response::new(answer)),
            other => Err(ErrorAnswer::fault(format!("the answer is of another kind: {other:?}")).into()),
        }
    };
}

#[tonic::async_trait]
impl Kv for KvService {
    type ScanStream = BoxStream<ScanPage>;
    type WatchStream = BoxStream<WatchEvents>;
    type PipelineStream = pipeline::Answers;

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        unary!(self, request, Get)
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        unary!(self, request, Put)
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        unary!(self, request, Delete)
    }

    async fn batch(&self, request: Request<BatchRequest>) -> Result<Response<BatchResponse>, Status> {
        unary!(self, request, Batch)
    }

    async fn scan(&self, request: Request<ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        Ok(Response::new(Box::pin(scan::pages(&self.edge, request.into_inner())?)))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(Box::pin(watch::events(&self.edge, request.into_inner()).await?)))
    }

    async fn open_session(
        &self,
        request: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionResponse>, Status> {
        unary!(self, request, OpenSession)
    }

    async fn pipeline(
        &self,
        request: Request<Streaming<PipelineRequest>>,
    ) -> Result<Response<Self::PipelineStream>, Status> {
        Ok(Response::new(pipeline::serve(&self.edge, request.into_inner())))
    }
}
