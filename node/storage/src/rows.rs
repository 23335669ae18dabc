//! How rows are laid out in the table: `space | kind | rest`, so that a shard's rows lie together and in the order of
//! their keys.
//!
//! A *space* groups the rows of a shard and of all shards split from it: a split copies no rows. Space 0 is that of rows
//! which belong to one shard alone: `0 | kind | shard | rest`. Numbers are big-endian.

use bytes::{BufMut as _, Bytes, BytesMut};
use kv_types::{EntryId, KeyRange, SessionId, ShardId};
use serde::{Deserialize, Serialize};

/// A group of rows; see the module. 0 is reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Space(pub u64);

/// What is stored under a user's key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ValueRow {
    /// The value.
    #[prost(bytes = "bytes", tag = "1")]
    pub value: Bytes,
    /// Seq of the entry that wrote it.
    #[prost(uint64, tag = "2")]
    pub revision: u64,
    /// Deadline in milliseconds since 1970; 0: none.
    #[prost(uint64, tag = "3")]
    pub expires_at_millis: u64,
}

const DATA: u8 = 1;
const TTL: u8 = 2;
const APPLIED: u8 = 3;
const SESSION: u8 = 4;
const RESULT: u8 = 5;
/// Length of `space | kind`.
const PREFIX: usize = 9;

fn start(space: Space, kind: u8, capacity: usize) -> BytesMut {
    let mut key = BytesMut::with_capacity(PREFIX + capacity);
    key.put_u64(space.0);
    key.put_u8(kind);
    key
}

fn shard_start(shard: ShardId, kind: u8, capacity: usize) -> BytesMut {
    let mut key = start(Space(0), kind, 8 + capacity);
    key.put_u64(shard.0);
    key
}

/// Where the value of a user's key lies.
#[must_use]
pub fn data_key(space: Space, user_key: &[u8]) -> Bytes {
    let mut key = start(space, DATA, user_key.len());
    key.put_slice(user_key);
    key.freeze()
}

/// The rows of all user keys of `range`.
#[must_use]
pub fn data_range(space: Space, range: &KeyRange) -> KeyRange {
    let end = match &range.end {
        Some(end) => data_key(space, end),
        None => start(space, DATA + 1, 0).freeze(),
    };
    KeyRange { start: data_key(space, &range.start), end: Some(end) }
}

/// The user's key of a data row.
#[must_use]
pub fn user_key(row: &Bytes) -> Option<Bytes> {
    (row.get(PREFIX - 1) == Some(&DATA)).then(|| row.slice(PREFIX..))
}

/// The row that finds a key by its deadline, in milliseconds since 1970. Its value is empty.
#[must_use]
pub fn ttl_key(space: Space, expires_at_millis: u64, user_key: &[u8]) -> Bytes {
    let mut key = start(space, TTL, 8 + user_key.len());
    key.put_u64(expires_at_millis);
    key.put_slice(user_key);
    key.freeze()
}

/// The rows of all deadlines up to and with `until_millis`.
#[must_use]
pub fn ttl_range(space: Space, until_millis: u64) -> KeyRange {
    let end = match until_millis.checked_add(1) {
        Some(after) => ttl_key(space, after, &[]),
        None => start(space, TTL + 1, 0).freeze(),
    };
    KeyRange { start: ttl_key(space, 0, &[]), end: Some(end) }
}

/// Deadline and user's key of a TTL row.
#[must_use]
pub fn parse_ttl_key(row: &Bytes) -> Option<(u64, Bytes)> {
    let is_ttl = row.get(PREFIX - 1) == Some(&TTL);
    let deadline = row.get(PREFIX..PREFIX + 8).filter(|_| is_ttl)?;
    Some((u64::from_be_bytes(deadline.try_into().ok()?), row.slice(PREFIX + 8..)))
}

/// All rows of a space.
#[must_use]
pub fn space_range(space: Space) -> KeyRange {
    let mut end = BytesMut::with_capacity(8);
    end.put_u64(space.0.saturating_add(1));
    KeyRange { start: start(space, 0, 0).freeze(), end: Some(end.freeze()) }
}

/// The space that a row lies in.
#[must_use]
pub fn space_of(row: &[u8]) -> Option<Space> {
    row.get(..8)?.try_into().ok().map(|number| Space(u64::from_be_bytes(number)))
}

/// The row that says which entry of the shard was applied last: written in the same batch as what it did.
#[must_use]
pub fn applied_key(shard: ShardId) -> Bytes {
    shard_start(shard, APPLIED, 0).freeze()
}

/// The applied rows of all shards.
#[must_use]
pub fn applied_range() -> KeyRange {
    KeyRange { start: start(Space(0), APPLIED, 0).freeze(), end: Some(start(Space(0), APPLIED + 1, 0).freeze()) }
}

/// The shard of an applied row.
#[must_use]
pub fn parse_applied_key(row: &[u8]) -> Option<ShardId> {
    let rest = row.strip_prefix(&start(Space(0), APPLIED, 0)[..])?;
    rest.try_into().ok().map(|number| ShardId(u64::from_be_bytes(number)))
}

/// The value of an applied row: the entry, and the space that it was applied to. A copy that starts over gets another
/// space, so a row that a crash has left of what was there before is known by it.
#[must_use]
pub fn encode_applied(id: EntryId, space: Space) -> Bytes {
    let mut value = BytesMut::with_capacity(24);
    value.put_u64(id.epoch.0);
    value.put_u64(id.seq.0);
    value.put_u64(space.0);
    value.freeze()
}

/// The inverse of [`encode_applied`]. Rows of the first versions have no space.
#[must_use]
pub fn decode_applied(value: &[u8]) -> Option<(EntryId, Option<Space>)> {
    let long = |at: usize| value.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    let space = match value.len() {
        16 => None,
        24 => Some(Space(long(16)?)),
        _ => return None,
    };
    Some((EntryId::new(long(0)?, long(8)?), space))
}

/// The row of a session.
#[must_use]
pub fn session_key(shard: ShardId, session: SessionId) -> Bytes {
    let mut key = shard_start(shard, SESSION, SessionId::BYTES);
    key.put_slice(&session.to_bytes());
    key.freeze()
}

/// The rows of all sessions of a shard.
#[must_use]
pub fn session_range(shard: ShardId) -> KeyRange {
    KeyRange::prefix(&shard_start(shard, SESSION, 0))
}

/// The session of a session row or a result row.
#[must_use]
pub fn parse_session(row: &[u8]) -> Option<SessionId> {
    let number = match *row.get(PREFIX - 1)? {
        SESSION => 0,
        RESULT => 8,
        _ => return None,
    };
    let whole = row.starts_with(&[0; 8]) && row.len() == PREFIX + 8 + SessionId::BYTES + number;
    row.get(PREFIX + 8..PREFIX + 8 + SessionId::BYTES).filter(|_| whole).and_then(SessionId::from_bytes)
}

/// The row of the result of one request of a session.
#[must_use]
pub fn result_key(shard: ShardId, session: SessionId, number: u64) -> Bytes {
    let mut key = shard_start(shard, RESULT, SessionId::BYTES + 8);
    key.put_slice(&session.to_bytes());
    key.put_u64(number);
    key.freeze()
}

/// The rows of the results of a session, of all sessions of a shard if none is given.
#[must_use]
pub fn result_range(shard: ShardId, session: Option<SessionId>) -> KeyRange {
    let mut prefix = shard_start(shard, RESULT, SessionId::BYTES);
    if let Some(session) = session {
        prefix.put_slice(&session.to_bytes());
    }
    KeyRange::prefix(&prefix)
}

/// The request number of a result row.
#[must_use]
pub fn parse_result_number(row: &[u8]) -> Option<u64> {
    let number = row.get(PREFIX + 8 + SessionId::BYTES..)?;
    parse_session(row)?;
    number.try_into().ok().map(u64::from_be_bytes)
}

/// All rows that belong to one shard alone.
#[must_use]
pub fn shard_ranges(shard: ShardId) -> [KeyRange; 3] {
    [KeyRange::prefix(&applied_key(shard)), session_range(shard), result_range(shard, None)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_in_the_order_of_user_keys_and_within_their_ranges() {
        let space = Space(7);
        let all = data_range(space, &KeyRange::all());
        let part = data_range(space, &KeyRange { start: "b".into(), end: Some("c".into()) });
        let keys = ["a", "b", "bb", "c", "\u{ff}"].map(|key| data_key(space, key.as_bytes()));
        assert!(keys.is_sorted());
        assert!(keys.iter().all(|key| all.contains(key) && space_range(space).contains(key)));
        assert_eq!(keys.each_ref().map(|key| part.contains(key)), [false, true, true, false, false]);
        assert!(!all.contains(&data_key(Space(8), b"a")) && !all.contains(&ttl_key(space, 0, b"")));
        assert_eq!(user_key(&keys[2]), Some("bb".into()));
    }

    #[test]
    fn deadlines_are_found_up_to_and_with_the_given_one() {
        let row = ttl_key(Space(1), 99, b"key");
        assert!(ttl_range(Space(1), 99).contains(&row) && !ttl_range(Space(1), 98).contains(&row));
        assert!(ttl_range(Space(1), u64::MAX).contains(&ttl_key(Space(1), u64::MAX, b"x")));
        assert_eq!(parse_ttl_key(&row), Some((99, "key".into())));
        assert_eq!(parse_ttl_key(&data_key(Space(1), b"0123456789")), None);
    }

    #[test]
    fn rows_of_a_shard_say_whose_they_are() {
        let session = SessionId { shard: ShardId(3), entry: EntryId::new(1, 2) };
        let row = result_key(ShardId(5), session, 42);
        assert_eq!((parse_session(&row), parse_result_number(&row)), (Some(session), Some(42)));
        assert!(result_range(ShardId(5), Some(session)).contains(&row));
        assert!(!session_range(ShardId(5)).contains(&row));
        assert_eq!(parse_applied_key(&applied_key(ShardId(5))), Some(ShardId(5)));
        assert_eq!(parse_applied_key(&row), None);
        let (id, applied) = (EntryId::new(3, 4), encode_applied(EntryId::new(3, 4), Space(9)));
        assert_eq!(decode_applied(&applied), Some((id, Some(Space(9)))));
        assert_eq!((decode_applied(&applied[..16]), decode_applied(&applied[..23])), (Some((id, None)), None));
        assert!(shard_ranges(ShardId(5)).iter().any(|range| range.contains(&row)));
    }

    #[test]
    fn a_row_of_another_length_is_of_no_session() {
        let session = SessionId { shard: ShardId(3), entry: EntryId::new(1, 2) };
        let longer = [&session_key(ShardId(5), session)[..], &[0; 8]].concat();
        assert_eq!((parse_session(&longer), parse_result_number(&longer)), (None, None));
        let row = result_key(ShardId(5), session, 42);
        assert_eq!(parse_session(&row[..row.len() - 1]), None);
    }
}
