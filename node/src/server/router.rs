//! Finds somebody who serves a request, for as long as its client waits: a handover or a failover shows no error.

use std::{sync::Arc, time::Duration};

use kv_proto::v1::{
    ErrorReason, pipeline_request::Request as WireRequest, pipeline_response::Response as WireResponse,
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    channels::Channels,
    convert::{Intake, context, context_mut, is_write, location, response, set_location},
    metrics::Metrics,
    status::ErrorAnswer,
};
use crate::driver::{
    Driver,
    request::{Failure, Request, Route},
};

/// A request is passed on so many times at most.
const MAX_HOPS: u32 = 3;
/// Between two attempts; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// A peer that doesn't answer so long is asked again, or another one, if doing it twice does no harm.
const PEER_TIMEOUT: Duration = Duration::from_secs(1);

/// Carries requests to whoever serves them.
pub(crate) struct Router {
    driver: Driver,
    intake: Arc<Intake>,
    channels: Arc<Channels>,
    metrics: Metrics,
}

/// A request on its way.
struct Errand {
    wire: WireRequest,
    checked: Request,
    deadline: Instant,
    hops: u32,
    /// It may be sent again although an earlier sending may have been carried out.
    repeatable: bool,
}

impl Router {
    pub(crate) fn new(driver: Driver, intake: Arc<Intake>, channels: Arc<Channels>, metrics: Metrics) -> Self {
        Self { driver, intake, channels, metrics }
    }

    /// Answers a request until `deadline`. A request that another node has passed on is tried once: that node tries on.
    pub(crate) async fn answer(&self, wire: WireRequest, deadline: Instant) -> Result<WireResponse, ErrorAnswer> {
        let checked = self.intake.check(&wire)?;
        let failure = match self.here(&wire, checked, deadline).await {
            Some(Ok(response)) => return Ok(response),
            Some(Err(failure)) => Some(failure),
            None => None,
        };
        // Boxed: most requests need no more than the above.
        Box::pin(self.search(wire, deadline, failure)).await
    }

    /// Looks for somebody who answers; `failure` is that of the attempt before, if it was more than a look here.
    async fn search(
        &self,
        wire: WireRequest,
        deadline: Instant,
        mut failure: Option<ErrorAnswer>,
    ) -> Result<WireResponse, ErrorAnswer> {
        let checked = self.intake.check(&wire)?;
        let hops = context(&wire).map_or(0, |context| context.hops);
        let repeatable = match &checked {
            Request::Write(write) => write.request.is_some(),
            Request::Get { .. } | Request::OpenSession { .. } | Request::Scan(_) => true,
        };
        let errand = Errand { wire, checked, deadline, hops, repeatable };
        let mut pause = FIRST_PAUSE;
        let mut doubt = false;
        loop {
            if let Some(failure) = failure {
                doubt |= !failure.is_definite() && is_write(&errand.wire);
                let again = match failure.reason() {
                    ErrorReason::NotAvailable => true,
                    ErrorReason::OutcomeUnknown => errand.repeatable,
                    _ => false,
                };
                let wake = Instant::now() + pause;
                if !again || errand.hops > 0 || wake >= deadline || self.driver.is_ceased() {
                    return Err(finally(failure, doubt));
                }
                self.metrics.retried();
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            failure = match self.attempt(&errand).await {
                Ok(response) => return Ok(response),
                Err(failure) => Some(failure),
            };
        }
    }

    async fn attempt(&self, errand: &Errand) -> Result<WireResponse, ErrorAnswer> {
        let Some(route) = self.driver.locate_request(&errand.checked) else {
            return Err(ErrorAnswer::unavailable("no shard is known for the key: the cluster may still be starting"));
        };
        if route.local {
            let answer = self.here(&errand.wire, errand.checked.clone(), errand.deadline).await;
            return answer.unwrap_or_else(|| Err(Failure::NotHere.into()));
        }
        let Some((node, address)) = &route.primary else {
            let (shard, volume) = (route.shard, route.config.primary);
            return Err(ErrorAnswer::unavailable(format!(
                "shard {shard} is served by volume {volume} of no known node"
            )));
        };
        if errand.hops >= MAX_HOPS {
            let text = format!("the request was passed on {MAX_HOPS} times, the bound, and {node} should serve it");
            return Err(ErrorAnswer::unavailable(text).at(location(&route)));
        }
        if self.driver.is_ceased() {
            let text = format!("{} is cut off from the cluster and has ceased to serve", self.driver.node());
            return Err(ErrorAnswer::unavailable(text));
        }
        self.there(errand, &route, address).await
    }

    /// `None`: this node doesn't serve the key.
    async fn here(
        &self,
        wire: &WireRequest,
        checked: Request,
        deadline: Instant,
    ) -> Option<Result<WireResponse, ErrorAnswer>> {
        let Ok(answer) = timeout_at(deadline, self.driver.call(checked)).await else {
            return Some(Err(timed_out(wire)));
        };
        Some(match answer {
            Ok(reply) => response(wire, reply, self.intake.limits()).map(|mut response| {
                if let WireRequest::OpenSession(open) = wire {
                    // Tells the client which keys the session is for.
                    let route = self.driver.locate(Some(&open.key));
                    set_location(&mut response, route.as_ref().and_then(location));
                }
                response
            }),
            Err(Failure::NotHere) => return None,
            Err(failure) => Err(failure.into()),
        })
    }

    async fn there(&self, errand: &Errand, route: &Route, address: &str) -> Result<WireResponse, ErrorAnswer> {
        let mut limit = errand.deadline;
        if errand.repeatable {
            limit = limit.min(Instant::now() + PEER_TIMEOUT);
        }
        let left = limit.saturating_duration_since(Instant::now());
        let mut request = errand.wire.clone();
        let context = context_mut(&mut request).get_or_insert_default();
        context.hops = errand.hops + 1;
        context.timeout_millis = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
        self.metrics.passed_on();
        match timeout_at(limit, self.channels.call(address, request)).await {
            Ok(answer) => {
                let mut response = answer?;
                set_location(&mut response, location(route));
                Ok(response)
            }
            Err(_) => Err(timed_out(&errand.wire)),
        }
    }
}

/// The answer to a request whose time is up while it is being carried out.
pub(crate) fn timed_out(request: &WireRequest) -> ErrorAnswer {
    if is_write(request) {
        ErrorAnswer::unknown("no answer within the request's time limit: it may be applied or not")
    } else {
        ErrorAnswer::unavailable("no answer within the request's time limit")
    }
}

/// An earlier sending may have been applied: then only an answer that the shard itself gave to this very request, out of
/// its duplicate table, is definite.
fn finally(failure: ErrorAnswer, doubt: bool) -> ErrorAnswer {
    if !doubt || !failure.is_definite() || failure.reason() == ErrorReason::RevisionMismatch {
        return failure;
    }
    ErrorAnswer::unknown(format!(
        "an earlier sending of the request may have been applied; then: {}",
        failure.message()
    ))
}

#[cfg(test)]
mod tests {
    use kv_proto::v1::{GetRequest, PutRequest};

    use super::*;

    #[test]
    fn after_a_doubt_only_the_shards_own_word_is_definite() {
        let mismatch = ErrorAnswer::from(Failure::Mismatch { key: "k".into(), actual: 1 });
        assert_eq!(finally(mismatch.clone(), true), mismatch);
        for failure in [Failure::NotHere, Failure::SessionExpired, Failure::CrossShard { boundary: "m".into() }] {
            let failure = ErrorAnswer::from(failure);
            assert_eq!(finally(failure.clone(), false), failure);
            let doubtful = finally(failure, true);
            assert_eq!((doubtful.reason(), doubtful.is_definite()), (ErrorReason::OutcomeUnknown, false));
        }
    }

    #[test]
    fn a_late_read_is_definite_and_a_late_write_is_not() {
        assert!(timed_out(&WireRequest::Get(GetRequest::default())).is_definite());
        assert!(!timed_out(&WireRequest::Put(PutRequest::default())).is_definite());
    }
}
