use std::{collections::BTreeMap, io};

use kv_types::{EpochHistory, Seq, ShardId, VolumeId};

use super::{
    ReplicaState,
    front::{Place, place},
    index::Index,
    parse::{Beginning, Parsed, Placed},
    record::{Missing, Record},
    replicas::Replicas,
    segment::{self, BLOCK, FORMAT, Segment},
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
    /// Where it is cut. It keeps all that its beginning says it has, though that is written again: without a whole beginning
    /// it could not say any more where the segment before it ends.
    pub(super) cut: u32,
    /// Whether a checkpoint has been read.
    known: bool,
    torn: Option<String>,
    /// Nobody knows whose records are lost.
    damage: Option<String>,
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
        let mut replay = Self { end: BLOCK as u32, cut: BLOCK as u32, ..Self::default() };
        let blank = replay.drop_unwritten(disk, volume, &mut numbers)?;
        replay.last_segment = match (numbers.last(), blank.first()) {
            (Some(last), _) => *last,
            (None, Some(spare)) => spare.saturating_sub(1),
            (None, None) => 0,
        };
        for number in blank {
            // The first is used next; any other would stand in the way of a number to come.
            if number != replay.last_segment + 1 {
                disk.remove(&segment::name(number))?;
            }
        }
        // Removed from the oldest on, but the disk may have kept an older one and not a newer one.
        let gap = numbers.windows(2).rposition(|pair| pair[0] + 1 != pair[1]);
        for number in numbers.drain(..gap.map_or(0, |gap| gap + 1)) {
            disk.remove(&segment::name(number))?;
        }
        replay.read_all(disk, volume, &numbers)?;
        Ok(replay)
    }

    /// Takes segments from the end of `numbers` in which nothing counts: those that were only prepared, which it returns
    /// in ascending order, and one whose beginning was torn, which it removes.
    fn drop_unwritten(
        &mut self,
        disk: &dyn Disk,
        volume: VolumeId,
        numbers: &mut Vec<u64>,
    ) -> Result<Vec<u64>, ReplayError> {
        let mut blank = Vec::new();
        while let Some(number) = numbers.last().copied() {
            let parsed = Parsed::read(&Segment::open(disk, number)?, volume)?;
            if parsed.is_blank() {
                blank.push(number);
            } else if parsed.beginning().is_none() && parsed.missing != Some(Missing::Corrupt) {
                self.torn = Some(format!("segment {number} was torn at byte {}", parsed.end));
                disk.remove(&segment::name(number))?;
            } else {
                break;
            }
            numbers.pop();
        }
        blank.reverse();
        Ok(blank)
    }

    /// Whether there was no record at all. A log whose replicas have all been forgotten is not empty.
    pub(crate) fn is_empty(&self) -> bool {
        !self.known
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

    fn read_all(&mut self, disk: &dyn Disk, volume: VolumeId, numbers: &[u64]) -> Result<(), ReplayError> {
        let mut before: Option<(Segment, Parsed)> = None;
        for number in numbers {
            let segment = Segment::open(disk, *number)?;
            let parsed = Parsed::read(&segment, volume)?;
            if let Some((segment, before)) = before {
                let limit = parsed.beginning().map(|beginning| beginning.previous_end);
                self.absorb(segment, before, limit);
            }
            before = Some((segment, parsed));
        }
        if let Some((segment, last)) = before {
            self.absorb_last(segment, last);
        }
        if !self.known && self.damage.is_some() {
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
        if let Some(why) = self.damage.take() {
            self.lost.extend(self.after.0.keys().map(|shard| (*shard, why.clone())));
        }
        Ok(())
    }

    /// A segment that another follows, which says that it ends at `limit`, unless that can't be read.
    fn absorb(&mut self, segment: Segment, parsed: Parsed, limit: Option<u32>) {
        let number = segment.number;
        match limit {
            // What is missing shows where the next checkpoint is compared.
            Some(limit) if parsed.end < limit as usize => {
                tracing::warn!(segment = number, offset = parsed.end, "a segment of the log is damaged");
            }
            // The next one was begun, so all of this one had been on the disk.
            None if parsed.missing.is_some() => {
                self.damage = Some(format!("segment {number} is damaged at byte {}", parsed.end));
            }
            _ => {}
        }
        let Some(beginning) = parsed.beginning() else { return };
        let limit = limit.unwrap_or(u32::MAX);
        self.begin(&segment, &parsed, &beginning, limit.min(parsed.end as u32));
        for parsed in parsed.records.into_iter().skip(beginning.checkpoints) {
            if parsed.offset < limit {
                self.apply(&parsed.record, number, parsed.offset);
            }
        }
    }

    /// The last segment: its last group may be in the page cache only.
    fn absorb_last(&mut self, segment: Segment, parsed: Parsed) {
        let number = segment.number;
        match parsed.missing {
            Some(Missing::Torn) => self.torn = Some(format!("segment {number} was torn at byte {}", parsed.end)),
            Some(Missing::Corrupt) => self.damage = Some(format!("segment {number} is damaged at byte {}", parsed.end)),
            None => {}
        }
        let Some(beginning) = parsed.beginning() else { return };
        // A group begins with a record, and not behind its own, whatever a record says.
        let said = parsed.records.last().map_or(0, |last| last.group_start);
        let mut starts = parsed.records.iter().rev().map(|placed| placed.offset);
        let group = starts.find(|offset| *offset <= said).unwrap_or(0);
        self.end = group.max(beginning.end);
        self.cut = group.max(beginning.rewritten_end);
        self.begin(&segment, &parsed, &beginning, self.end);
        for parsed in parsed.records.into_iter().skip(beginning.checkpoints) {
            if parsed.offset >= group {
                self.rewrite.push(parsed.record);
            } else {
                self.apply(&parsed.record, number, parsed.offset);
            }
        }
    }

    fn begin(&mut self, segment: &Segment, parsed: &Parsed, beginning: &Beginning, end: u32) {
        self.index.add_segment(segment.clone());
        self.index.set_used(segment.number, end);
        self.adopt(&parsed.records[..beginning.checkpoints], self.known, segment.number);
        self.known = true;
    }

    /// Takes what a segment begins with, and compares it with what the segments before have come to.
    fn adopt(&mut self, checkpoint: &[Placed], compare: bool, number: u64) {
        let mut new = Replicas::default();
        for placed in checkpoint {
            let _ = new.apply(&placed.record);
        }
        for shard in self.replicas.0.keys().filter(|shard| !new.0.contains_key(shard)) {
            self.index.forget(*shard);
            self.lost.remove(shard);
        }
        for (shard, replica) in &new.0 {
            let last = replica.history.last();
            // A log that was cut below all that is known of it has a last seq, and no epoch.
            let same = |history: &EpochHistory| *history == replica.history || history.contains(last);
            let had = self.replicas.0.get(shard).is_some_and(|replica| same(&replica.history));
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
