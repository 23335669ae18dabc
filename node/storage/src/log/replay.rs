use std::{collections::BTreeMap, io};

use kv_types::{EpochHistory, Seq, ShardId, VolumeId};

use super::{
    ReplicaState,
    front::{Place, place},
    index::Index,
    record::{ALIGNMENT, Missing, Record},
    replicas::Replicas,
    segment::{self, BLOCK, FORMAT, Header, SECTOR, Segment},
};
use crate::disk::Disk;

/// What a log holds, as found at a start, and how it is to go on.
#[derive(Default)]
pub(crate) struct Replay {
    /// Before `rewrite`.
    pub(super) replicas: Replicas,
    /// After `rewrite`.
    after: Replicas,
    pub(super) index: Index,
    /// The last group: it may never have reached the disk, though it can be read. Written again before it counts.
    pub(super) rewrite: Vec<Record>,
    /// Number of the last segment that was written to; 0: none was.
    pub(super) last_segment: u64,
    /// Where that one ends.
    pub(super) end: u32,
    torn: Option<String>,
    lost: BTreeMap<ShardId, String>,
}

/// What a log holds of one replica.
pub(crate) struct Replayed {
    pub(crate) shard: ShardId,
    pub(crate) state: ReplicaState,
    pub(crate) history: EpochHistory,
    /// The first seq that can be read.
    pub(crate) first_seq: Seq,
    /// Entries of it were lost, and why that is known.
    pub(crate) lost: Option<String>,
}

/// Why nothing at all can be made of a log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error("segment {segment} of the log has format {found}, this version knows {FORMAT} at most")]
    Newer { segment: u64, found: u32 },
    #[error("segment {segment} of the log belongs to volume {found}")]
    Foreign { segment: u64, found: VolumeId },
    #[error("no checkpoint of the log can be read, so what its replicas promised is not known")]
    Unreadable,
    #[error("reading the log failed")]
    Io(#[from] io::Error),
}

/// A segment with something in it.
struct Candidate {
    segment: Segment,
    /// How far the segment before counts, if its first record can be read.
    previous_end: Option<u32>,
}

struct Parsed {
    records: Vec<(u32, u32, Record)>,
    /// Where the records end.
    end: usize,
    /// What stands there instead of zeros.
    missing: Option<Missing>,
}

impl Replay {
    /// Reads all segments. Removes what a crash left unfinished.
    pub(crate) fn read(disk: &dyn Disk, volume: VolumeId) -> Result<Self, ReplayError> {
        let mut numbers = Vec::new();
        for name in disk.list()? {
            match segment::number(&name) {
                Some(number) => numbers.push(number),
                None => disk.remove(&name)?,
            }
        }
        numbers.sort_unstable();
        let mut replay = Self { end: BLOCK as u32, ..Self::default() };
        let mut candidates = Vec::new();
        let mut blank = Vec::new();
        for number in numbers {
            let segment = Segment::open(disk, number)?;
            match previous_end(&segment, volume)? {
                Some(previous_end) => candidates.push(Candidate { segment, previous_end }),
                None => blank.push(number),
            }
        }
        replay.last_segment = match (candidates.last(), blank.first()) {
            (Some(last), _) => last.segment.number,
            (None, Some(spare)) => spare.saturating_sub(1),
            (None, None) => 0,
        };
        for number in blank {
            // One is used next; any other would stand in the way of a number to come, or has been of no use already.
            if number != replay.last_segment + 1 {
                disk.remove(&segment::name(number))?;
            }
        }
        replay.read_all(candidates)?;
        Ok(replay)
    }

    /// Whether there was no record at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.after.0.is_empty()
    }

    /// Why the end is taken for a write that the last crash interrupted, if there was anything of it.
    pub(crate) fn torn(&self) -> Option<&str> {
        self.torn.as_deref()
    }

    pub(crate) fn replicas(&self) -> Vec<Replayed> {
        let replayed = |(shard, replica): (&ShardId, &super::replicas::Replica)| Replayed {
            shard: *shard,
            state: replica.state.clone(),
            history: replica.history.clone(),
            first_seq: self.first_seq(*shard, replica.history.last().seq),
            lost: self.lost.get(shard).cloned(),
        };
        self.after.0.iter().map(replayed).collect()
    }

    /// The rewritten entries are in no segment that counts, and follow what is in the index.
    fn first_seq(&self, shard: ShardId, last: Seq) -> Seq {
        let rewritten = self.rewrite.iter().filter_map(|record| match record {
            Record::Entry(of, entry) if *of == shard => Some(entry.id.seq),
            _ => None,
        });
        self.index.first(shard).into_iter().chain(rewritten).min().unwrap_or(last.next())
    }

    fn read_all(&mut self, candidates: Vec<Candidate>) -> Result<(), ReplayError> {
        let mut known = false;
        let mut damage: Option<String> = None;
        let mut following = candidates.iter().skip(1).map(|next| next.previous_end);
        for Candidate { segment, .. } in &candidates {
            let number = segment.number;
            let is_last = number == self.last_segment;
            let limit = following.next().flatten();
            let bytes = segment.read()?;
            let Parsed { records, end, missing } = parse(number, &bytes, limit);
            let short = limit.is_some_and(|limit| end < limit as usize);
            let missing = missing.or(short.then_some(Missing::Corrupt));
            let checkpoint = checkpoint_len(&records);
            self.index.add_segment(segment.clone());
            if let Some(count) = checkpoint {
                self.adopt(&records[..count], known, number);
                known = true;
                self.index.set_used(number, end as u32);
                // Those of the last group count only when they have been written again.
                let group = records.last().filter(|_| is_last).map_or(u32::MAX, |(_, group_start, _)| *group_start);
                for (offset, _, record) in records.into_iter().skip(count) {
                    if offset >= group {
                        self.rewrite.push(record);
                    } else {
                        self.apply(&record, number, offset);
                        self.end = offset + record.len() as u32;
                    }
                }
                if is_last && self.rewrite.is_empty() {
                    self.end = end as u32;
                }
            }
            if is_last && checkpoint.is_none() {
                self.end = BLOCK as u32;
            }
            match missing {
                // A later segment was begun, so all of this one had been on the disk.
                Some(_) if !is_last && limit.is_none() => {
                    damage = Some(format!("segment {number} is damaged at byte {end}"));
                }
                Some(kind) if limit.is_some() => {
                    tracing::warn!(segment = number, offset = end, ?kind, "a segment of the log is damaged");
                }
                Some(Missing::Torn) => self.torn = Some(format!("segment {number} was torn at byte {end}")),
                Some(Missing::Corrupt) => damage = Some(format!("segment {number} is damaged at byte {end}")),
                None => {}
            }
        }
        if !known && damage.is_some() {
            return Err(ReplayError::Unreadable);
        }
        self.after = self.replicas.clone();
        let (after, lost) = (&mut self.after, &mut self.lost);
        self.rewrite.retain(|record| {
            let applied = after.apply(record);
            match (record, &applied) {
                (Record::Reset(shard, _) | Record::Forget(shard), Ok(())) => {
                    lost.remove(shard);
                }
                (Record::Entry(shard, _), Err(misfit)) => {
                    lost.entry(*shard).or_insert_with(|| misfit.to_string());
                }
                _ => {}
            }
            applied.is_ok()
        });
        if let Some(why) = damage {
            self.lost.extend(self.after.0.keys().map(|shard| (*shard, why.clone())));
        }
        Ok(())
    }

    /// Takes what a segment begins with, and compares it with what the segments before have come to.
    fn adopt(&mut self, checkpoint: &[(u32, u32, Record)], compare: bool, number: u64) {
        let mut new = Replicas::default();
        for (_, _, record) in checkpoint {
            let _ = new.apply(record);
        }
        for shard in self.replicas.0.keys().filter(|shard| !new.0.contains_key(shard)) {
            self.index.forget(*shard);
            self.lost.remove(shard);
        }
        for (shard, replica) in &new.0 {
            let last = replica.history.last();
            let had = self.replicas.0.get(shard).is_some_and(|replica| replica.history.contains(last));
            if had || !compare || last == kv_types::EntryId::ZERO {
                self.index.truncate(*shard, last.seq);
            } else {
                self.index.forget(*shard);
                let why = format!("entries up to {}/{} are missing before segment {number}", last.epoch, last.seq);
                self.lost.entry(*shard).or_insert(why);
            }
        }
        self.replicas = new;
    }

    fn apply(&mut self, record: &Record, segment: u64, offset: u32) {
        if let Err(misfit) = self.replicas.apply(record) {
            if let Record::Entry(shard, _) = record {
                self.lost.entry(*shard).or_insert_with(|| misfit.to_string());
            }
            return;
        }
        match place(record, segment, offset) {
            Some((shard, Place::Entry(point))) => self.index.add(shard, point),
            Some((shard, Place::Truncated(last))) => self.index.truncate(shard, last),
            Some((shard, Place::Gone)) => {
                self.index.forget(shard);
                self.lost.remove(&shard);
            }
            None => {}
        }
    }
}

/// `None`: nothing was ever written behind the header. Else what its first record says of the segment before.
fn previous_end(segment: &Segment, volume: VolumeId) -> Result<Option<Option<u32>>, ReplayError> {
    let number = segment.number;
    let len = segment.file.len()?;
    let mut start = vec![0; usize::try_from(len.min(2 * BLOCK as u64)).unwrap_or(BLOCK)];
    segment.file.read(0, &mut start)?;
    match Header::of(&start, number, volume) {
        Header::Newer(found) => return Err(ReplayError::Newer { segment: number, found }),
        Header::Foreign(found) => return Err(ReplayError::Foreign { segment: number, found }),
        // The records are checked each for itself.
        Header::Corrupt => tracing::warn!(segment = number, "the header of a segment of the log is damaged"),
        Header::Valid => {}
    }
    if let Ok(found) = Record::decode(number, &start, BLOCK, SECTOR)
        && let Record::Checkpoints { previous_end, .. } = found.record
    {
        return Ok(Some(Some(previous_end)));
    }
    let blank = segment.read()?.iter().skip(BLOCK).all(|byte| *byte == 0);
    Ok(if blank { None } else { Some(None) })
}

/// How many records the checkpoint has, if it is whole.
fn checkpoint_len(records: &[(u32, u32, Record)]) -> Option<usize> {
    let (_, _, Record::Checkpoints { count, .. }) = records.first()? else { return None };
    let all = usize::try_from(*count).ok()?.checked_add(1)?;
    let each = records.get(1..all)?;
    each.iter().all(|(_, _, record)| matches!(record, Record::Checkpoint(..))).then_some(all)
}

fn parse(number: u64, bytes: &[u8], limit: Option<u32>) -> Parsed {
    let limit = limit.map(|limit| limit as usize);
    let mut records = Vec::new();
    let mut at = BLOCK;
    loop {
        if limit.is_some_and(|limit| at >= limit) || at >= bytes.len() {
            return Parsed { records, end: at, missing: None };
        }
        match Record::decode(number, bytes, at, SECTOR) {
            Ok(found) => {
                records.push((at as u32, found.group_start, found.record));
                at = found.next;
            }
            Err(missing) => {
                let missing = judge(number, bytes, at, missing);
                return Parsed { records, end: at, missing };
            }
        }
    }
}

/// What stands at the end of the records: nothing, a torn write, or damage. A record further on that was written when
/// all up to here was on the disk tells damage from a write that was torn in the middle.
fn judge(number: u64, bytes: &[u8], at: usize, missing: Missing) -> Option<Missing> {
    if bytes[at..].iter().all(|byte| *byte == 0) {
        return None;
    }
    let later = (at + ALIGNMENT..bytes.len()).step_by(ALIGNMENT);
    let mut later = later.filter_map(|place| Record::decode(number, bytes, place, SECTOR).ok());
    let synced = later.any(|found| found.group_start as usize > at);
    Some(if synced { Missing::Corrupt } else { missing })
}
