use bytes::Bytes;
use kv_types::KeyRange;
use prost::Message as _;

use crate::rows;

/// A row of the table: length of its key, key, value. What its key says makes the same key again, in the range where it is
/// looked for; what its value says makes one that says the same and is no longer.
pub fn table_row(bytes: &[u8]) -> bool {
    let Some((len, rest)) = bytes.split_first() else { return false };
    let (key, value) = rest.split_at(rest.len().min(usize::from(*len)));
    let key = Bytes::copy_from_slice(key);
    let of_key = understood_key(&key);
    of_key | applied(value) | user_value(value)
}

fn understood_key(key: &Bytes) -> bool {
    let space = rows::space_of(key).unwrap_or_default();
    let mut found = 0;
    let mut is = |made: Bytes, range: KeyRange| {
        assert_eq!(made, key);
        assert!(range.contains(key), "{key:?} is not in {range}");
        found += 1;
    };
    if let Some(user_key) = rows::user_key(key) {
        is(rows::data_key(space, &user_key), rows::data_range(space, &KeyRange::all()));
    }
    if let Some((deadline, user_key)) = rows::parse_ttl_key(key) {
        is(rows::ttl_key(space, deadline, &user_key), rows::ttl_range(space, deadline));
    }
    if let Some(shard) = rows::parse_applied_key(key) {
        is(rows::applied_key(shard), rows::applied_range());
    }
    if let Some(session) = rows::parse_session(key) {
        // Both kinds lie behind the shard's number.
        let shard = kv_types::ShardId(key[9..17].iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
        match rows::parse_result_number(key) {
            Some(number) => {
                is(rows::result_key(space, shard, session, number), rows::result_range(space, shard, Some(session)));
            }
            None => is(rows::session_key(space, shard, session), rows::session_range(space, shard)),
        }
    }
    assert!(found <= 1, "{key:?} is of several kinds");
    found == 1
}

fn applied(value: &[u8]) -> bool {
    let Some((entry, space)) = rows::decode_applied(value) else { return false };
    let again = rows::encode_applied(entry, space.unwrap_or_default());
    assert_eq!(&again[..value.len()], value);
    true
}

fn user_value(value: &[u8]) -> bool {
    let Ok(row) = rows::ValueRow::decode(value) else { return false };
    let again = row.encode_to_vec();
    assert!(again.len() <= value.len(), "{row:?} has grown");
    assert_eq!(rows::ValueRow::decode(again.as_slice()), Ok(row));
    true
}

#[cfg(test)]
mod tests {
    use kv_corpus::Seed;
    use kv_types::{EntryId, SessionId, ShardId};

    use super::*;
    use crate::{Space, rows::ValueRow};

    #[test]
    fn damaged_rows_of_the_table_are_refused_or_understood() {
        let (shard, space, entry) = (ShardId(5), Space(7), EntryId::new(3, 4));
        let session = SessionId::opened_by(shard, entry);
        let value = ValueRow { value: "value".into(), revision: 9, expires_at_millis: 99 }.encode_to_vec();
        let applied = rows::encode_applied(entry, space);
        let rows = [
            (rows::data_key(space, b"key"), value.as_slice()),
            (rows::ttl_key(space, 99, b"key"), &[]),
            (rows::applied_key(shard), &applied),
            (rows::applied_key(shard), &applied[..16]),
            (rows::applied_key(shard), &applied[..24]),
            (rows::session_key(space, shard, session), &[]),
            (rows::result_key(space, shard, session, 42), &value),
        ];
        let row = |key: &[u8], value: &[u8]| [&[key.len() as u8], key, value].concat();
        let mut seeds: Vec<_> = rows.iter().map(|(key, value)| Seed::from(row(key, value))).collect();
        let longer = [&rows::session_key(space, shard, session)[..], &[0; 8]].concat();
        seeds.push(Seed::find("longer-session", row(&longer, &[])));
        kv_corpus::check("table_row", &seeds, table_row);
    }
}
