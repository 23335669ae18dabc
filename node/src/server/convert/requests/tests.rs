use kv_proto::v1::ErrorReason;

use super::*;

const CLUSTER: &str = "6d2f1f0e-8a57-4a06-9d53-0a1f7e7f2c11";

fn intake() -> Intake {
    Intake::new(CLUSTER.into(), Limits::default(), Duration::from_secs(5))
}

fn put(key: &[u8], value_bytes: usize) -> PutRequest {
    PutRequest { key: Bytes::copy_from_slice(key), value: vec![0; value_bytes].into(), ..PutRequest::default() }
}

fn batch(operations: Vec<WireOperation>) -> WireRequest {
    let operations = operations.into_iter().map(|operation| BatchOperation { operation: Some(operation) }).collect();
    WireRequest::Batch(BatchRequest { context: None, operations })
}

fn put_operation(key: String, value_bytes: usize) -> WireOperation {
    WireOperation::Put(PutOperation { key: key.into(), value: vec![0; value_bytes].into(), ..PutOperation::default() })
}

fn refusal(request: &WireRequest) -> String {
    let error = intake().check(request).expect_err("it breaks a limit");
    assert_eq!(error.reason(), ErrorReason::Invalid);
    assert!(error.is_definite());
    error.message().to_owned()
}

#[test]
fn limits_are_named_with_value_and_bound() {
    let long_key = vec![b'k'; 4097];
    let cases = [
        (WireRequest::Get(GetRequest::default()), "the key is empty"),
        (WireRequest::Put(put(&long_key, 1)), "4097 bytes: at most 4096"),
        (WireRequest::Put(put(b"k", (1 << 20) + 1)), "1048577 bytes: at most 1048576"),
        (WireRequest::Put(PutRequest { ttl_millis: MAX_TTL_MILLIS + 1, ..put(b"k", 1) }), "10 years"),
        (WireRequest::Delete(DeleteRequest::default()), "the key is empty"),
        (WireRequest::OpenSession(OpenSessionRequest::default()), "the key is empty"),
        (WireRequest::Scan(ScanRequest { page_keys: 1001, ..ScanRequest::default() }), "at most 1000"),
        (batch(Vec::new()), "empty"),
        (batch((0..1025).map(|n| put_operation(n.to_string(), 1)).collect()), "1025 operations: at most 1024"),
        (batch((0..5).map(|n| put_operation(n.to_string(), 1 << 20)).collect()), "at most 4194304"),
        (batch(vec![put_operation("a".into(), 1), put_operation("a".into(), 1)]), "one operation a key"),
        (batch(vec![put_operation("a".into(), 1), put_operation(String::new(), 1)]), "operation 1"),
    ];
    for (request, expected) in cases {
        let message = refusal(&request);
        assert!(message.contains(expected), "{message:?} lacks {expected:?}");
    }
}

#[test]
fn what_is_exactly_at_the_bounds_is_taken() {
    let key = vec![b'k'; 4096];
    let request = WireRequest::Put(PutRequest { ttl_millis: MAX_TTL_MILLIS, ..put(&key, 1 << 20) });
    intake().check(&request).expect("all at the bounds");
    intake().check(&batch((0..1024).map(|n| put_operation(n.to_string(), 1)).collect())).expect("1,024 operations");
}

#[test]
fn another_cluster_is_refused_and_none_means_this_one() {
    let with = |cluster: &str| {
        let context = RequestContext { cluster: cluster.into(), ..RequestContext::default() };
        WireRequest::Get(GetRequest { context: Some(context), key: "k".into(), confirmed: false })
    };
    for cluster in ["", CLUSTER, &CLUSTER.to_uppercase()] {
        intake().check(&with(cluster)).expect("this cluster");
    }
    let error = intake().check(&with("other")).expect_err("another cluster");
    assert_eq!(error.reason(), ErrorReason::WrongCluster);
}

#[test]
fn a_session_needs_its_length_and_a_number() {
    let session = SessionId::opened_by(kv_types::ShardId(3), kv_types::EntryId::new(1, 2));
    let with = |context: RequestContext| WireRequest::Put(PutRequest { context: Some(context), ..put(b"k", 1) });
    let good = RequestContext {
        session: Bytes::copy_from_slice(&session.to_bytes()),
        request: 7,
        lowest_unanswered: 5,
        ..RequestContext::default()
    };
    let Ok(Request::Write(write)) = intake().check(&with(good.clone())) else { panic!("a write") };
    assert_eq!(write.request, Some(RequestId { session, number: 7, lowest_unanswered: 5 }));
    assert!(refusal(&with(RequestContext { session: "short".into(), ..good.clone() })).contains("24"));
    assert!(refusal(&with(RequestContext { request: 0, ..good.clone() })).contains("count from 1"));
    assert!(refusal(&with(RequestContext { lowest_unanswered: 8, ..good })).contains("own number 7"));
}

#[test]
fn a_batch_keeps_its_operations_in_order() {
    let check = WireOperation::Check(CheckOperation { key: "c".into(), expected_revision: 4 });
    let delete = WireOperation::Delete(DeleteOperation {
        key: "b".into(),
        precondition: Some(Precondition { expected_revision: 0 }),
    });
    let request = batch(vec![put_operation("a".into(), 1), delete, check]);
    let Ok(Request::Write(write)) = intake().check(&request) else { panic!("a write") };
    let expected = [
        Operation::put("a", vec![0]),
        Operation::delete("b").expecting(0),
        Operation { key: "c".into(), expected_revision: Some(4), change: None },
    ];
    assert_eq!(write.operations, expected.map(|operation| (operation, 0)));
}

#[test]
fn a_request_waits_as_long_as_its_client_but_within_a_bound() {
    let with = |timeout_millis| {
        let context = RequestContext { timeout_millis, ..RequestContext::default() };
        WireRequest::Get(GetRequest { context: Some(context), key: "k".into(), confirmed: false })
    };
    for (millis, expected) in [(0, 5_000), (20, 20), (u32::MAX, 60_000)] {
        assert_eq!(intake().timeout(&with(millis)), Duration::from_millis(expected));
    }
}

#[test]
fn a_pages_size_is_that_of_the_smallest_bound() {
    let page = |limit, page_keys| {
        let scan = WireRequest::Scan(ScanRequest { limit, page_keys, ..ScanRequest::default() });
        match intake().check(&scan) {
            Ok(Request::Scan(page)) => page.max_keys,
            other => panic!("not a scan: {other:?}"),
        }
    };
    assert_eq!([page(0, 0), page(0, 10), page(3, 10), page(30, 10)], [1000, 10, 3, 10]);
}
