use bytes::Bytes;
use kv_replication::apply::{Change, Sessions};
use kv_storage::{
    Batch, Space, Table,
    rows::{self, ValueRow},
    table::MemoryTable,
};
use kv_types::ShardId;
use prost::Message as _;

use super::{decode_result, decode_value, encode_result, load_sessions, write_session_change};

const SHARD: ShardId = ShardId(5);
const SPACE: Space = Space(9);

/// What the table keeps under a key: a kind, and a value, a result, or a whole duplicate table. It survives its encoding.
pub fn table_value(bytes: &[u8]) -> bool {
    let Some((kind, row)) = bytes.split_first() else { return false };
    match kind % 3 {
        0 => value(row),
        1 => result(row),
        _ => sessions(row),
    }
}

fn value(row: &[u8]) -> bool {
    let Ok(value) = decode_value(Bytes::copy_from_slice(row)) else { return false };
    let (content, revision, expires_at_millis) = (value.value.clone(), value.revision, value.expires_at_millis);
    let again = ValueRow { value: content, revision, expires_at_millis }.encode_to_vec();
    assert!(again.len() <= row.len(), "{value:?} has grown");
    assert!(decode_value(again.into()).is_ok_and(|twice| twice == value), "{value:?}");
    true
}

fn result(row: &[u8]) -> bool {
    let Ok(result) = decode_result(Bytes::copy_from_slice(row)) else { return false };
    let again = encode_result(&result);
    assert!(again.len() <= row.len(), "{result:?} has grown");
    assert!(decode_result(again.into()).is_ok_and(|twice| twice == result), "{result:?}");
    true
}

/// Rows behind a shard's sessions and results: kind, length and rest of the key, length and bytes of the value.
#[allow(clippy::expect_used, reason = "what fails is the finding")]
fn sessions(mut bytes: &[u8]) -> bool {
    let (sessions, results) = (rows::session_range(SPACE, SHARD).start, rows::result_range(SPACE, SHARD, None).start);
    let mut batch = Batch::default();
    while let Some(([kind, key, value], rest)) = bytes.split_first_chunk() {
        let (key, rest) = rest.split_at(rest.len().min(usize::from(*key)));
        let (value, rest) = rest.split_at(rest.len().min(usize::from(*value)));
        let start = if kind & 1 == 0 { &sessions } else { &results };
        batch.put([start, key].concat(), value.to_vec());
        bytes = rest;
    }
    let count = batch.len();
    let Ok(loaded) = load(batch) else { return false };
    assert!(loaded.len() <= count);
    // A split copies them.
    let mut copy = Batch::default();
    for change in loaded.copy() {
        assert!(matches!(change, Change::OpenSession(_) | Change::PutResult { .. }));
        write_session_change(SPACE, SHARD, &change, &mut copy);
    }
    let copied = load(copy).expect("what was written can be read");
    assert_eq!(copied.copy(), loaded.copy());
    true
}

fn load(batch: Batch) -> Result<Sessions, kv_storage::TableError> {
    let table = MemoryTable::default();
    table.write(batch)?;
    load_sessions(&table, SPACE, SHARD)
}

/// A result as a table keeps it.
#[cfg(test)]
pub(in crate::driver) fn result_row() -> Vec<u8> {
    use kv_types::{Previous, StoredOutcome, StoredPrevious};

    let previous = Previous { value: "old".into(), revision: 3, expires_at_millis: 99 };
    let previous = vec![StoredPrevious { previous: Some(previous) }, StoredPrevious { previous: None }];
    let outcome = StoredOutcome { revision: 9, existed: 1, previous, ..StoredOutcome::default() };
    encode_result(&kv_replication::apply::SessionResult { outcome, used: 9, floor: 2 })
}

#[cfg(test)]
mod tests {
    use kv_corpus::Seed;
    use kv_types::{EntryId, SessionId};

    use super::*;

    #[test]
    fn damaged_values_of_the_table_are_refused_or_understood() {
        let value = ValueRow { value: "value".into(), revision: 9, expires_at_millis: 99 }.encode_to_vec();
        let result = result_row();
        let session = SessionId::opened_by(ShardId(3), EntryId::new(1, 2)).to_bytes();
        let mut duplicates = vec![0, session.len() as u8, 0];
        duplicates.extend(session);
        for number in [3_u64, 4] {
            duplicates.extend([1, session.len() as u8 + 8, result.len() as u8]);
            duplicates.extend(session.iter().chain(&number.to_be_bytes()).chain(&result));
        }
        let seeds: Vec<_> = [value, result, duplicates]
            .into_iter()
            .enumerate()
            .map(|(kind, row)| Seed::from([&[kind as u8], row.as_slice()].concat()))
            .collect();
        kv_corpus::check("table_value", &seeds, table_value);
    }
}
