//! What the fuzzers call: [`log_record`] and [`log_segments`].
//!
//! Nearly all that is damaged fails its checksum, and nothing behind that would be seen. So an input may ask for checksums
//! that match (`seal`).

mod files;
mod seal;
mod start;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use kv_types::{EntryId, ShardId};

use super::{
    record::{ALIGNMENT, BEGIN, Missing, Record, peek},
    segment::{BLOCK, SECTOR},
};
use files::File;
use start::start;

/// Number of the segment that a single record lies in.
const SEGMENT: u64 = 5;

/// A record of the log. What is understood lies within what came and says the same when it is written again.
#[allow(clippy::expect_used, reason = "what fails is the finding")]
pub fn log_record(bytes: &[u8]) -> bool {
    let Some((flags, record)) = bytes.split_first() else { return false };
    let mut record = record.to_vec();
    if flags & 1 != 0 {
        seal::seal(SEGMENT, &mut record, 0);
    }
    let peeked = peek(SEGMENT, &record);
    let found = match Record::decode(SEGMENT, &record, 0, SECTOR) {
        Ok(found) => found,
        Err(missing) => {
            let blank = record.iter().all(|byte| *byte == 0);
            assert!(!blank || missing == Missing::Torn, "zeros are what a torn write leaves");
            return false;
        }
    };
    assert!(found.next <= record.len() && found.next.is_multiple_of(ALIGNMENT));
    let id = |record: &Record| match record {
        Record::Entry(shard, entry) => Some((*shard, entry.id)),
        _ => None,
    };
    assert_eq!(peeked, Some((found.next, id(&found.record))));
    let mut again = Vec::new();
    found.record.encode(SEGMENT, found.group_start, &mut again);
    assert_eq!(again.len(), found.record.len());
    let twice = Record::decode(SEGMENT, &again, 0, SECTOR).expect("what was written is read");
    assert_eq!((&twice.record, twice.group_start, twice.next), (&found.record, found.group_start, again.len()));
    true
}

/// The segments that a start finds. It makes nothing up: what can be read was in a segment, byte for byte. It makes no
/// file longer than its records need, and what it has written the next start finds.
#[allow(clippy::expect_used, reason = "what fails is the finding")]
pub fn log_segments(bytes: &[u8]) -> bool {
    let files = files::files(bytes);
    let (disk, written) = (files::disk(&files), entries(&files));
    let Some(first) = start(&disk) else { return false };
    for entry in &first.entries {
        assert!(written.contains(entry), "shard {}: {:?} was never written so", entry.0, entry.1);
    }
    // What is lost stays as it is: the volume's recovery amends that.
    let second = start(&disk).expect("the second start reads what the first has written");
    assert_eq!(first.of_copies(), second.of_copies());
    let newly_lost = second.lost.keys().find(|shard| !first.lost.contains_key(shard));
    assert_eq!(newly_lost, None, "first {:?}, then {:?}", first.lost, second.lost);
    true
}

type Written = (ShardId, EntryId, Vec<u8>);

/// All entries that lie anywhere in the files, whether they count or not.
fn entries(files: &[File]) -> BTreeSet<Written> {
    let mut entries = BTreeSet::new();
    for File { number, bytes } in files {
        for at in (BLOCK..bytes.len()).step_by(ALIGNMENT).filter(|at| bytes[*at] == BEGIN) {
            if let Ok(found) = Record::decode(*number, bytes, at, SECTOR)
                && let Record::Entry(shard, entry) = found.record
            {
                entries.insert((shard, entry.id, entry.payload.to_vec()));
            }
        }
    }
    entries
}
