use std::sync::Arc;

use futures::{Stream, stream::empty};
use kv_proto::v1::{WatchEvents, WatchRequest};
use tonic::Status;

use super::{edge::Edge, status::ErrorAnswer};

pub(crate) async fn events(
    edge: &Arc<Edge>,
    request: WatchRequest,
) -> Result<impl Stream<Item = Result<WatchEvents, Status>> + use<>, Status> {
    edge.intake.check_cluster(request.context.as_ref())?;
    let _ = super::convert::watched_range(&request.start, &request.end, &request.prefix, edge.intake.limits())?;
    let _ = edge.admit_watcher()?;
    let _ = ErrorAnswer::compacted("", request.token);
    Ok(empty())
}
