//! Changes of a range of keys, from whoever leads its shards.
//!
//! ```text
//! client <─ queue <─ watcher <─┬─ follower <─ source: a copy on this node
//!                              ├─ follower <─ source: a watch at the node that leads the shard (one hop)
//!                              └─ ...
//! ```
//!
//! Each follower has a part of the range within one shard; when the shard is split, so is the part. The positions of all
//! parts make the token, by which the watch goes on at any node.

mod follower;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod positions;
mod source;
mod watcher;

use std::sync::Arc;

use futures::Stream;
use kv_proto::v1::{ErrorReason, WatchEvents, WatchRequest};
use kv_types::{KeyRange, Limits};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{convert::watched_range, edge::Edge, status::ErrorAnswer};
use positions::Positions;
use watcher::Watcher;

/// After so many changes, or bytes of them, a message is closed. Changes of one write stay together.
const MESSAGE_EVENTS: usize = 1000;
const MESSAGE_BYTES: usize = 128 << 10;
/// Messages that wait for the client of a watch.
const QUEUE_MESSAGES: usize = 16;

/// Begins a watch. A client's is passed on shard by shard, one that another node has passed on is of a shard that this
/// node leads, or fails.
pub(crate) async fn events(
    edge: &Arc<Edge>,
    request: WatchRequest,
) -> Result<impl Stream<Item = Result<WatchEvents, Status>> + use<>, Status> {
    Box::pin(begin(edge, request)).await.map_err(Status::from)
}

async fn begin(
    edge: &Arc<Edge>,
    request: WatchRequest,
) -> Result<impl Stream<Item = Result<WatchEvents, Status>> + use<>, ErrorAnswer> {
    edge.intake.check_cluster(request.context.as_ref())?;
    let (range, positions) = asked(&request, edge.intake.limits())?;
    let context = request.context;
    let (hops, timeout_millis) = context.map_or((0, 0), |context| (context.hops, context.timeout_millis));
    let passing_on = hops == 0;
    let held = if passing_on {
        (edge.admit_watcher()?, Some(edge.metrics.watcher()))
    } else {
        (edge.admit_peers_watch()?, None)
    };
    let until = Instant::now() + edge.intake.time_limit(timeout_millis);
    let mut watcher = Watcher::new(edge, range.clone(), positions, passing_on);
    let token = match watcher.begin(until).await {
        Ok(token) => token,
        Err(gone) if gone.reason() == ErrorReason::Compacted => {
            return Err(watcher::anew(edge, &range, passing_on, &gone).await);
        }
        Err(answer) => return Err(answer),
    };
    let (queue, messages) = mpsc::channel(QUEUE_MESSAGES);
    // There is room. The client can resume from the very beginning.
    let _ = queue.try_send(Ok(WatchEvents { events: Vec::new(), token }));
    tokio::spawn(async move {
        watcher.run(queue).await;
        drop(held);
    });
    Ok(ReceiverStream::new(messages))
}

/// The range of a watch, and up to where its client has been told the changes.
fn asked(request: &WatchRequest, limits: &Limits) -> Result<(KeyRange, Positions), ErrorAnswer> {
    let WatchRequest { context: _, start, end, prefix, token } = request;
    let range = watched_range(start, end, prefix, limits)?;
    if range.is_empty() {
        return Err(ErrorAnswer::invalid(format!("{range} holds no key: the end must be above the start")));
    }
    let positions = match token.is_empty() {
        true => Positions::unknown(range.clone()),
        false => Positions::of_token(token, &range)?,
    };
    Ok((range, positions))
}
