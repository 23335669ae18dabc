use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use kv_proto::v1::{
    BatchResponse, DeleteResponse, ErrorInfo, ErrorReason, GetResponse, KeyValue, OpenSessionResponse, Precondition,
    PutResponse, RequestContext, ScanPage, ScanRequest, WatchEvent, batch_operation::Operation,
    pipeline_request::Request, pipeline_response::Response, watch_event::Kind,
};

use super::refusal;

/// What the nodes of a cluster keep: one shard, with the exactly-once rules of the real one.
#[derive(Default)]
pub struct Data {
    pub keys: BTreeMap<Bytes, KeyValue>,
    pub revision: u64,
    pub sessions: HashMap<Bytes, HashMap<u64, Response>>,
    /// Numbers below are forgotten, by session.
    pub floors: HashMap<Bytes, u64>,
    pub sessions_opened: u64,
    /// Writes that were applied, repeats not counted.
    pub applied: u64,
    pub changes: Vec<WatchEvent>,
}

impl Data {
    pub fn handle(&mut self, request: Request) -> Result<Response, ErrorInfo> {
        match request {
            Request::Get(request) => {
                let entry = self.keys.get(&request.key).cloned();
                Ok(Response::Get(GetResponse { entry, location: None }))
            }
            Request::Scan(request) => Ok(Response::Scan(self.scan(request))),
            Request::OpenSession(_) => {
                self.sessions_opened += 1;
                let session = Bytes::from(format!("session-{}", self.sessions_opened));
                self.sessions.insert(session.clone(), HashMap::new());
                Ok(Response::OpenSession(OpenSessionResponse { session, location: None }))
            }
            Request::Put(_) | Request::Delete(_) | Request::Batch(_) => self.write_once(request),
        }
    }

    fn write_once(&mut self, mut request: Request) -> Result<Response, ErrorInfo> {
        let context = match &mut request {
            Request::Put(request) => request.context.take(),
            Request::Delete(request) => request.context.take(),
            Request::Batch(request) => request.context.take(),
            _ => None,
        };
        let RequestContext { session, request: number, lowest_unanswered, .. } = context.unwrap_or_default();
        if session.is_empty() {
            return self.write(request);
        }
        let floor = self.floors.entry(session.clone()).or_default();
        *floor = lowest_unanswered.max(*floor);
        let floor = *floor;
        assert!(number >= 1 && lowest_unanswered <= number, "number {number}, lowest {lowest_unanswered}");
        let Some(results) = self.sessions.get_mut(&session) else { return Err(refusal(ErrorReason::SessionExpired)) };
        results.retain(|number, _| *number >= floor);
        assert!(results.len() <= 1024, "a shard keeps 1,024 results of a session");
        if number < floor {
            return Err(refusal(ErrorReason::SessionExpired));
        }
        if let Some(result) = results.get(&number) {
            return match result.clone() {
                Response::Error(info) => Err(info),
                response => Ok(response),
            };
        }
        let result = self.write(request);
        let kept = result.clone().unwrap_or_else(Response::Error);
        if let Some(results) = self.sessions.get_mut(&session) {
            results.insert(number, kept);
        }
        result
    }

    fn write(&mut self, request: Request) -> Result<Response, ErrorInfo> {
        let revision = self.revision + 1;
        let response = match request {
            Request::Put(put) => {
                self.expect(&put.key, put.precondition)?;
                let previous = self.put(put.key, put.value, revision).filter(|_| put.return_previous);
                Response::Put(PutResponse { revision, previous, location: None })
            }
            Request::Delete(delete) => {
                self.expect(&delete.key, delete.precondition)?;
                let old = self.delete(delete.key, revision);
                let existed = old.is_some();
                let previous = old.filter(|_| delete.return_previous);
                Response::Delete(DeleteResponse { existed, revision, previous, location: None })
            }
            Request::Batch(batch) => {
                let operations: Vec<_> = batch.operations.into_iter().filter_map(|each| each.operation).collect();
                for operation in &operations {
                    match operation {
                        Operation::Put(put) => self.expect(&put.key, put.precondition)?,
                        Operation::Delete(delete) => self.expect(&delete.key, delete.precondition)?,
                        Operation::Check(check) => {
                            let expected_revision = check.expected_revision;
                            self.expect(&check.key, Some(Precondition { expected_revision }))?;
                        }
                    }
                }
                for operation in operations {
                    match operation {
                        Operation::Put(put) => drop(self.put(put.key, put.value, revision)),
                        Operation::Delete(delete) => drop(self.delete(delete.key, revision)),
                        Operation::Check(_) => {}
                    }
                }
                Response::Batch(BatchResponse { revision, location: None })
            }
            other => panic!("not a write: {other:?}"),
        };
        self.revision = revision;
        self.applied += 1;
        Ok(response)
    }

    fn expect(&self, key: &Bytes, precondition: Option<Precondition>) -> Result<(), ErrorInfo> {
        let actual_revision = self.keys.get(key).map_or(0, |entry| entry.revision);
        match precondition {
            Some(Precondition { expected_revision }) if expected_revision != actual_revision => {
                Err(ErrorInfo { actual_revision, ..refusal(ErrorReason::RevisionMismatch) })
            }
            _ => Ok(()),
        }
    }

    fn put(&mut self, key: Bytes, value: Bytes, revision: u64) -> Option<KeyValue> {
        let entry = KeyValue { key: key.clone(), value, revision, expires_at_millis: 0 };
        self.changes.push(WatchEvent { kind: Kind::Put.into(), entry: Some(entry.clone()) });
        self.keys.insert(key, entry)
    }

    fn delete(&mut self, key: Bytes, revision: u64) -> Option<KeyValue> {
        let entry = KeyValue { key: key.clone(), revision, ..KeyValue::default() };
        self.changes.push(WatchEvent { kind: Kind::Delete.into(), entry: Some(entry) });
        self.keys.remove(&key)
    }

    /// Its token is the last key of the page.
    fn scan(&self, request: ScanRequest) -> ScanPage {
        let ScanRequest { start, end, prefix, limit, resume, page_keys, .. } = request;
        let inside = |key: &&Bytes| {
            key.starts_with(&prefix)
                && (prefix.is_empty() || start.is_empty())
                && **key >= start
                && (end.is_empty() || **key < end)
                && (resume.is_empty() || **key > resume)
        };
        let found: Vec<_> = self.keys.keys().filter(inside).collect();
        let most = if page_keys == 0 { 1000 } else { page_keys as usize };
        let most = if limit == 0 { most } else { most.min(limit as usize) };
        let page = &found[..found.len().min(most)];
        let entries: Vec<_> = page.iter().map(|key| self.keys[*key].clone()).collect();
        let resume = if page.len() < found.len() { page[page.len() - 1].clone() } else { Bytes::new() };
        ScanPage { entries, shard: 1, revision: self.revision, resume }
    }
}
