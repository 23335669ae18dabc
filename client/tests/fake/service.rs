use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, stream};
use kv_proto::v1::{
    BatchRequest, BatchResponse, DeleteRequest, DeleteResponse, ErrorInfo, ErrorReason, GetRequest, GetResponse,
    OpenSessionRequest, OpenSessionResponse, PipelineRequest, PipelineResponse, PutRequest, PutResponse, ScanPage,
    ScanRequest, WatchEvents, WatchRequest, kv_server::Kv, pipeline_request::Request as Ask,
    pipeline_response::Response as Answer,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Fault, Node, refusal};

pub struct Service(pub Arc<Node>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What becomes of a request.
enum Outcome {
    Answer(Result<Answer, ErrorInfo>),
    Break,
    Silence,
}

async fn handle(node: &Node, request: Ask) -> Outcome {
    if matches!(request, Ask::OpenSession(_)) {
        return Outcome::Answer(apply(node, request));
    }
    node.enter();
    let outcome = match node.next_fault() {
        None => Outcome::Answer(apply(node, request)),
        Some(Fault::Refuse(info)) => Outcome::Answer(Err(info)),
        Some(Fault::Break) => Outcome::Break,
        Some(Fault::ApplyAndBreak) => {
            let _ = apply(node, request);
            Outcome::Break
        }
        Some(Fault::ApplyInSilence) => {
            let _ = apply(node, request);
            Outcome::Silence
        }
        Some(Fault::ApplyAndSayUnknown) => {
            let _ = apply(node, request);
            Outcome::Answer(Err(ErrorInfo { definite: false, ..refusal(ErrorReason::OutcomeUnknown) }))
        }
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            Outcome::Answer(apply(node, request))
        }
    };
    node.leave();
    outcome
}

fn apply(node: &Node, request: Ask) -> Result<Answer, ErrorInfo> {
    let cluster = match &request {
        Ask::Get(request) => request.context.clone(),
        Ask::Put(request) => request.context.clone(),
        _ => None,
    };
    let (asked, own) = (cluster.unwrap_or_default().cluster, node.cluster.lock().expect("unpoisoned").clone());
    if !asked.is_empty() && asked != own {
        return Err(refusal(ErrorReason::WrongCluster));
    }
    let mut answer = node.data().handle(request)?;
    match &mut answer {
        Answer::Get(answer) => answer.location = node.location(),
        Answer::Put(answer) => answer.location = node.location(),
        Answer::OpenSession(answer) => answer.location = node.location(),
        _ => {}
    }
    Ok(answer)
}

impl Service {
    async fn unary(&self, request: Ask) -> Result<Answer, Status> {
        match handle(&self.0, request).await {
            Outcome::Answer(Ok(answer)) => Ok(answer),
            Outcome::Answer(Err(info)) => {
                let details = info.to_details(Code::FailedPrecondition);
                Err(Status::with_details(Code::FailedPrecondition, info.message, details))
            }
            Outcome::Break => Err(Status::unavailable("broken on purpose")),
            Outcome::Silence => std::future::pending().await,
        }
    }
}

macro_rules! unary {
    ($service:ident, $request:ident, $variant:ident) => {
        match $service.unary(Ask::$variant($request.into_inner())).await? {
            Answer::$variant(answer) => Ok(Response::new(answer)),
            other => panic!("{other:?}"),
        }
    };
}

#[tonic::async_trait]
impl Kv for Service {
    type ScanStream = Answers<ScanPage>;
    type WatchStream = Answers<WatchEvents>;
    type PipelineStream = Answers<PipelineResponse>;

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
    async fn open_session(
        &self,
        request: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionResponse>, Status> {
        unary!(self, request, OpenSession)
    }

    async fn scan(&self, request: Request<ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        match self.unary(Ask::Scan(request.into_inner())).await? {
            Answer::Scan(page) => Ok(Response::new(Box::pin(stream::iter([Ok(page)])))),
            other => panic!("{other:?}"),
        }
    }

    /// Its token is the number of changes so far. Every change is a message; a fault breaks the stream before it.
    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let token = request.into_inner().token;
        let node = self.0.clone();
        let seen = match std::str::from_utf8(&token).expect("a token of this node") {
            "" => node.data().changes.len(),
            "too old" => {
                let info = ErrorInfo { boundary: "anew".into(), ..refusal(ErrorReason::Compacted) };
                return Err(Status::with_details(Code::OutOfRange, "too old", info.to_details(Code::OutOfRange)));
            }
            number => number.parse().expect("a token of this node"),
        };
        let events = stream::unfold((node, seen, true), |(node, seen, first)| async move {
            if first {
                let token = seen.to_string().into();
                return Some((Ok(WatchEvents { events: Vec::new(), token }), (node, seen, false)));
            }
            loop {
                let change = node.data().changes.get(seen).cloned();
                if let Some(change) = change {
                    if node.next_fault().is_some() {
                        return Some((Err(Status::unavailable("broken on purpose")), (node, seen, false)));
                    }
                    let token = (seen + 1).to_string().into();
                    return Some((Ok(WatchEvents { events: vec![change], token }), (node, seen + 1, false)));
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        Ok(Response::new(Box::pin(events)))
    }

    /// Each request has a task of its own, so that answers overtake each other.
    async fn pipeline(
        &self,
        request: Request<Streaming<PipelineRequest>>,
    ) -> Result<Response<Self::PipelineStream>, Status> {
        let (answers, receiver) = mpsc::unbounded_channel();
        let mut requests = request.into_inner();
        let node = self.0.clone();
        tokio::spawn(async move {
            while let Ok(Some(PipelineRequest { id, request: Some(request) })) = requests.message().await {
                let (node, answers) = (node.clone(), answers.clone());
                tokio::spawn(async move {
                    match handle(&node, request).await {
                        Outcome::Answer(answer) => {
                            let response = Some(answer.unwrap_or_else(Answer::Error));
                            let _ = answers.send(Ok(PipelineResponse { id, response }));
                        }
                        Outcome::Break => drop(answers.send(Err(Status::unavailable("broken on purpose")))),
                        Outcome::Silence => {}
                    }
                });
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(receiver))))
    }
}
