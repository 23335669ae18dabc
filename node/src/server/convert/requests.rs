//! Wire → node: a request that breaks a limit ends here.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use kv_proto::v1::{
    BatchOperation, BatchRequest, CheckOperation, DeleteOperation, DeleteRequest, GetRequest, OpenSessionRequest,
    Precondition, PutOperation, PutRequest, RequestContext, ScanRequest, batch_operation::Operation as WireOperation,
    pipeline_request::Request as WireRequest,
};
use kv_types::{Limits, Operation, RequestId, SessionId};

use super::resume::Remainder;
use crate::{
    driver::request::{ClientWrite, PageRequest, Request},
    server::status::ErrorAnswer,
};

/// Longest time to live, in milliseconds: ten years.
pub(crate) const MAX_TTL_MILLIS: u64 = 3_653 * 24 * 3_600 * 1_000;
/// Longest time that a request may ask to be tried for.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// Takes requests in: checks them and turns them into the node's own types.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    /// UUID text of this node's cluster.
    cluster: String,
    limits: Limits,
    /// For requests that don't say how long their client waits.
    timeout: Duration,
}

/// What the request carries besides itself.
pub(crate) const fn context(request: &WireRequest) -> Option<&RequestContext> {
    match request {
        WireRequest::Get(request) => request.context.as_ref(),
        WireRequest::Put(request) => request.context.as_ref(),
        WireRequest::Delete(request) => request.context.as_ref(),
        WireRequest::Batch(request) => request.context.as_ref(),
        WireRequest::OpenSession(request) => request.context.as_ref(),
        WireRequest::Scan(request) => request.context.as_ref(),
    }
}

/// The place of [`context`].
pub(crate) const fn context_mut(request: &mut WireRequest) -> &mut Option<RequestContext> {
    match request {
        WireRequest::Get(request) => &mut request.context,
        WireRequest::Put(request) => &mut request.context,
        WireRequest::Delete(request) => &mut request.context,
        WireRequest::Batch(request) => &mut request.context,
        WireRequest::OpenSession(request) => &mut request.context,
        WireRequest::Scan(request) => &mut request.context,
    }
}

/// Whether the request changes keys, so that applying it twice matters.
pub(crate) const fn is_write(request: &WireRequest) -> bool {
    matches!(request, WireRequest::Put(_) | WireRequest::Delete(_) | WireRequest::Batch(_))
}

impl Intake {
    pub(crate) const fn new(cluster: String, limits: Limits, timeout: Duration) -> Self {
        Self { cluster, limits, timeout }
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How long the request may be tried for.
    pub(crate) fn timeout(&self, request: &WireRequest) -> Duration {
        self.time_limit(context(request).map_or(0, |context| context.timeout_millis))
    }

    /// How long is tried what its client waits `millis` for; 0: it has not said.
    pub(crate) fn time_limit(&self, millis: u32) -> Duration {
        match millis {
            0 => self.timeout,
            millis => Duration::from_millis(millis.into()).min(MAX_TIMEOUT),
        }
    }

    /// Whether the client means this cluster.
    pub(crate) fn check_cluster(&self, context: Option<&RequestContext>) -> Result<(), ErrorAnswer> {
        let meant = context.map_or("", |context| &context.cluster);
        if meant.is_empty() || meant.eq_ignore_ascii_case(&self.cluster) {
            return Ok(());
        }
        let own = &self.cluster;
        Err(ErrorAnswer::wrong_cluster(format!("this node is of cluster {own}, the request is for {meant:?}")))
    }

    /// The request in the node's own types; it shares the memory of keys and values.
    pub(crate) fn check(&self, request: &WireRequest) -> Result<Request, ErrorAnswer> {
        let context = context(request);
        self.check_cluster(context)?;
        Ok(match request {
            WireRequest::Get(GetRequest { context: _, key, confirmed }) => {
                self.limits.check_key(key)?;
                Request::Get { key: key.clone(), confirmed: *confirmed }
            }
            WireRequest::Put(put) => {
                let PutRequest { context: _, key, value, precondition, ttl_millis, return_previous } = put;
                let operation = self.put(key, value, precondition.as_ref(), *ttl_millis)?;
                write(context, vec![operation], *return_previous)?
            }
            WireRequest::Delete(delete) => {
                let DeleteRequest { context: _, key, precondition, return_previous } = delete;
                write(context, vec![self.delete(key, precondition.as_ref())?], *return_previous)?
            }
            WireRequest::Batch(batch) => write(context, self.batch(batch)?, false)?,
            WireRequest::OpenSession(OpenSessionRequest { context: _, key }) => {
                self.limits.check_key(key)?;
                Request::OpenSession { key: key.clone() }
            }
            WireRequest::Scan(scan) => Request::Scan(self.scan(scan)?),
        })
    }

    fn put(
        &self,
        key: &Bytes,
        value: &Bytes,
        precondition: Option<&Precondition>,
        ttl_millis: u64,
    ) -> Result<(Operation, u64), ErrorAnswer> {
        self.limits.check_key(key)?;
        let (length, bound) = (value.len(), self.limits.value_bytes);
        if length > bound {
            return Err(ErrorAnswer::invalid(format!("the value has {length} bytes: at most {bound} are allowed")));
        }
        if ttl_millis > MAX_TTL_MILLIS {
            let text = format!("the time to live is {ttl_millis} ms: at most {MAX_TTL_MILLIS} (10 years) are allowed");
            return Err(ErrorAnswer::invalid(text));
        }
        Ok((expecting(Operation::put(key.clone(), value.clone()), precondition), ttl_millis))
    }

    fn delete(&self, key: &Bytes, precondition: Option<&Precondition>) -> Result<(Operation, u64), ErrorAnswer> {
        self.limits.check_key(key)?;
        Ok((expecting(Operation::delete(key.clone()), precondition), 0))
    }

    fn batch(&self, batch: &BatchRequest) -> Result<Vec<(Operation, u64)>, ErrorAnswer> {
        let operations = &batch.operations;
        let (count, bound) = (operations.len(), self.limits.batch_operations);
        if operations.is_empty() {
            return Err(ErrorAnswer::invalid("the batch is empty: give at least one operation"));
        }
        if count > bound {
            return Err(ErrorAnswer::invalid(format!("the batch has {count} operations: at most {bound} are allowed")));
        }
        let mut checked = Vec::with_capacity(count);
        let mut keys = HashSet::with_capacity(count);
        let mut bytes = 0;
        for (at, BatchOperation { operation }) in operations.iter().enumerate() {
            let (key, operation) = match operation {
                Some(WireOperation::Put(PutOperation { key, value, precondition, ttl_millis })) => {
                    bytes += value.len();
                    (key, self.put(key, value, precondition.as_ref(), *ttl_millis))
                }
                Some(WireOperation::Delete(DeleteOperation { key, precondition })) => {
                    (key, self.delete(key, precondition.as_ref()))
                }
                Some(WireOperation::Check(CheckOperation { key, expected_revision })) => {
                    let check =
                        Operation { key: key.clone(), expected_revision: Some(*expected_revision), change: None };
                    (key, self.limits.check_key(key).map(|()| (check, 0)).map_err(ErrorAnswer::from))
                }
                None => return Err(ErrorAnswer::invalid(format!("operation {at} of the batch is of an unknown kind"))),
            };
            let operation = operation
                .map_err(|error| ErrorAnswer::invalid(format!("operation {at} of the batch: {}", error.message())))?;
            if !keys.insert(key) {
                let key = key.escape_ascii();
                let text = format!("operation {at} of the batch is on {key} again: one operation a key is allowed");
                return Err(ErrorAnswer::invalid(text));
            }
            bytes += key.len();
            checked.push(operation);
        }
        let bound = self.limits.batch_bytes;
        if bytes > bound {
            return Err(ErrorAnswer::invalid(format!("the batch has {bytes} bytes: at most {bound} are allowed")));
        }
        Ok(checked)
    }

    fn scan(&self, scan: &ScanRequest) -> Result<PageRequest, ErrorAnswer> {
        let Remainder { range, limit } = Remainder::of(scan, &self.limits)?;
        let bound = self.limits.scan_page_keys;
        let page_keys = match usize::try_from(scan.page_keys).unwrap_or(usize::MAX) {
            0 => bound,
            keys if keys <= bound => keys,
            keys => return Err(ErrorAnswer::invalid(format!("page_keys is {keys}: at most {bound} are allowed"))),
        };
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(PageRequest {
            range,
            reverse: scan.reverse,
            max_keys: page_keys.min(limit),
            max_bytes: self.limits.scan_page_bytes,
            keys_only: scan.keys_only,
            confirmed: scan.confirmed,
        })
    }
}

fn expecting(operation: Operation, precondition: Option<&Precondition>) -> Operation {
    match precondition {
        Some(Precondition { expected_revision }) => operation.expecting(*expected_revision),
        None => operation,
    }
}

fn write(
    context: Option<&RequestContext>,
    operations: Vec<(Operation, u64)>,
    return_previous: bool,
) -> Result<Request, ErrorAnswer> {
    Ok(Request::Write(ClientWrite { request: request_id(context)?, operations, return_previous }))
}

fn request_id(context: Option<&RequestContext>) -> Result<Option<RequestId>, ErrorAnswer> {
    let Some(RequestContext { session, request, lowest_unanswered, .. }) = context else { return Ok(None) };
    if session.is_empty() {
        return Ok(None);
    }
    let Some(session) = SessionId::from_bytes(session) else {
        let (length, expected) = (session.len(), SessionId::BYTES);
        let text = format!("the session has {length} bytes, not {expected}: give what OpenSession answered");
        return Err(ErrorAnswer::invalid(text));
    };
    let (number, lowest_unanswered) = (*request, *lowest_unanswered);
    if number == 0 {
        return Err(ErrorAnswer::invalid("the request's number in its session is 0: count from 1"));
    }
    if lowest_unanswered > number {
        let text =
            format!("lowest_unanswered is {lowest_unanswered}: it can't be above the request's own number {number}");
        return Err(ErrorAnswer::invalid(text));
    }
    Ok(Some(RequestId { session, number, lowest_unanswered }))
}

#[cfg(test)]
mod tests;
