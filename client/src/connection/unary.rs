use std::sync::atomic::{AtomicBool, Ordering};

use kv_proto::v1::{ScanPage, kv_client::KvClient, pipeline_request::Request, pipeline_response::Response};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tonic::{Status, transport::Channel};

use crate::failure::Failure;

/// One gRPC call for each request.
#[derive(Debug)]
pub(crate) struct Unary {
    client: KvClient<Channel>,
    in_flight: Semaphore,
    bound: usize,
    lost: AtomicBool,
}

impl Unary {
    pub fn new(client: KvClient<Channel>, bound: usize) -> Self {
        Self { client, in_flight: Semaphore::new(bound), bound, lost: AtomicBool::new(false) }
    }

    pub async fn send(&self, request: Request, deadline: Instant) -> Result<Response, Failure> {
        let Ok(Ok(_permit)) = timeout_at(deadline, self.in_flight.acquire()).await else {
            return Err(Failure::exhausted(format!("{} calls are in flight, the bound", self.bound)));
        };
        match timeout_at(deadline, call(self.client.clone(), request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(status)) => {
                let failure = Failure::from(status);
                if failure.unanswered {
                    self.lost.store(true, Ordering::Relaxed);
                }
                Err(failure)
            }
            Err(_) => Err(Failure::unanswered("no answer in time")),
        }
    }

    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

async fn call(mut client: KvClient<Channel>, request: Request) -> Result<Response, Status> {
    Ok(match request {
        Request::Get(request) => Response::Get(client.get(request).await?.into_inner()),
        Request::Put(request) => Response::Put(client.put(request).await?.into_inner()),
        Request::Delete(request) => Response::Delete(client.delete(request).await?.into_inner()),
        Request::Batch(request) => Response::Batch(client.batch(request).await?.into_inner()),
        Request::OpenSession(request) => Response::OpenSession(client.open_session(request).await?.into_inner()),
        // The first page only, as on a pipeline; the caller goes on from its token.
        Request::Scan(request) => {
            let page = client.scan(request).await?.into_inner().message().await?;
            Response::Scan(page.unwrap_or_else(ScanPage::default))
        }
    })
}
