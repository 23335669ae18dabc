//! The fast path: many requests on one stream. What is ready to be read is taken in one go and handed to the driver with
//! one flush; answers are collected and leave in one go, too. A task of its own is only made for a request that somebody
//! else has to carry out.

mod answers;
mod reader;
mod slots;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use futures::task::AtomicWaker;
use kv_proto::v1::{
    ErrorReason, PipelineRequest, PipelineResponse, pipeline_request::Request as WireRequest,
    pipeline_response::Response as WireResponse,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};

pub(crate) use answers::Answers;
use slots::{Slots, Waiting};

use super::{
    convert::{location, response, set_location},
    edge::Edge,
    metrics::{Counted, Kind},
    router::timed_out,
    status::ErrorAnswer,
};
use crate::driver::request::{Answer, Failure, Responder, Sink};

/// One client's stream.
struct Pipeline {
    edge: Arc<Edge>,
    state: Mutex<State>,
    /// Wakes the side that sends answers.
    answered: AtomicWaker,
    /// Wakes the side that reads requests when it waits for answers to be sent.
    drained: Notify,
    me: Weak<Self>,
    _counted: Counted,
}

#[derive(Default)]
struct State {
    slots: Slots,
    ready: VecDeque<PipelineResponse>,
    /// Requests whose answers have not left yet.
    in_flight: usize,
    /// Nothing more will be read; with the status that the stream ends with when all answers have left.
    ended: Option<Result<(), Status>>,
}

/// Serves a stream for as long as the result lives.
pub(crate) fn serve(edge: &Arc<Edge>, requests: Streaming<PipelineRequest>) -> Answers {
    let pipeline = Arc::new_cyclic(|me| Pipeline {
        edge: Arc::clone(edge),
        state: Mutex::default(),
        answered: AtomicWaker::new(),
        drained: Notify::new(),
        me: Weak::clone(me),
        _counted: edge.metrics.pipeline(),
    });
    let reader = tokio::spawn(reader::read(Arc::clone(&pipeline), requests));
    Answers::new(pipeline, AbortOnDropHandle::new(reader))
}

impl Pipeline {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request and hands it to the driver; the caller flushes.
    fn take(&self, sink: &Arc<dyn Sink>, PipelineRequest { id, request }: PipelineRequest, now: Instant) {
        let edge = &self.edge;
        let Some(request) = request else {
            self.state().in_flight += 1;
            self.push(id, WireResponse::Error(ErrorAnswer::invalid("the request is of an unknown kind").into_info()));
            return;
        };
        edge.metrics.began();
        let deadline = now + edge.intake.timeout(&request);
        let checked = edge.intake.check(&request);
        let waiting = Waiting { id, request, began: now, deadline };
        let bound = edge.options.max_in_flight;
        let mut state = self.state();
        state.in_flight += 1;
        if state.in_flight > bound {
            drop(state);
            let text =
                format!("{bound} requests are in flight on this stream, the bound (--max-in-flight): wait for answers");
            self.finish(&waiting, Err(ErrorAnswer::exhausted(text)));
            return;
        }
        match checked {
            Ok(checked) => {
                let token = state.slots.insert(waiting);
                drop(state);
                edge.driver.submit(checked, Responder::Stream { id: token, sink: Arc::clone(sink) });
            }
            Err(error) => {
                drop(state);
                self.finish(&waiting, Err(error));
            }
        }
    }

    /// Has the request carried out by somebody else, or here a little later.
    fn pass_on(&self, waiting: Waiting, failure: Failure) {
        if self.edge.driver.is_ceased() {
            self.finish(&waiting, Err(failure.into()));
            return;
        }
        let permit = match self.edge.admit_passing_on() {
            Ok(permit) => permit,
            Err(error) => return self.finish(&waiting, Err(error)),
        };
        // Without a stream nobody waits for the answer.
        let Some(me) = self.me.upgrade() else { return };
        self.edge.runtime.spawn(async move {
            let result = Box::pin(me.edge.router.answer(waiting.request.clone(), waiting.deadline)).await;
            drop(permit);
            me.finish(&waiting, result);
        });
    }

    fn finish(&self, waiting: &Waiting, result: Result<WireResponse, ErrorAnswer>) {
        let reason = result.as_ref().err().map_or(ErrorReason::Unspecified, ErrorAnswer::reason);
        self.edge.metrics.ended(Kind::of(&waiting.request), reason, waiting.began.elapsed());
        self.push(waiting.id, result.unwrap_or_else(|error| WireResponse::Error(error.into_info())));
    }

    fn push(&self, id: u64, response: WireResponse) {
        self.state().ready.push_back(PipelineResponse { id, response: Some(response) });
        self.answered.wake();
    }

    /// Answers what the driver has not answered in time, so that it doesn't count as in flight for ever.
    fn expire(&self, now: Instant) {
        let late = self.state().slots.take_late(now);
        for waiting in late {
            self.finish(&waiting, Err(timed_out(&waiting.request)));
        }
    }

    fn end(&self, how: Result<(), Status>) {
        self.state().ended.get_or_insert(how);
        self.answered.wake();
    }
}

impl Sink for Pipeline {
    fn answer(&self, token: u64, answer: Answer) {
        // None: its time was up, and it has been answered.
        let Some(waiting) = self.state().slots.take(token) else { return };
        match answer {
            Err(failure @ (Failure::NotHere | Failure::Unavailable(_))) => self.pass_on(waiting, failure),
            Err(failure) => self.finish(&waiting, Err(failure.into())),
            Ok(reply) => {
                let mut result = response(&waiting.request, reply, self.edge.intake.limits());
                if let (WireRequest::OpenSession(open), Ok(response)) = (&waiting.request, &mut result) {
                    // Tells the client which keys the session is for.
                    let route = self.edge.driver.locate(Some(&open.key));
                    set_location(response, route.as_ref().and_then(location));
                }
                self.finish(&waiting, result);
            }
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let abandoned = self.state().slots.len();
        self.edge.metrics.abandoned(abandoned);
    }
}
