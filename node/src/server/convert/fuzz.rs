use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use kv_proto::v1::{PipelineRequest, pipeline_request::Request as WireRequest};
use kv_types::{Change, Command, Limits, Operation, Write};
use prost::Message as _;

use super::{
    requests::{Intake, MAX_TTL_MILLIS},
    resume::Remainder,
};
use crate::driver::request::{ClientWrite, PageRequest, Request};

/// So low that short inputs break them.
const LIMITS: Limits = Limits {
    key_bytes: 8,
    value_bytes: 16,
    batch_bytes: 40,
    batch_operations: 4,
    scan_page_keys: 10,
    scan_page_bytes: 100,
    sessions: 2,
    session_results: 2,
};

/// A request of a client. What is taken keeps to every limit, and a write can be read out of the log again.
pub fn client_request(bytes: &[u8]) -> bool {
    let Ok(PipelineRequest { request: Some(wire), .. }) = PipelineRequest::decode(Bytes::copy_from_slice(bytes)) else {
        return false;
    };
    let intake = Intake::new("cluster".into(), LIMITS, Duration::from_secs(5));
    assert!(intake.timeout(&wire) <= Duration::from_secs(60));
    let Ok(request) = intake.check(&wire) else { return false };
    match request {
        Request::Get { key, .. } | Request::OpenSession { key } => check_key(&key),
        Request::Write(write) => check_write(write),
        Request::Scan(page) => check_page(&wire, page),
    }
    true
}

fn check_key(key: &Bytes) {
    assert!((1..=LIMITS.key_bytes).contains(&key.len()), "a key of {} bytes was taken", key.len());
}

fn check_write(ClientWrite { request, operations, return_previous }: ClientWrite) {
    assert!((1..=LIMITS.batch_operations).contains(&operations.len()), "{operations:?}");
    let mut bytes = 0;
    for (Operation { key, change, .. }, ttl_millis) in &operations {
        check_key(key);
        assert!(*ttl_millis <= MAX_TTL_MILLIS);
        bytes += key.len();
        if let Some(Change::Put(put)) = change {
            assert!(put.value.len() <= LIMITS.value_bytes);
            bytes += put.value.len();
        }
    }
    assert!(bytes <= LIMITS.batch_bytes, "{bytes} bytes were taken");
    let keys: BTreeSet<_> = operations.iter().map(|(operation, _)| &operation.key).collect();
    assert_eq!(keys.len(), operations.len(), "a key is there twice");
    if let Some(request) = &request {
        assert!(request.number > 0 && request.lowest_unanswered <= request.number);
    }
    let operations = operations.into_iter().map(|(operation, _)| operation).collect();
    let command = Command::Write(Write { request, operations, return_previous });
    assert_eq!(Command::decode(command.encode()), Ok(command));
}

/// A page lies within the range that was asked for, and what is left of it makes a token that says so.
#[allow(clippy::expect_used, reason = "what fails is the finding")]
fn check_page(wire: &WireRequest, page: PageRequest) {
    let WireRequest::Scan(scan) = wire else { return assert!(matches!(wire, WireRequest::Scan(_))) };
    assert!(page.max_keys <= LIMITS.scan_page_keys && page.max_bytes <= LIMITS.scan_page_bytes);
    let mut whole = scan.clone();
    whole.resume = Bytes::new();
    let asked = Remainder::of(&whole, &LIMITS).expect("it was taken with a token too").range;
    assert_eq!(asked.intersection(&page.range), page.range, "{asked} was asked for");
    if page.range.is_empty() {
        return;
    }
    let left = Remainder::of(scan, &LIMITS).expect("it was taken");
    let resume = left.token(0, Some(page.range.clone()), scan.reverse);
    let again = Remainder::of(&kv_proto::v1::ScanRequest { resume, ..scan.clone() }, &LIMITS);
    assert_eq!(again.expect("it is a token of ours"), left);
}

#[cfg(test)]
mod tests {
    use kv_corpus::Seed;
    use kv_proto::v1::{
        BatchOperation, BatchRequest, CheckOperation, DeleteOperation, DeleteRequest, GetRequest, OpenSessionRequest,
        Precondition, PutOperation, PutRequest, RequestContext, ScanRequest, batch_operation::Operation as InBatch,
    };
    use kv_types::{EntryId, KeyRange, SessionId, ShardId};

    use super::*;

    fn context() -> Option<RequestContext> {
        let session = SessionId::opened_by(ShardId(3), EntryId::new(4, 5)).to_bytes();
        let session = Bytes::copy_from_slice(&session);
        Some(RequestContext { session, request: 3, lowest_unanswered: 2, ..RequestContext::default() })
    }

    #[test]
    fn damaged_requests_of_clients_are_refused_or_within_their_limits() {
        let precondition = Some(Precondition { expected_revision: 7 });
        let put = PutRequest {
            context: context(),
            key: "k".into(),
            value: "v".into(),
            precondition,
            ttl_millis: 9,
            return_previous: true,
        };
        let delete = DeleteRequest { context: context(), key: "k".into(), precondition, return_previous: false };
        let operations = [
            InBatch::Put(PutOperation { key: "a".into(), value: "v".into(), precondition, ttl_millis: 1 }),
            InBatch::Delete(DeleteOperation { key: "b".into(), precondition: None }),
            InBatch::Check(CheckOperation { key: "c".into(), expected_revision: 0 }),
        ];
        let operations = operations.map(|operation| BatchOperation { operation: Some(operation) }).into();
        let scan =
            ScanRequest { page_keys: 10, limit: 20, start: "a".into(), end: "z".into(), ..ScanRequest::default() };
        let left = Remainder::of(&scan, &LIMITS).expect("it is within the limits");
        let resume = left.token(5, Some(KeyRange { start: "k".into(), end: Some("z".into()) }), false);
        let requests = [
            WireRequest::Put(put),
            WireRequest::Delete(delete),
            WireRequest::Batch(BatchRequest { context: context(), operations }),
            WireRequest::OpenSession(OpenSessionRequest { key: "k".into(), ..OpenSessionRequest::default() }),
            WireRequest::Get(GetRequest { key: "key".into(), ..GetRequest::default() }),
            WireRequest::Scan(ScanRequest { prefix: "p".into(), reverse: true, ..ScanRequest::default() }),
            WireRequest::Scan(ScanRequest { resume, ..scan.clone() }),
            WireRequest::Scan(scan),
        ];
        let seed = |request| PipelineRequest { request: Some(request), ..PipelineRequest::default() }.encode_to_vec();
        let seeds = requests.map(|request| Seed::from(seed(request)));
        kv_corpus::check("client_request", &seeds, client_request);
    }
}
