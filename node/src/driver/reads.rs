//! Reads of the table by a primary whose lease holds.

use std::sync::Arc;

use kv_replication::apply::State as _;
use kv_storage::{Direction, TableError, rows};
use kv_types::KeyRange;

use super::{
    replica::{Replica, State},
    request::{Answer, Failure, Page, PageRequest, Reply, Request},
    shared::Shared,
    state_machine::{Keys, decode_value},
};

impl State {
    /// Reads the table now. The caller has just made sure that the replica may.
    pub(super) fn read(&mut self, shared: &Arc<Shared>, replica: &Arc<Replica>, request: &Request) -> Answer {
        let read = match request {
            Request::Get { key, .. } => {
                // A split may have taken the key away while the request waited.
                if !self.core.config().is_some_and(|config| config.range.contains(key)) {
                    return Err(Failure::NotHere);
                }
                let keys = Keys { table: &**replica.volume.volume.table(), space: self.space };
                keys.value(key).map(Reply::Value)
            }
            Request::Scan(page) => self.page(replica, page).map(Reply::Page),
            Request::Write(_) | Request::OpenSession { .. } => {
                return Err(Failure::Fault("a write was served as a read".into()));
            }
        };
        read.map_err(|error| {
            if matches!(error, TableError::Corrupt(_)) {
                self.broken = Some(error.to_string());
                replica.set_leads(false);
                shared.rebuild(replica, &error.to_string());
                return Failure::NotHere;
            }
            Failure::Fault(error.to_string())
        })
    }

    fn page(&self, replica: &Arc<Replica>, page: &PageRequest) -> Result<Page, TableError> {
        let PageRequest { range, reverse, max_keys, max_bytes, keys_only, .. } = page;
        let own = self.core.config().map_or_else(KeyRange::all, |config| config.range.clone());
        let part = own.intersection(range);
        let direction = if *reverse { Direction::Reverse } else { Direction::Forward };
        let table = replica.volume.volume.table();
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut rest = if *reverse {
            KeyRange { start: range.start.clone(), end: Some(part.start.clone()) }
        } else {
            let start = part.end.clone().unwrap_or_default();
            KeyRange { start, end: range.end.clone() }
        };
        // Nothing is left when this shard reaches to the range's end.
        let mut more = if *reverse { part.start > range.start } else { part.end != range.end };
        for row in table.scan(&rows::data_range(self.space, &part), direction) {
            let (row, value) = row?;
            let Some(key) = rows::user_key(&row) else { continue };
            let mut value = decode_value(value)?;
            if entries.len() == *max_keys || bytes >= *max_bytes {
                more = true;
                rest = if *reverse {
                    KeyRange { start: range.start.clone(), end: Some(after(&key)) }
                } else {
                    KeyRange { start: key, end: range.end.clone() }
                };
                break;
            }
            if *keys_only {
                value.value = bytes::Bytes::new();
            }
            bytes += key.len() + value.value.len();
            entries.push((key, value));
        }
        let rest = (more && !rest.is_empty()).then_some(rest);
        Ok(Page { entries, shard: replica.shard, revision: self.applied.seq, rest })
    }
}

/// The next key of all: as an exclusive end it includes `key`.
fn after(key: &[u8]) -> bytes::Bytes {
    let mut after = key.to_vec();
    after.push(0);
    after.into()
}
