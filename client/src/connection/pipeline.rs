use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kv_proto::v1::{
    PipelineRequest, PipelineResponse, kv_client::KvClient, pipeline_request::Request, pipeline_response::Response,
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Streaming, transport::Channel};

use crate::failure::Failure;

/// Many requests in flight on one stream, their answers told apart by id.
///
/// The queue towards the stream has no bound of its own: what is in it is in flight, and that is bounded.
#[derive(Debug)]
pub(crate) struct Pipeline {
    queue: mpsc::UnboundedSender<PipelineRequest>,
    waiting: Arc<Waiting>,
    in_flight: Semaphore,
    bound: usize,
    reader: JoinHandle<()>,
}

/// The requests that wait for an answer.
#[derive(Debug)]
struct Waiting {
    address: Arc<str>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next_id: u64,
    /// By id, which ascend: a tree is cheaper here than hashing.
    requests: BTreeMap<u64, Waiter>,
    lost: Option<Failure>,
}

#[derive(Debug)]
struct Waiter {
    answer: oneshot::Sender<Result<Response, Failure>>,
    deadline: Instant,
}

/// How exactly the deadline of an attempt is kept: one sweep over all requests instead of a timer for each.
const SWEEP: Duration = Duration::from_millis(20);

impl Pipeline {
    pub async fn open(mut client: KvClient<Channel>, address: Arc<str>, bound: usize) -> Result<Self, Failure> {
        let (queue, requests) = mpsc::unbounded_channel();
        let opened = client.pipeline(UnboundedReceiverStream::new(requests)).await;
        let answers = opened.map_err(|status| {
            let why = Failure::from(status);
            Failure::not_sent(format!("{address} does not open a pipeline: {}", why.info().message))
        })?;
        let state = State { next_id: 1, requests: BTreeMap::new(), lost: None };
        let waiting = Arc::new(Waiting { address, state: Mutex::new(state) });
        let reader = tokio::spawn(read(answers.into_inner(), waiting.clone()));
        Ok(Self { queue, waiting, in_flight: Semaphore::new(bound), bound, reader })
    }

    pub async fn send(&self, request: Request, deadline: Instant) -> Result<Response, Failure> {
        let _permit = match self.in_flight.try_acquire() {
            Ok(permit) => permit,
            Err(_) => match tokio::time::timeout_at(deadline, self.in_flight.acquire()).await {
                Ok(Ok(permit)) => permit,
                _ => {
                    let (bound, address) = (self.bound, &self.waiting.address);
                    return Err(Failure::exhausted(format!("{bound} requests are in flight to {address}, the bound")));
                }
            },
        };
        let (answer, answered) = oneshot::channel();
        let id = self.waiting.add(Waiter { answer, deadline })?;
        let mut withdrawal = Withdrawal { waiting: &self.waiting, id: Some(id) };
        if self.queue.send(PipelineRequest { id, request: Some(request) }).is_err() {
            return Err(Failure::not_sent(format!("the pipeline to {} is closed", self.waiting.address)));
        }
        let answer = answered.await;
        withdrawal.id = None;
        answer.unwrap_or_else(|_| Err(self.waiting.unanswered("was lost")))
    }

    pub fn is_lost(&self) -> bool {
        self.waiting.state().lost.is_some()
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Takes a request off the list when its caller stops waiting for it.
struct Withdrawal<'a> {
    waiting: &'a Waiting,
    id: Option<u64>,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.waiting.state().requests.remove(&id);
        }
    }
}

impl Waiting {
    fn add(&self, waiter: Waiter) -> Result<u64, Failure> {
        let mut state = self.state();
        if let Some(lost) = &state.lost {
            return Err(Failure::not_sent(lost.info().message.clone()));
        }
        let id = state.next_id;
        state.next_id += 1;
        state.requests.insert(id, waiter);
        Ok(id)
    }

    fn answer(&self, PipelineResponse { id, response }: PipelineResponse) {
        // An answer that nobody waits for is of a request that was given up.
        let Some(waiter) = self.state().requests.remove(&id) else {
            return;
        };
        let result = match response {
            Some(Response::Error(info)) => Err(info.into()),
            Some(response) => Ok(response),
            None => Err(Failure::protocol(format!("{} sent an answer of an unknown kind", self.address))),
        };
        let _ = waiter.answer.send(result);
    }

    fn expire(&self, now: Instant) {
        let late = self.state().requests.extract_if(.., |_, waiter| waiter.deadline <= now).collect::<Vec<_>>();
        for (_, waiter) in late {
            let _ = waiter.answer.send(Err(self.unanswered("did not answer in time")));
        }
    }

    fn lose(&self, lost: &Failure) {
        let requests = {
            let mut state = self.state();
            state.lost = Some(lost.clone());
            std::mem::take(&mut state.requests)
        };
        for waiter in requests.into_values() {
            let _ = waiter.answer.send(Err(lost.clone()));
        }
    }

    fn unanswered(&self, what: &str) -> Failure {
        Failure::unanswered(format!("{} {what}", self.address))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(mut answers: Streaming<PipelineResponse>, waiting: Arc<Waiting>) {
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let lost = loop {
        tokio::select! {
            answer = answers.message() => match answer {
                Ok(Some(answer)) => waiting.answer(answer),
                Ok(None) => break waiting.unanswered("closed the pipeline"),
                Err(status) => {
                    let why = Failure::from(status);
                    break waiting.unanswered(&format!("broke the pipeline: {}", why.info().message));
                }
            },
            now = sweep.tick() => waiting.expire(now),
        }
    };
    tracing::debug!(address = %waiting.address, error = %lost.info().message, "pipeline lost");
    waiting.lose(&lost);
}
