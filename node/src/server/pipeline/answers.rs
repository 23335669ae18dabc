use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::Stream;
use kv_proto::v1::PipelineResponse;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use super::Pipeline;

/// The side of a pipeline that sends answers. Dropped when the client has gone, and then the reading side stops, too.
pub(crate) struct Answers {
    pipeline: Arc<Pipeline>,
    /// Taken from the pipeline together, so that its lock is taken once for many answers.
    leaving: VecDeque<PipelineResponse>,
    _reader: AbortOnDropHandle<()>,
}

impl Answers {
    pub(super) fn new(pipeline: Arc<Pipeline>, reader: AbortOnDropHandle<()>) -> Self {
        Self { pipeline, leaving: VecDeque::new(), _reader: reader }
    }
}

impl Stream for Answers {
    type Item = Result<PipelineResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(answer) = this.leaving.pop_front() {
            return Poll::Ready(Some(Ok(answer)));
        }
        // Before looking: an answer that comes between the look and the registration would wake nobody.
        this.pipeline.answered.register(context.waker());
        let mut state = this.pipeline.state();
        std::mem::swap(&mut state.ready, &mut this.leaving);
        if let Some(answer) = this.leaving.pop_front() {
            state.in_flight = state.in_flight.saturating_sub(1 + this.leaving.len());
            drop(state);
            this.pipeline.drained.notify_one();
            return Poll::Ready(Some(Ok(answer)));
        }
        match &state.ended {
            Some(Err(status)) => {
                let status = status.clone();
                state.ended = Some(Ok(()));
                state.in_flight = 0;
                Poll::Ready(Some(Err(status)))
            }
            Some(Ok(())) if state.in_flight == 0 => Poll::Ready(None),
            _ => Poll::Pending,
        }
    }
}
