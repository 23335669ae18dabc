//! Node → wire.

use bytes::Bytes;
use kv_proto::v1::{
    BatchResponse, DeleteResponse, GetResponse, KeyValue, Location, OpenSessionResponse, PutResponse, ScanPage,
    pipeline_request::Request as WireRequest, pipeline_response::Response as WireResponse,
};
use kv_replication::apply::Value;
use kv_types::{Limits, Outcome, Previous};

use super::resume::Remainder;
use crate::{
    driver::request::{Failure, Page, Reply, Route},
    server::status::ErrorAnswer,
};

/// The answer to `request`, which has passed the checks before.
pub(crate) fn response(request: &WireRequest, reply: Reply, limits: &Limits) -> Result<WireResponse, ErrorAnswer> {
    let location = None;
    Ok(match (request, reply) {
        (WireRequest::Get(get), Reply::Value(value)) => {
            let entry = value.map(|value| key_value(get.key.clone(), value));
            WireResponse::Get(GetResponse { entry, location })
        }
        (WireRequest::Put(put), Reply::Written(outcome)) => {
            let (revision, previous, _) = applied(outcome)?;
            let previous = previous.map(|previous| replaced(put.key.clone(), previous));
            WireResponse::Put(PutResponse { revision, previous, location })
        }
        (WireRequest::Delete(delete), Reply::Written(outcome)) => {
            let (revision, previous, existed) = applied(outcome)?;
            let previous = previous.map(|previous| replaced(delete.key.clone(), previous));
            WireResponse::Delete(DeleteResponse { existed: existed > 0, revision, previous, location })
        }
        (WireRequest::Batch(_), Reply::Written(outcome)) => {
            let (revision, ..) = applied(outcome)?;
            WireResponse::Batch(BatchResponse { revision, location })
        }
        (WireRequest::OpenSession(_), Reply::Session(session)) => {
            let session = Bytes::copy_from_slice(&session.to_bytes());
            WireResponse::OpenSession(OpenSessionResponse { session, location })
        }
        (WireRequest::Scan(scan), Reply::Page(page)) => {
            let remainder = Remainder::of(scan, limits)?;
            let Page { entries, shard, revision, rest } = page;
            let resume = remainder.token(entries.len(), rest, scan.reverse);
            let entries = entries.into_iter().map(|(key, value)| key_value(key, value)).collect();
            WireResponse::Scan(ScanPage { entries, shard: shard.0, revision: revision.0, resume })
        }
        (_, reply) => {
            return Err(ErrorAnswer::fault(format!("the answer is of another kind than the request: {reply:?}")));
        }
    })
}

fn applied(outcome: Outcome) -> Result<(u64, Option<Previous>, u32), ErrorAnswer> {
    match outcome {
        Outcome::Applied { revision, previous, existed } => {
            Ok((revision.0, previous.into_iter().next().flatten(), existed))
        }
        Outcome::RevisionMismatch { key, actual } => Err(Failure::Mismatch { key, actual }.into()),
        Outcome::SessionExpired => Err(Failure::SessionExpired.into()),
        Outcome::SessionOpened(_) | Outcome::Nothing => Err(ErrorAnswer::fault(format!("a write came to {outcome:?}"))),
    }
}

fn key_value(key: Bytes, value: Value) -> KeyValue {
    let Value { value, revision, expires_at_millis } = value;
    KeyValue { key, value, revision, expires_at_millis }
}

fn replaced(key: Bytes, previous: Previous) -> KeyValue {
    let Previous { value, revision, expires_at_millis } = previous;
    KeyValue { key, value, revision, expires_at_millis }
}

/// Where a shard is served; `None` while its primary's node is not known.
pub(crate) fn location(route: &Route) -> Option<Location> {
    let (node, address) = route.primary.as_ref()?;
    let config = &route.config;
    Some(Location {
        shard: route.shard.0,
        start: config.range.start.clone(),
        end: config.range.end.clone().unwrap_or_default(),
        epoch: config.epoch.0,
        node: node.to_string(),
        address: address.clone(),
    })
}

/// Adds where the key is served, unless a node further on has done so.
pub(crate) fn set_location(response: &mut WireResponse, location: Option<Location>) {
    let place = match response {
        WireResponse::Get(answer) => &mut answer.location,
        WireResponse::Put(answer) => &mut answer.location,
        WireResponse::Delete(answer) => &mut answer.location,
        WireResponse::Batch(answer) => &mut answer.location,
        WireResponse::OpenSession(answer) => &mut answer.location,
        WireResponse::Scan(_) | WireResponse::Error(_) => return,
    };
    if place.is_none() {
        *place = location;
    }
}

#[cfg(test)]
mod tests {
    use kv_proto::v1::{DeleteRequest, ErrorReason, GetRequest, ScanRequest};
    use kv_types::{KeyRange, Seq, ShardId};

    use super::*;

    fn value(revision: u64) -> Value {
        Value { value: "v".into(), revision, expires_at_millis: 9 }
    }

    #[test]
    fn an_absent_key_has_no_entry_and_a_present_one_its_revision() {
        let limits = Limits::default();
        let get = WireRequest::Get(GetRequest { key: "k".into(), ..GetRequest::default() });
        let Ok(WireResponse::Get(absent)) = response(&get, Reply::Value(None), &limits) else { panic!("a get") };
        assert_eq!(absent.entry, None);
        let Ok(WireResponse::Get(present)) = response(&get, Reply::Value(Some(value(4))), &limits) else {
            panic!("a get")
        };
        let expected = KeyValue { key: "k".into(), value: "v".into(), revision: 4, expires_at_millis: 9 };
        assert_eq!(present.entry, Some(expected));
    }

    #[test]
    fn a_delete_tells_whether_the_key_existed() {
        let delete = WireRequest::Delete(DeleteRequest { key: "k".into(), ..DeleteRequest::default() });
        for existed in [0, 1] {
            let outcome = Outcome::Applied { revision: Seq(5), previous: Vec::new(), existed };
            let answer = response(&delete, Reply::Written(outcome), &Limits::default());
            let Ok(WireResponse::Delete(answer)) = answer else { panic!("a delete") };
            assert_eq!((answer.existed, answer.revision), (existed == 1, 5));
        }
    }

    #[test]
    fn a_page_carries_where_to_go_on_until_the_limit_is_reached() {
        let rest = Some(KeyRange { start: "m".into(), end: None });
        for (limit, goes_on) in [(0, true), (2, true), (1, false)] {
            let scan = WireRequest::Scan(ScanRequest { limit, ..ScanRequest::default() });
            let page =
                Page { entries: vec![("k".into(), value(1))], shard: ShardId(3), revision: Seq(8), rest: rest.clone() };
            let answer = response(&scan, Reply::Page(page), &Limits::default());
            let Ok(WireResponse::Scan(page)) = answer else { panic!("a page") };
            assert_eq!((page.shard, page.revision, !page.resume.is_empty()), (3, 8, goes_on));
        }
    }

    #[test]
    fn an_answer_of_another_kind_is_the_nodes_fault() {
        let get = WireRequest::Get(GetRequest::default());
        let outcome = Reply::Written(Outcome::Nothing);
        let error = response(&get, outcome, &Limits::default()).expect_err("of another kind");
        assert_eq!(error.reason(), ErrorReason::Fault);
    }
}
