use kv_types::VolumeId;

use super::{
    record::{ALIGNMENT, Missing, Record},
    replay::ReplayError,
    segment::{BLOCK, Header, SECTOR, Segment},
};

/// The records of a segment, as far as they can be read.
pub(super) struct Parsed {
    pub(super) records: Vec<Placed>,
    /// Where they end.
    pub(super) end: usize,
    /// What stands there instead of zeros.
    pub(super) missing: Option<Missing>,
}

/// A record and its place.
pub(super) struct Placed {
    pub(super) offset: u32,
    /// Where it ends: written anew it may be longer or shorter.
    pub(super) end: u32,
    pub(super) group_start: u32,
    pub(super) record: Record,
}

/// What a segment begins with, when all of it is there.
pub(super) struct Beginning {
    /// Number of records of the checkpoint.
    pub(super) checkpoints: usize,
    /// Where the checkpoint ends.
    pub(super) end: u32,
    /// Where the records end that were written again.
    pub(super) rewritten_end: u32,
    /// Where the segment before ends.
    pub(super) previous_end: u32,
}

impl Parsed {
    pub(super) fn read(segment: &Segment, volume: VolumeId) -> Result<Self, ReplayError> {
        let bytes = segment.read()?;
        let number = segment.number;
        match Header::of(&bytes, number, volume) {
            Header::Newer(found) => return Err(ReplayError::Newer { segment: number, found }),
            Header::Foreign(found) => return Err(ReplayError::Foreign { segment: number, found }),
            // The records are checked each for itself.
            Header::Corrupt => tracing::warn!(segment = number, "the header of a segment of the log is damaged"),
            Header::Valid => {}
        }
        Ok(Self::parse(number, &bytes))
    }

    fn parse(number: u64, bytes: &[u8]) -> Self {
        let mut records = Vec::new();
        let mut end = BLOCK;
        while end < bytes.len() {
            match Record::decode(number, bytes, end, SECTOR) {
                Ok(found) => {
                    let (offset, group_start) = (end as u32, found.group_start);
                    records.push(Placed { offset, end: found.next as u32, group_start, record: found.record });
                    end = found.next;
                }
                Err(missing) => {
                    let missing = judge(number, bytes, end, missing);
                    return Self { records, end, missing };
                }
            }
        }
        Self { records, end, missing: None }
    }

    /// Whether the segment was only prepared.
    pub(super) fn is_blank(&self) -> bool {
        self.records.is_empty() && self.missing.is_none()
    }

    /// `None` if a part of it is missing: then nothing in the segment counts.
    pub(super) fn beginning(&self) -> Option<Beginning> {
        let Record::Checkpoints { count, rewritten, previous_end } = self.records.first()?.record else { return None };
        let checkpoints = usize::try_from(count).ok()?.checked_add(1)?;
        let all = usize::try_from(rewritten).ok()?.checked_add(checkpoints)?;
        let each = self.records.get(1..checkpoints)?;
        let whole = each.iter().all(|placed| matches!(placed.record, Record::Checkpoint(..)));
        let end = self.records[checkpoints - 1].end;
        let rewritten_end = self.records.get(all - 1).filter(|_| whole)?.end;
        Some(Beginning { checkpoints, end, rewritten_end, previous_end })
    }
}

/// What stands at the end of the records: nothing, a torn write, or damage. A record further on that was written when
/// all up to here was on the disk tells damage from a write that was torn in the middle.
fn judge(number: u64, bytes: &[u8], at: usize, missing: Missing) -> Option<Missing> {
    let written = at + bytes[at..].iter().rposition(|byte| *byte != 0)?;
    let later = (at + ALIGNMENT..written).step_by(ALIGNMENT).filter(|place| bytes[*place] != 0);
    let mut later = later.filter_map(|place| Record::decode(number, bytes, place, SECTOR).ok());
    let synced = later.any(|found| found.group_start as usize > at);
    Some(if synced { Missing::Corrupt } else { missing })
}
