use crate::{EntryId, Epoch, Seq};

/// From which seq on a log's entries have which epoch (KIP-101): enough to find where two logs part, without entries.
///
/// Starts are strictly ascending in both numbers. It reaches from the log's first entry, or from the base of a
/// snapshot, to its last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochHistory {
    starts: Vec<EntryId>,
    last: Seq,
}

impl EpochHistory {
    /// From the first seq of each epoch, and the last seq of the log. `None` if they don't ascend from the first epoch and
    /// the first entry on, or nothing could follow.
    #[must_use]
    pub fn new(starts: Vec<EntryId>, last: Seq) -> Option<Self> {
        let entries = starts.first().is_none_or(|first| first.epoch > Epoch(0) && first.seq > Seq(0));
        let ascending = starts.windows(2).all(|w| w[0].epoch < w[1].epoch && w[0].seq < w[1].seq);
        let covered = starts.last().is_none_or(|start| start.seq <= last);
        (entries && ascending && covered && last.0 < u64::MAX).then_some(Self { starts, last })
    }

    /// The first entry of each epoch.
    #[must_use]
    pub fn starts(&self) -> &[EntryId] {
        &self.starts
    }

    /// The last entry; [`EntryId::ZERO`] of an empty log.
    #[must_use]
    pub fn last(&self) -> EntryId {
        let epoch = self.starts.last().map_or(Epoch(0), |start| start.epoch);
        EntryId { epoch, seq: self.last }
    }

    /// The epoch of the entry at `seq`; `Epoch(0)` for seq 0, `None` where there is no entry.
    #[must_use]
    pub fn epoch_at(&self, seq: Seq) -> Option<Epoch> {
        if seq == Seq(0) {
            return Some(Epoch(0));
        }
        if seq > self.last {
            return None;
        }
        let after = self.starts.partition_point(|start| start.seq <= seq);
        after.checked_sub(1).map(|at| self.starts[at].epoch)
    }

    /// Whether this log has that very entry (or `id` is [`EntryId::ZERO`]).
    #[must_use]
    pub fn contains(&self, id: EntryId) -> bool {
        self.epoch_at(id.seq) == Some(id.epoch)
    }

    /// Adds an entry that follows the last one.
    ///
    /// # Panics
    /// If the entry does not follow: the caller has matched it.
    pub fn push(&mut self, id: EntryId) {
        assert_eq!(id.seq, self.last.next(), "entry {id:?} does not follow {:?}", self.last());
        let last_epoch = self.last().epoch;
        assert!(id.epoch >= last_epoch, "entry {id:?} goes back behind epoch {last_epoch}");
        if id.epoch > last_epoch {
            self.starts.push(id);
        }
        self.last = id.seq;
    }

    /// Cuts all entries above `seq`.
    pub fn truncate(&mut self, seq: Seq) {
        self.starts.retain(|start| start.seq <= seq);
        self.last = self.last.min(seq);
    }

    /// The last seq up to which both logs have the same entries.
    #[must_use]
    pub fn common_prefix(&self, other: &Self) -> Seq {
        let shorter = self.last.min(other.last);
        // Between two starts of either log the epochs don't change, so it is enough to look at the starts, from above.
        let mut points: Vec<Seq> = self.starts.iter().chain(&other.starts).map(|start| start.seq).collect();
        points.push(Seq(shorter.0 + 1));
        points.retain(|seq| seq.0 <= shorter.0 + 1 && seq.0 > 0);
        points.sort_unstable();
        points.dedup();
        // `points` are the first seqs of runs; the run before a point ends one below it.
        for point in points.into_iter().rev() {
            let end = Seq(point.0 - 1);
            if end == Seq(0) {
                break;
            }
            if self.epoch_at(end).is_some() && self.epoch_at(end) == other.epoch_at(end) {
                return end;
            }
        }
        Seq(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(epochs: &[u64]) -> EpochHistory {
        let mut history = EpochHistory::default();
        for (at, epoch) in epochs.iter().enumerate() {
            history.push(EntryId::new(*epoch, at as u64 + 1));
        }
        history
    }

    #[test]
    fn the_common_prefix_ends_where_epochs_part() {
        let cases: [(&[u64], &[u64], u64); 7] = [
            (&[1, 1, 1], &[1, 1, 1], 3),
            (&[1, 1, 2], &[1, 1, 3], 2),
            (&[1, 1, 2, 2, 4], &[1, 1, 2, 3], 3),
            (&[], &[1], 0),
            (&[2], &[3, 3], 0),
            (&[1, 1, 1, 1], &[1, 2, 2, 2], 1),
            (&[1, 3], &[1, 3, 3, 3], 2),
        ];
        for (a, b, expected) in cases {
            assert_eq!(history(a).common_prefix(&history(b)), Seq(expected), "{a:?} {b:?}");
            assert_eq!(history(b).common_prefix(&history(a)), Seq(expected), "{b:?} {a:?}");
        }
    }

    #[test]
    fn what_is_before_the_first_entry_starts_no_epoch() {
        assert!(EpochHistory::new(vec![EntryId::new(1, 1)], Seq(1)).is_some());
        for start in [EntryId::ZERO, EntryId::new(1, 0), EntryId::new(0, 1)] {
            assert_eq!(EpochHistory::new(vec![start], Seq(1)), None, "{start:?}");
        }
    }

    #[test]
    fn truncation_forgets_the_epochs_above() {
        let mut log = history(&[1, 1, 2, 3]);
        log.truncate(Seq(3));
        assert_eq!(log.last(), EntryId::new(2, 3));
        assert!(log.contains(EntryId::new(2, 3)) && !log.contains(EntryId::new(3, 4)));
        log.truncate(Seq(0));
        assert_eq!(log.last(), EntryId::ZERO);
        assert!(log.contains(EntryId::ZERO));
    }
}
