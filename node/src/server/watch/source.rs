//! Where the changes of a part of a watch come from: a copy on this node that leads the shard, or the node that has one.

use std::time::Duration;

use kv_proto::v1::{
    ErrorReason, KeyValue, RequestContext, WatchEvent, WatchEvents, WatchRequest, watch_event::Kind as WireKind,
};
use kv_replication::apply::Value;
use kv_types::KeyRange;
use tokio::time::timeout;
use tonic::{Response, Streaming};

use super::{MESSAGE_EVENTS, positions::Positions};
use crate::{
    driver::{
        Position, Subscription, WatchFailure,
        events::{Event, EventKind},
        request::Route,
    },
    server::{edge::Edge, status::ErrorAnswer},
};

/// How long another node may take to begin a watch.
const OPEN_LIMIT: Duration = Duration::from_secs(2);
/// How often a silent watch at another node is compared with where the shard is served.
const ROUTE_CHECK: Duration = Duration::from_secs(2);

pub(super) enum Source {
    Local(Box<Subscription>),
    Remote(Box<Remote>),
}

/// A watch at another node, of one part.
pub(super) struct Remote {
    address: String,
    stream: Streaming<WatchEvents>,
    range: KeyRange,
}

/// Why there are no changes.
pub(super) enum Trouble {
    /// Another copy may have them, or this one in a while.
    Passing(ErrorAnswer),
    /// They are not to be had.
    Lasting(ErrorAnswer),
}

impl Source {
    /// At this node, which leads the shard or is about to.
    pub(super) fn local(edge: &Edge, route: &Route, range: &KeyRange, from: Option<Position>) -> Result<Self, Trouble> {
        let subscription = edge.driver.subscribe(route.shard, range.clone(), from)?;
        Ok(Self::Local(Box::new(subscription)))
    }

    /// At the node that leads the shard. It is not to pass the watch on any further.
    pub(super) async fn remote(
        edge: &Edge,
        lane: usize,
        route: &Route,
        range: &KeyRange,
        from: Option<Position>,
    ) -> Result<Self, Trouble> {
        let Some((_, address)) = &route.primary else {
            let (shard, volume) = (route.shard, route.config.primary);
            let text = format!("shard {shard} is served by volume {volume} of no known node");
            return Err(Trouble::Passing(ErrorAnswer::unavailable(text)));
        };
        let mut positions = Positions::unknown(range.clone());
        if let Some(from) = from {
            positions.advance(&range.start, from);
        }
        let timeout_millis = u32::try_from(OPEN_LIMIT.as_millis()).unwrap_or(u32::MAX);
        let request = WatchRequest {
            context: Some(RequestContext { hops: 1, timeout_millis, ..RequestContext::default() }),
            start: range.start.clone(),
            end: range.end.clone().unwrap_or_default(),
            token: positions.token().unwrap_or_default(),
            ..WatchRequest::default()
        };
        let opening = async {
            edge.watch_channels(lane).kv(address)?.watch(request).await.map_err(|status| of_peer(address, &status))
        };
        let stream = match timeout(OPEN_LIMIT, opening).await {
            Ok(opened) => opened.map(Response::into_inner)?,
            Err(_) => {
                let text = format!("{address} did not begin the watch within {OPEN_LIMIT:?}");
                return Err(Trouble::Passing(ErrorAnswer::unavailable(text)));
            }
        };
        let remote = Remote { address: address.clone(), stream, range: range.clone() };
        Ok(Self::Remote(Box::new(remote)))
    }

    /// The next changes, and up to where there are no others. What comes from another node begins with its position and
    /// without changes.
    pub(super) async fn next(&mut self, edge: &Edge) -> Result<(Vec<WatchEvent>, Position), Trouble> {
        match self {
            Self::Local(subscription) => {
                let (events, position) = subscription.next(MESSAGE_EVENTS).await?;
                Ok((events.into_iter().map(to_wire).collect(), position))
            }
            Self::Remote(remote) => remote.next(edge).await,
        }
    }
}

impl Remote {
    async fn next(&mut self, edge: &Edge) -> Result<(Vec<WatchEvent>, Position), Trouble> {
        let Self { address, stream, range } = self;
        loop {
            let message = match timeout(ROUTE_CHECK, stream.message()).await {
                Ok(message) => message.map_err(|status| of_peer(address, &status))?,
                Err(_) => {
                    let route = edge.driver.locate(Some(&range.start));
                    let served = route.filter(|route| !route.local).and_then(|route| route.primary);
                    if served.is_some_and(|(_, now)| now == *address) {
                        continue;
                    }
                    let text = format!("the shard is not served at {address} any more");
                    return Err(Trouble::Passing(ErrorAnswer::unavailable(text)));
                }
            };
            let Some(WatchEvents { events, token }) = message else {
                return Err(Trouble::Passing(ErrorAnswer::unavailable(format!("{address} has ended the watch"))));
            };
            let positions = Positions::of_token(&token, range).map_err(Trouble::Lasting)?;
            let position = positions.only().ok_or_else(|| {
                Trouble::Lasting(ErrorAnswer::fault(format!("{address} answered with a token of several parts")))
            })?;
            return Ok((events, position));
        }
    }
}

/// What trying again, here or elsewhere, does not cure: the request is wrong, or the changes are gone.
fn of_peer(address: &str, status: &tonic::Status) -> Trouble {
    let answer = ErrorAnswer::from_peer(address, status);
    match answer.reason() {
        ErrorReason::Compacted | ErrorReason::Invalid | ErrorReason::WrongCluster => Trouble::Lasting(answer),
        _ => Trouble::Passing(answer),
    }
}

impl From<ErrorAnswer> for Trouble {
    fn from(answer: ErrorAnswer) -> Self {
        Self::Passing(answer)
    }
}

impl From<WatchFailure> for Trouble {
    fn from(failure: WatchFailure) -> Self {
        let text = failure.to_string();
        match failure {
            WatchFailure::NotHere => Self::Passing(ErrorAnswer::unavailable(text)),
            // The token to start anew from is added where all positions are known.
            WatchFailure::Compacted { .. } | WatchFailure::Promoted { .. } => {
                Self::Lasting(ErrorAnswer::compacted(text, bytes::Bytes::new()))
            }
        }
    }
}

fn to_wire(event: Event) -> WatchEvent {
    let Event { key, revision, kind } = event;
    let (kind, entry) = match kind {
        EventKind::Put(Value { value, revision, expires_at_millis }) => {
            (WireKind::Put, KeyValue { key, value, revision, expires_at_millis })
        }
        EventKind::Delete => (WireKind::Delete, KeyValue { key, revision, ..KeyValue::default() }),
        EventKind::Expire => (WireKind::Expire, KeyValue { key, revision, ..KeyValue::default() }),
    };
    WatchEvent { kind: kind.into(), entry: Some(entry) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_revision_whatever_became_of_the_key() {
        let value = Value { value: "v".into(), revision: 7, expires_at_millis: 9 };
        for (kind, wire, value) in [
            (EventKind::Put(value), WireKind::Put, "v"),
            (EventKind::Delete, WireKind::Delete, ""),
            (EventKind::Expire, WireKind::Expire, ""),
        ] {
            let event = to_wire(Event { key: "k".into(), revision: 7, kind });
            let entry = event.entry.clone().expect("it has one");
            assert_eq!((event.kind(), entry.revision, &entry.value[..]), (wire, 7, value.as_bytes()));
        }
    }

    #[test]
    fn only_what_is_gone_or_wrong_ends_a_watch() {
        let lasting = |answer: ErrorAnswer| matches!(of_peer("a:1", &answer.into()), Trouble::Lasting(_));
        assert!(lasting(ErrorAnswer::compacted("", "token".into())));
        assert!(lasting(ErrorAnswer::invalid("")));
        assert!(!lasting(ErrorAnswer::unavailable("")));
        assert!(!lasting(ErrorAnswer::exhausted("")));
        assert!(matches!(of_peer("a:1", &tonic::Status::unavailable("reset")), Trouble::Passing(_)));
        assert!(matches!(Trouble::from(WatchFailure::NotHere), Trouble::Passing(_)));
    }
}
