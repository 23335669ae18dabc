use std::collections::BTreeSet;

use bytes::{Buf as _, Bytes};
use kv_proto::v1::{SnapshotChunk, SnapshotTrailer};
use kv_storage::{Direction, Space, Table as _, rows, table::MemoryTable};
use kv_types::{KeyRange, Lineage, ShardId};
use prost::Message as _;

use super::{
    received::{Received, Taken},
    to_wire,
};
use crate::driver::state_machine::load_sessions;

const SHARD: ShardId = ShardId(5);
const SPACE: Space = Space(9);
const LINEAGE: Lineage = Lineage(1);

/// A snapshot: flags, and the chunks with their lengths. Whatever was sent, a copy gets rows of its own shard and space
/// only, and what it got is what it would send.
pub fn snapshot_chunks(bytes: &[u8]) -> bool {
    let Some((flags, chunks)) = bytes.split_first() else { return false };
    let mut chunks = Bytes::copy_from_slice(chunks);
    let table = MemoryTable::default();
    let mut received = Received::new(SHARD, SPACE, LINEAGE);
    let mut sent = Sent::default();
    while chunks.has_remaining() {
        let Ok(mut chunk) = SnapshotChunk::decode_length_delimited(&mut chunks) else { return false };
        sent.note(&mut chunk, flags & 1 != 0);
        let Ok(Taken { batch, end }) = received.take(chunk) else { return false };
        assert!(batch.len() as u64 <= 2 * sent.rows, "more rows than were sent");
        if table.write(batch).is_err() {
            // A key is longer than one may be.
            return false;
        }
        if end.is_some() {
            check(&table, &sent);
            return true;
        }
    }
    false
}

/// What has come by now.
#[derive(Default)]
struct Sent {
    keys: BTreeSet<Bytes>,
    rows: u64,
    checksum: u32,
}

impl Sent {
    /// With `sealed` the trailer agrees with the rows, so that a damaged one is not all that is ever seen.
    fn note(&mut self, chunk: &mut SnapshotChunk, sealed: bool) {
        for row in &chunk.rows {
            self.checksum = crc32c::crc32c_append(crc32c::crc32c_append(self.checksum, &row.key), &row.value);
            self.keys.insert(row.key.clone());
            self.rows += 1;
        }
        if let Some(trailer) = chunk.trailer.as_mut().filter(|_| sealed) {
            *trailer = SnapshotTrailer { rows: self.rows, checksum: self.checksum };
        }
    }
}

#[allow(clippy::expect_used, reason = "what fails is the finding")]
fn check(table: &MemoryTable, sent: &Sent) {
    let data = rows::data_range(SPACE, &KeyRange::all());
    let own = [data.clone(), rows::session_range(SPACE, SHARD), rows::result_range(SPACE, SHARD, None)];
    let mut found = BTreeSet::new();
    for row in table.scan(&KeyRange::all(), Direction::Forward) {
        let (key, _) = row.expect("memory can be read");
        if rows::ttl_range(SPACE, u64::MAX).contains(&key) {
            let (_, user_key) = rows::parse_ttl_key(&key).expect("it is a deadline");
            let of = table.get(&rows::data_key(SPACE, &user_key)).expect("memory can be read");
            assert!(of.is_some(), "a deadline without a row: {key:?}");
            continue;
        }
        assert!(own.iter().any(|range| range.contains(&key)), "{key:?} is not of this copy");
        found.insert(to_wire(&key).expect("each row has its key on the wire"));
    }
    assert_eq!(found, sent.keys);
    // It may be refused: the copy is made anew then.
    let _ = load_sessions(table, SPACE, SHARD);
}

#[cfg(test)]
mod tests {
    use kv_corpus::Seed;
    use kv_proto::v1::{SnapshotHeader, SnapshotRow};
    use kv_storage::rows::ValueRow;
    use kv_types::{EntryId, EpochHistory, Seq, SessionId};

    use super::{super::FORMAT, *};
    use crate::driver::peers::wire;

    #[test]
    fn damaged_snapshots_are_refused_or_give_rows_of_their_copy() {
        let history = EpochHistory::new(vec![EntryId::new(1, 1), EntryId::new(3, 5)], Seq(9)).expect("ascends");
        let header = SnapshotHeader {
            format_version: FORMAT,
            epoch: 3,
            lineage: LINEAGE.0,
            base_epoch: 3,
            base_seq: 9,
            history: Some(wire::encode_history(&history)),
        };
        let session = SessionId::opened_by(SHARD, EntryId::new(1, 2));
        let value = ValueRow { value: "value".into(), revision: 9, expires_at_millis: 99 }.encode_to_vec();
        let row = |key: Bytes, value: &[u8]| SnapshotRow {
            key: to_wire(&key).expect("it is sent"),
            value: Bytes::copy_from_slice(value),
        };
        let first = SnapshotChunk {
            header: Some(header),
            rows: vec![row(rows::data_key(SPACE, b"a"), &value), row(rows::data_key(SPACE, b"b"), &value)],
            trailer: None,
        };
        let result = crate::driver::state_machine::fuzz::result_row();
        let last = SnapshotChunk {
            header: None,
            rows: vec![
                row(rows::session_key(SPACE, SHARD, session), &[]),
                row(rows::result_key(SPACE, SHARD, session, 3), &result),
            ],
            trailer: Some(SnapshotTrailer::default()),
        };
        let mut empty = first.clone();
        empty.rows.clear();
        empty.trailer = Some(SnapshotTrailer::default());
        let seed = |chunks: &[&SnapshotChunk]| {
            let mut bytes = vec![1];
            bytes.extend(chunks.iter().flat_map(|chunk| chunk.encode_length_delimited_to_vec()));
            Seed::from(bytes)
        };
        kv_corpus::check("snapshot_chunks", &[seed(&[&first, &last]), seed(&[&empty])], snapshot_chunks);
    }
}
