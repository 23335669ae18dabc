//! Committed entries on their way to the table.

use kv_replication::core::Committed;
use kv_types::Command;

/// Bounds on what waits.
const MAX_ENTRIES: usize = 256;
const MAX_BYTES: usize = 1 << 20;

/// Committed entries that are not in the table yet. Nobody reads a follower's table, so there writes wait for each other: the results of
/// most are forgotten again within the batch, and what a batch costs is shared. No longer than to the next tick.
#[derive(Default)]
pub(super) struct Unapplied {
    entries: Vec<Committed>,
    bytes: usize,
}

impl Unapplied {
    /// Takes more entries. Whether all are due now, even if nobody reads the table.
    #[must_use]
    pub(super) fn take(&mut self, committed: Vec<Committed>) -> bool {
        self.bytes += committed.iter().map(|committed| committed.entry.payload.len()).sum::<usize>();
        // A split makes a copy, which must be there before ZooKeeper tells of it.
        let due =
            committed.iter().any(|committed| committed.token.is_some() || !Command::is_write(&committed.entry.payload));
        self.entries.extend(committed);
        due || self.entries.len() >= MAX_ENTRIES || self.bytes >= MAX_BYTES
    }

    pub(super) fn drain(&mut self) -> Vec<Committed> {
        self.bytes = 0;
        std::mem::take(&mut self.entries)
    }
}

#[cfg(test)]
mod tests {
    use kv_replication::core::{Effect, Input, Token};
    use kv_types::{Entry, EntryId, Operation, Seq, Split, Write};

    use super::*;
    use crate::driver::fixture::{self, SHARD};

    fn committed(seq: u64, command: &Command, token: Option<Token>) -> Committed {
        Committed { entry: Entry { id: EntryId::new(1, seq), payload: command.encode() }, token }
    }

    fn write(bytes: usize) -> Command {
        let operations = vec![Operation::put("key", vec![0; bytes])];
        Command::Write(Write { operations, ..Write::default() })
    }

    #[test]
    fn only_writes_that_nobody_waits_for_may_wait_and_so_many_at_most() {
        let due = |command: &Command, token| Unapplied::default().take(vec![committed(1, command, token)]);
        assert!(!due(&write(1), None));
        assert!(due(&write(1), Some(Token(1))));
        assert!(due(&write(MAX_BYTES), None));
        for other in [Command::Barrier, Command::Split(Split { child: SHARD, at: "m".into() })] {
            assert!(due(&other, None), "{other:?}");
        }
        let mut unapplied = Unapplied::default();
        let due = (1..=MAX_ENTRIES as u64).position(|seq| unapplied.take(vec![committed(seq, &write(1), None)]));
        assert_eq!((due, unapplied.drain().len()), (Some(MAX_ENTRIES - 1), MAX_ENTRIES));
        assert!(!unapplied.take(vec![committed(1, &write(MAX_BYTES / 2), None)]), "drained, it begins anew");
    }

    #[tokio::test]
    async fn what_a_follower_has_not_applied_is_in_the_table_with_the_next_tick_and_before_it_leads() {
        let folder = tempfile::tempdir().expect("a folder");
        let (shared, _) = fixture::open(folder.path());
        let replica = shared.make_empty(SHARD, &shared.volumes[0], false);
        let take = |seq| {
            let mut state = replica.lock();
            state.execute(&shared, &replica, Effect::Apply(vec![committed(seq, &write(1), None)]));
            state.applied.seq
        };
        assert_eq!(take(1), Seq(0));
        replica.step(&shared, Input::Tick);
        assert_eq!(replica.lock().applied.seq, Seq(1));
        assert_eq!(take(2), Seq(1));
        replica.lock().execute(&shared, &replica, Effect::Leads(true));
        assert_eq!(replica.lock().applied.seq, Seq(2));
        assert_eq!(take(3), Seq(3), "who leads waits with none");
        replica.lock().execute(&shared, &replica, Effect::Leads(false));
        assert_eq!(take(4), Seq(3));
        replica.lock().start_over(&shared, &replica);
        replica.step(&shared, Input::Tick);
        assert_eq!(replica.lock().applied.seq, Seq(0), "what it was is not applied to what it is");
    }

    #[tokio::test]
    async fn a_damaged_copy_applies_nothing_more_and_does_not_lead() {
        let folder = tempfile::tempdir().expect("a folder");
        let (shared, _) = fixture::open(folder.path());
        let replica = shared.make_empty(SHARD, &shared.volumes[0], false);
        let mut state = replica.lock();
        state.broken = Some("an entry could not be applied".to_owned());
        state.execute(&shared, &replica, Effect::Apply(vec![committed(2, &Command::Barrier, None)]));
        assert_eq!(state.applied.seq, Seq(0), "the entry that failed would be skipped");
        state.execute(&shared, &replica, Effect::Leads(true));
        assert!(!replica.leads());
    }
}
