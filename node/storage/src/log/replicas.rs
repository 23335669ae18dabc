use std::collections::BTreeMap;

use kv_types::{Entry, EntryId, Epoch, EpochHistory, Seq, ShardId};

use super::{ReplicaState, record::Record};

/// What a record does to a replica, without the entries themselves. One definition for the living log, for the
/// writer's checkpoints and for recovery, so that they can't disagree.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Replica {
    pub(super) state: ReplicaState,
    pub(super) history: EpochHistory,
}

/// The replicas of a volume at some position of its log.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Replicas(pub(super) BTreeMap<ShardId, Replica>);

/// An entry that doesn't continue its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {}/{} does not continue the log, which ends with {}/{}", .entry.epoch, .entry.seq, .last.epoch, .last.seq)]
pub struct Misfit {
    /// The entry.
    pub entry: EntryId,
    /// The entry before it, or the last of the log.
    pub last: EntryId,
}

impl Replica {
    /// Where the log ends once what the entry replaces is cut.
    pub(super) fn fits(&self, entry: EntryId) -> Result<(), Misfit> {
        let last = self.history.last();
        // The highest seq is nobody's: nothing could follow it.
        let nobodys = entry.epoch == Epoch(0) || [Seq(0), Seq(u64::MAX)].contains(&entry.seq);
        if nobodys || entry.seq > last.seq.next() {
            return Err(Misfit { entry, last });
        }
        let before = Seq(entry.seq.0 - 1);
        let epoch = self.history.epoch_at(before).unwrap_or_default();
        let last = EntryId { epoch, seq: before };
        if entry.epoch < epoch { Err(Misfit { entry, last }) } else { Ok(()) }
    }

    /// Adds an entry that fits.
    pub(super) fn push(&mut self, entry: EntryId) -> Result<(), Misfit> {
        self.fits(entry)?;
        if entry.seq <= self.history.last().seq {
            self.history.truncate(Seq(entry.seq.0 - 1));
        }
        self.history.push(entry);
        Ok(())
    }
}

impl Replicas {
    pub(super) fn apply(&mut self, record: &Record) -> Result<(), Misfit> {
        match record {
            Record::Entry(shard, Entry { id, .. }) => return self.replica(*shard).push(*id),
            Record::Truncate(shard, last) => self.replica(*shard).history.truncate(*last),
            Record::State(shard, state) => self.replica(*shard).state = state.clone(),
            Record::Reset(shard, history) => self.replica(*shard).history = history.clone(),
            Record::Forget(shard) => {
                self.0.remove(shard);
            }
            Record::Checkpoints { .. } => {}
            Record::Checkpoint(shard, state, history) => {
                self.0.insert(*shard, Replica { state: state.clone(), history: history.clone() });
            }
        }
        Ok(())
    }

    fn replica(&mut self, shard: ShardId) -> &mut Replica {
        self.0.entry(shard).or_default()
    }

    /// The records that a segment begins with, before `rewritten` ones from `previous_end` of the segment before on.
    pub(super) fn checkpoint(&self, previous_end: u32, rewritten: u64) -> Vec<Record> {
        let count = Record::Checkpoints { count: self.0.len() as u64, rewritten, previous_end };
        let each = self
            .0
            .iter()
            .map(|(shard, replica)| Record::Checkpoint(*shard, replica.state.clone(), replica.history.clone()));
        std::iter::once(count).chain(each).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_entry_is_of_the_epoch_before_the_first() {
        let mut replica = Replica::default();
        assert!(replica.push(EntryId::new(0, 1)).is_err());
        assert_eq!(replica.push(EntryId::new(1, 1)), Ok(()));
    }

    #[test]
    fn no_entry_has_the_highest_seq() {
        let history = EpochHistory::new(vec![EntryId::new(1, 1)], Seq(u64::MAX - 2)).unwrap();
        let mut replica = Replica { history, ..Replica::default() };
        assert_eq!(replica.push(EntryId::new(1, u64::MAX - 1)), Ok(()));
        assert!(replica.push(EntryId::new(1, u64::MAX)).is_err());
        assert!(EpochHistory::new(replica.history.starts().to_vec(), replica.history.last().seq).is_some());
    }
}
