use std::io;

use kv_types::{Entry, EntryId, EpochHistory, Seq, ShardId};

use super::{
    Record,
    front::Front,
    index::Point,
    record,
    segment::{BLOCK, SECTOR, Segment},
};
use crate::read as shared;

/// Segments are read in pieces of at least this many bytes.
const PIECE: usize = 256 << 10;

/// Why entries could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They are not in the log any more.
    #[error("entry {from} is not in the log any more: the first is {first}")]
    Compacted {
        /// The first seq that was asked for.
        from: Seq,
        /// The first seq that there is.
        first: Seq,
    },
    /// The shard has no log on this volume.
    #[error("there is no log of shard {0}")]
    UnknownShard(ShardId),
    /// An entry that must be there is not, or is not what was written.
    #[error("segment {segment} of the log is damaged at byte {offset}")]
    Corrupt {
        /// Number of the segment.
        segment: u64,
        /// Offset in bytes.
        offset: u64,
    },
    /// The file system failed.
    #[error("reading the log failed")]
    Io(#[from] io::Error),
}

/// Entries from `from` on, up to `max_bytes` but at least one; none if `from` follows the last.
pub(super) fn read(front: &Front, shard: ShardId, from: Seq, max_bytes: usize) -> Result<Vec<Entry>, ReadError> {
    if let Some(entries) = front.read_cached(shard, from, max_bytes) {
        return Ok(entries);
    }
    let history = front.history(shard).ok_or(ReadError::UnknownShard(shard))?;
    if from > history.last().seq {
        return Ok(Vec::new());
    }
    let start = shared(&front.index).before(shard, from);
    let Some(start) = start.filter(|_| history.epoch_at(from).is_some() && from > Seq(0)) else {
        return Err(ReadError::Compacted { from, first: front.first_seq(shard) });
    };
    Search { front, shard, history: &history, next: from, bytes: 0, max_bytes, found: Vec::new() }.run(start)
}

struct Search<'a> {
    front: &'a Front,
    shard: ShardId,
    /// Tells entries that were cut, and stand in the segments still, from those that count.
    history: &'a EpochHistory,
    next: Seq,
    bytes: usize,
    max_bytes: usize,
    found: Vec<Entry>,
}

impl Search<'_> {
    fn run(mut self, start: Point) -> Result<Vec<Entry>, ReadError> {
        let mut place = Some((start.segment, start.offset as usize));
        while let Some((number, offset)) = place {
            let Some((segment, used)) = shared(&self.front.index).segment(number) else { break };
            if self.scan(&segment, offset, used as usize)? {
                return Ok(self.found);
            }
            // The next point of the shard skips what lies between, if it is beyond this segment.
            let index = shared(&self.front.index);
            let jump = index.before(self.shard, self.next).filter(|point| point.segment > number);
            place = match jump {
                Some(point) => Some((point.segment, point.offset as usize)),
                None => index.following(number).map(|(segment, _)| (segment.number, BLOCK)),
            };
        }
        if self.found.is_empty() {
            // Removed or cut since the index was asked.
            let first = self.front.first_seq(self.shard);
            return Err(ReadError::Compacted { from: self.next, first });
        }
        Ok(self.found)
    }

    /// Takes what it finds; `true` when that is enough.
    fn scan(&mut self, segment: &Segment, mut offset: usize, used: usize) -> Result<bool, ReadError> {
        let mut piece = Vec::new();
        let mut piece_start = offset;
        while offset < used {
            let at = offset - piece_start;
            let header = record::peek(segment.number, piece.get(at..).unwrap_or_default());
            let len = header.map_or(record::HEADER, |(len, _)| len);
            if header.is_none() || at + len > piece.len() {
                if at == 0 && piece.len() >= len.min(used - offset) {
                    let offset = offset as u64;
                    return Err(ReadError::Corrupt { segment: segment.number, offset });
                }
                piece = vec![0; len.max(PIECE).min(used - offset)];
                segment.file.read(offset as u64, &mut piece)?;
                piece_start = offset;
                continue;
            }
            if let Some((shard, id)) = header.and_then(|(_, entry)| entry)
                && shard == self.shard
                && self.wants(id)
            {
                let decoded = Record::decode(segment.number, &piece, at, SECTOR);
                let Ok(Record::Entry(_, entry)) = decoded.map(|found| found.record) else {
                    let offset = offset as u64;
                    return Err(ReadError::Corrupt { segment: segment.number, offset });
                };
                if !self.found.is_empty() && self.bytes + entry.payload.len() > self.max_bytes {
                    return Ok(true);
                }
                self.bytes += entry.payload.len();
                self.next = id.seq.next();
                self.found.push(entry);
                if id.seq == self.history.last().seq {
                    return Ok(true);
                }
            }
            offset += len;
        }
        Ok(false)
    }

    fn wants(&self, id: EntryId) -> bool {
        id.seq == self.next && self.history.epoch_at(id.seq) == Some(id.epoch)
    }
}
