//! The side of a pipeline that reads requests.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _};
use kv_proto::v1::PipelineRequest;
use tokio::{
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tonic::{Status, Streaming};

use super::Pipeline;
use crate::driver::request::Sink;

/// Requests that are handed over with one flush, at most; then other tasks have their turn.
const BURST: usize = 512;
/// How exactly deadlines are kept: one sweep over all requests instead of a timer for each.
const SWEEP_EVERY: Duration = Duration::from_millis(50);
/// A server that closes goes on reading until nothing has come for so long: a client whose requests are answered goes
/// to another node by itself, and none is lost unread.
const CLOSING_IDLE: Duration = Duration::from_millis(100);

pub(super) async fn read(pipeline: Arc<Pipeline>, requests: Streaming<PipelineRequest>) {
    let how = read_all(&pipeline, requests).await;
    // Half-closed by the client: it still waits for its answers, within their deadlines.
    pipeline.end(how);
    let mut sweep = interval(SWEEP_EVERY);
    while pipeline.state().in_flight > 0 {
        pipeline.expire(sweep.tick().await);
    }
    pipeline.answered.wake();
}

async fn read_all(pipeline: &Arc<Pipeline>, mut requests: Streaming<PipelineRequest>) -> Result<(), Status> {
    let edge = &pipeline.edge;
    let sink: Arc<dyn Sink> = Arc::<Pipeline>::clone(pipeline);
    let mut sweep = interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut closing = false;
    let mut last = Instant::now();
    loop {
        // A client that doesn't take its answers is read no further; above the first bound it is told so with errors.
        let crowded = pipeline.state().in_flight >= edge.options.max_in_flight.saturating_mul(2);
        let mut next = tokio::select! {
            request = requests.next(), if !crowded => request,
            () = pipeline.drained.notified(), if crowded => continue,
            now = sweep.tick() => {
                pipeline.expire(now);
                continue;
            }
            () = edge.closing.cancelled(), if !closing => {
                closing = true;
                last = Instant::now();
                continue;
            }
            () = sleep_until(last + CLOSING_IDLE), if closing => return Ok(()),
        };
        last = Instant::now();
        let mut taken = 0;
        let ended = loop {
            match next {
                Some(Ok(request)) => pipeline.take(&sink, request, last),
                Some(Err(status)) => break Some(Err(status)),
                None => break Some(Ok(())),
            }
            taken += 1;
            if taken == BURST {
                break None;
            }
            next = match requests.next().now_or_never() {
                Some(next) => next,
                None => break None,
            };
        };
        edge.driver.flush();
        if let Some(how) = ended {
            return how;
        }
        if taken == BURST {
            yield_now().await;
        }
    }
}
