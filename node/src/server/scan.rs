//! A scan as a stream of pages, over the bounds of shards.

use std::sync::Arc;

use futures::{Stream, stream::try_unfold};
use kv_proto::v1::{
    ScanPage, ScanRequest, pipeline_request::Request as WireRequest, pipeline_response::Response as WireResponse,
};
use tonic::Status;

use super::{edge::Edge, status::ErrorAnswer};

/// The pages of a scan, each read when the client has room for it. Pages without keys are left out but for the last.
pub(crate) fn pages(
    edge: &Arc<Edge>,
    request: ScanRequest,
) -> Result<impl Stream<Item = Result<ScanPage, Status>> + use<>, Status> {
    edge.intake.check(&WireRequest::Scan(request.clone()))?;
    let edge = Arc::clone(edge);
    Ok(try_unfold(Some(request), move |request| {
        let edge = Arc::clone(&edge);
        async move {
            let Some(mut request) = request else { return Ok(None) };
            loop {
                let page = page(&edge, &request).await?;
                if page.resume.is_empty() {
                    return Ok(Some((page, None)));
                }
                let stuck = page.entries.is_empty() && page.resume == request.resume;
                if stuck {
                    let text = format!("shard {} has nothing to read and nothing to go on with", page.shard);
                    return Err(ErrorAnswer::fault(text).into());
                }
                request.resume = page.resume.clone();
                if !page.entries.is_empty() {
                    return Ok(Some((page, Some(request))));
                }
            }
        }
    }))
}

async fn page(edge: &Edge, request: &ScanRequest) -> Result<ScanPage, ErrorAnswer> {
    match edge.answer(WireRequest::Scan(request.clone())).await? {
        WireResponse::Scan(page) => Ok(page),
        other => Err(ErrorAnswer::fault(format!("the answer is of another kind: {other:?}"))),
    }
}
