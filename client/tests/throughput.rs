//! What the client itself is able to do, against a node that answers at once and keeps nothing.

#![allow(clippy::expect_used, reason = "only tests are here, and clippy does not see that of helpers")]

use std::{process::Stdio, thread};

use futures::stream::BoxStream;
use kv_proto::v1::{
    BatchRequest, BatchResponse, DeleteRequest, DeleteResponse, GetRequest, GetResponse, Location, OpenSessionRequest,
    OpenSessionResponse, PipelineRequest, PipelineResponse, PutRequest, PutResponse, ScanPage, ScanRequest,
    WatchEvents, WatchRequest,
    kv_server::{Kv, KvServer},
    pipeline_request::Request as Ask,
    pipeline_response::Response as Answer,
};
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

type Answers<T> = BoxStream<'static, Result<T, Status>>;
type Unary<T> = Result<Response<T>, Status>;

/// Answers on a pipeline only.
struct Echo;

fn answer(PipelineRequest { id, request }: PipelineRequest) -> PipelineResponse {
    let location = Some(Location { shard: 1, epoch: 1, ..Location::default() });
    let response = match request {
        Some(Ask::Get(_)) => Some(Answer::Get(GetResponse::default())),
        Some(Ask::Put(_)) => Some(Answer::Put(PutResponse::default())),
        Some(Ask::OpenSession(_)) => {
            Some(Answer::OpenSession(OpenSessionResponse { session: vec![1; 24].into(), location }))
        }
        _ => None,
    };
    PipelineResponse { id, response }
}

fn not_here<T>() -> Unary<T> {
    Err(Status::unimplemented("pipeline only"))
}

#[tonic::async_trait]
impl Kv for Echo {
    type ScanStream = Answers<ScanPage>;
    type WatchStream = Answers<WatchEvents>;
    type PipelineStream = Answers<PipelineResponse>;

    async fn get(&self, _: Request<GetRequest>) -> Unary<GetResponse> {
        not_here()
    }
    async fn put(&self, _: Request<PutRequest>) -> Unary<PutResponse> {
        not_here()
    }
    async fn delete(&self, _: Request<DeleteRequest>) -> Unary<DeleteResponse> {
        not_here()
    }
    async fn batch(&self, _: Request<BatchRequest>) -> Unary<BatchResponse> {
        not_here()
    }
    async fn scan(&self, _: Request<ScanRequest>) -> Unary<Self::ScanStream> {
        not_here()
    }
    async fn watch(&self, _: Request<WatchRequest>) -> Unary<Self::WatchStream> {
        not_here()
    }
    async fn open_session(&self, _: Request<OpenSessionRequest>) -> Unary<OpenSessionResponse> {
        not_here()
    }
    async fn pipeline(&self, requests: Request<Streaming<PipelineRequest>>) -> Unary<Self::PipelineStream> {
        Ok(Response::new(Box::pin(requests.into_inner().map(|request| request.map(answer)))))
    }
}

fn serve(listener: std::net::TcpListener) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("bound");
        let server = tonic::transport::Server::builder()
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .add_service(KvServer::new(Echo));
        server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it serves");
    });
}

#[test]
#[ignore = "measures: run it alone, with --release"]
fn one_core_of_the_client_sends_more_than_200_000_requests_a_second() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("tokio needs it");
    let address = listener.local_addr().expect("bound").to_string();
    thread::spawn(move || serve(listener));
    for workload in ["put", "get"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kvctl"));
        command.args(["--node", &address, "bench", workload, "--duration", "3s", "-o", "json"]);
        let output = command.stderr(Stdio::inherit()).output().expect("the binary runs");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        println!("{workload}: {json}");
        assert!(json["per_second"].as_f64() > Some(200_000.0), "{workload}: {json}");
    }
}
