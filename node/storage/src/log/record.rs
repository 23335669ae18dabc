use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};
use kv_types::{Entry, EntryId, Epoch, EpochHistory, Seq, ShardId};
use serde::{Deserialize, Serialize};

use super::ReplicaState;

/// Header in bytes: begin mark, kind, two zeros, body length, shard, epoch, seq, group start, checksum of the body,
/// checksum of the header, three zeros, end mark. Numbers are little-endian.
pub(super) const HEADER: usize = 48;

/// Records begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;

pub(super) const BEGIN: u8 = 0xA7;
/// Last byte of the header and of the record. Never zero, so that a write torn before it shows.
pub(super) const END: u8 = 0x5A;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// One entry. A seq at or below the last one cuts the log before it.
    Entry(ShardId, Entry),
    /// The log ends at this seq.
    Truncate(ShardId, Seq),
    /// What the replica remembers besides its log.
    State(ShardId, ReplicaState),
    /// The log starts anew after the last entry of this history.
    Reset(ShardId, EpochHistory),
    /// The replica is no more.
    Forget(ShardId),
    /// First in each segment.
    Checkpoints {
        /// How many `Checkpoint` records follow.
        count: u64,
        /// How many more records make the beginning whole. They take the place of the end of the segment before, which
        /// counts as long as one of them is missing.
        rewritten: u64,
        /// Where the segment before this one ends.
        previous_end: u32,
    },
    /// All that is known of a replica where a segment begins.
    Checkpoint(ShardId, ReplicaState, EpochHistory),
}

/// A record as found in a segment.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) record: Record,
    /// Where the write began that brought this record: everything before was on the disk by then.
    pub(super) group_start: u32,
    /// Where the next record begins.
    pub(super) next: usize,
}

/// Why there is no record at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Some of its bytes were never written.
    Torn,
    /// Its bytes are all there, and wrong.
    Corrupt,
}

#[derive(Serialize, Deserialize)]
struct HistoryBody {
    starts: Vec<EntryId>,
    last: Seq,
}

#[derive(Serialize, Deserialize)]
struct CheckpointBody {
    state: ReplicaState,
    history: HistoryBody,
}

struct Header {
    kind: u8,
    len: usize,
    shard: ShardId,
    id: EntryId,
    group_start: u32,
    body_crc: u32,
}

/// Length of a record with `body` bytes of body.
pub(super) const fn record_len(body: usize) -> usize {
    (HEADER + body + 1).next_multiple_of(ALIGNMENT)
}

impl Record {
    /// Kind, shard, numbers and body. An entry's body is its payload as it is.
    fn parts(&self) -> (u8, ShardId, EntryId, Bytes) {
        let at = |seq: u64| EntryId { epoch: Epoch(0), seq: Seq(seq) };
        match self {
            Self::Entry(shard, entry) => (1, *shard, entry.id, entry.payload.clone()),
            Self::Truncate(shard, last) => (2, *shard, at(last.0), Bytes::new()),
            Self::State(shard, state) => (3, *shard, EntryId::ZERO, json(state)),
            Self::Reset(shard, history) => (4, *shard, history.last(), json(&HistoryBody::of(history))),
            Self::Forget(shard) => (5, *shard, EntryId::ZERO, Bytes::new()),
            Self::Checkpoints { count, rewritten, previous_end } => {
                (6, ShardId(*rewritten), EntryId::new(u64::from(*previous_end), *count), Bytes::new())
            }
            Self::Checkpoint(shard, state, history) => {
                let body = CheckpointBody { state: state.clone(), history: HistoryBody::of(history) };
                (7, *shard, history.last(), json(&body))
            }
        }
    }

    /// Appends the record to `buffer`, whose length is a multiple of [`ALIGNMENT`] and stays one.
    pub(super) fn encode(&self, segment: u64, group_start: u32, buffer: &mut Vec<u8>) {
        let (kind, shard, id, body) = self.parts();
        let start = buffer.len();
        buffer.reserve(record_len(body.len()));
        buffer.extend([BEGIN, kind, 0, 0]);
        buffer.extend((body.len() as u32).to_le_bytes());
        buffer.extend(shard.0.to_le_bytes());
        buffer.extend(id.epoch.0.to_le_bytes());
        buffer.extend(id.seq.0.to_le_bytes());
        buffer.extend(group_start.to_le_bytes());
        buffer.extend(crc32c(&body).to_le_bytes());
        let crc = header_crc(segment, &buffer[start..]);
        buffer.extend(crc.to_le_bytes());
        buffer.extend([0, 0, 0, END]);
        buffer.extend_from_slice(&body);
        buffer.push(END);
        buffer.resize(start + record_len(body.len()), 0);
    }

    /// Length of the encoded record.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Entry(_, entry) => record_len(entry.payload.len()),
            other => record_len(other.parts().3.len()),
        }
    }

    /// Reads the record at `at`; `sector` is the unit in which the disk tears writes.
    pub(super) fn decode(segment: u64, bytes: &[u8], at: usize, sector: usize) -> Result<Found, Missing> {
        let Some(raw) = bytes.get(at..at + HEADER) else { return Err(Missing::Torn) };
        let Some(header) = Header::decode(segment, raw) else {
            return Err(missing(bytes, at, HEADER, sector));
        };
        let start = at + HEADER;
        let len = HEADER + header.len + 1;
        let next = at + record_len(header.len);
        let Some(body) = bytes.get(start..start + header.len).filter(|_| next <= bytes.len()) else {
            // A header whose checksum matches lies about nothing: the file has been cut.
            return Err(Missing::Corrupt);
        };
        let whole = bytes[at + len - 1] == END && crc32c(body) == header.body_crc;
        let record = whole.then(|| Self::from_parts(&header, body)).flatten();
        match record {
            Some(record) => Ok(Found { record, group_start: header.group_start, next }),
            None => Err(missing(bytes, at, len, sector)),
        }
    }

    fn from_parts(header: &Header, body: &[u8]) -> Option<Self> {
        let Header { shard, id, .. } = *header;
        Some(match header.kind {
            1 => Self::Entry(shard, Entry { id, payload: Bytes::copy_from_slice(body) }),
            2 => Self::Truncate(shard, id.seq),
            3 => Self::State(shard, serde_json::from_slice(body).ok()?),
            4 => Self::Reset(shard, serde_json::from_slice::<HistoryBody>(body).ok()?.history()?),
            5 => Self::Forget(shard),
            6 => {
                let previous_end = u32::try_from(id.epoch.0).ok()?;
                Self::Checkpoints { count: id.seq.0, rewritten: shard.0, previous_end }
            }
            7 => {
                let CheckpointBody { state, history } = serde_json::from_slice(body).ok()?;
                Self::Checkpoint(shard, state, history.history()?)
            }
            _ => return None,
        })
    }
}

/// The length of the record at the start of `bytes`, its shard and id, without looking at the body.
pub(super) fn peek(segment: u64, bytes: &[u8]) -> Option<(usize, Option<(ShardId, EntryId)>)> {
    let header = Header::decode(segment, bytes.get(..HEADER)?)?;
    Some((record_len(header.len), (header.kind == 1).then_some((header.shard, header.id))))
}

impl Header {
    fn decode(segment: u64, raw: &[u8]) -> Option<Self> {
        let long = |at: usize| raw.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let short = |at: usize| raw.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let marked = raw[0] == BEGIN && raw[44..] == [0, 0, 0, END];
        if !marked || short(40)? != header_crc(segment, &raw[..40]) {
            return None;
        }
        Some(Self {
            kind: raw[1],
            len: short(4)? as usize,
            shard: ShardId(long(8)?),
            id: EntryId::new(long(16)?, long(24)?),
            group_start: short(32)?,
            body_crc: short(36)?,
        })
    }
}

impl HistoryBody {
    fn of(history: &EpochHistory) -> Self {
        Self { starts: history.starts().to_vec(), last: history.last().seq }
    }

    fn history(self) -> Option<EpochHistory> {
        EpochHistory::new(self.starts, self.last)
    }
}

/// Seeded with the segment's number: a record that lies in the wrong file is none.
pub(super) fn header_crc(segment: u64, header: &[u8]) -> u32 {
    crc32c_append(crc32c(&segment.to_le_bytes()), header)
}

fn json(value: &impl Serialize) -> Bytes {
    // None of the bodies has a map with other keys than strings, so this can't fail; an empty body would be
    // recognized as damage when read.
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Segments are zeros before they are written, so what a torn write left out is zero: the end mark, or a whole sector.
fn missing(bytes: &[u8], at: usize, len: usize, sector: usize) -> Missing {
    let end = (at + len).min(bytes.len());
    if bytes[end - 1] != END {
        // The mark itself may be what is damaged: then there is something behind where it should be zero to the end.
        let last_written = bytes[at..end].iter().rposition(|byte| *byte != 0);
        let cut_short = last_written.is_none_or(|last| at + last + 1 < end) || at + len > bytes.len();
        return if cut_short { Missing::Torn } else { Missing::Corrupt };
    }
    let mut from = at;
    while from < end {
        let to = (from / sector + 1).saturating_mul(sector).min(end);
        if bytes[from..to].iter().all(|byte| *byte == 0) {
            return Missing::Torn;
        }
        from = to;
    }
    Missing::Corrupt
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(len: usize) -> Record {
        let payload = (0..len).map(|at| at as u8).collect::<Vec<_>>().into();
        Record::Entry(ShardId(7), Entry { id: EntryId::new(3, 9), payload })
    }

    fn encoded(record: &Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.encode(5, 64, &mut bytes);
        assert_eq!(bytes.len(), record.len());
        bytes
    }

    #[test]
    fn every_record_survives_its_encoding() {
        let history = EpochHistory::new(vec![EntryId::new(1, 1), EntryId::new(4, 7)], Seq(9)).unwrap();
        let state = ReplicaState { promised: Epoch(4), torn: true, ..ReplicaState::default() };
        let records = [
            entry(0),
            entry(1000),
            Record::Truncate(ShardId(1), Seq(3)),
            Record::State(ShardId(1), state.clone()),
            Record::Reset(ShardId(1), history.clone()),
            Record::Forget(ShardId(1)),
            Record::Checkpoints { count: 3, rewritten: 8, previous_end: 99 },
            Record::Checkpoint(ShardId(1), state, history),
        ];
        for record in records {
            let bytes = encoded(&record);
            let found = Record::decode(5, &bytes, 0, 512).unwrap();
            assert_eq!((found.record, found.group_start, found.next), (record, 64, bytes.len()));
        }
    }

    #[test]
    fn a_record_of_another_segment_is_none() {
        assert_eq!(Record::decode(6, &encoded(&entry(10)), 0, 512).unwrap_err(), Missing::Corrupt);
    }

    #[test]
    fn a_write_torn_at_any_byte_is_torn_and_not_corrupt() {
        for len in [0, 1, 7, 100, 2000] {
            let whole = encoded(&entry(len));
            let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
            for cut in 0..=end {
                let mut bytes = whole.clone();
                bytes[cut..].fill(0);
                assert_eq!(Record::decode(5, &bytes, 0, 512).unwrap_err(), Missing::Torn, "{len} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_lost_sector_is_torn() {
        let whole = encoded(&entry(3000));
        for sector in 0..whole.len() / 512 {
            let mut bytes = whole.clone();
            bytes[sector * 512..(sector + 1) * 512].fill(0);
            assert_eq!(Record::decode(5, &bytes, 0, 512).unwrap_err(), Missing::Torn, "sector {sector}");
        }
    }

    #[test]
    fn a_flipped_bit_is_corrupt() {
        let whole = encoded(&entry(100));
        let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
        for at in 0..=end {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                assert_eq!(Record::decode(5, &bytes, 0, 512).unwrap_err(), Missing::Corrupt, "bit {bit} of {at}");
            }
        }
    }
}
