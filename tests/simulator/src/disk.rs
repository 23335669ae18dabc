use std::collections::VecDeque;

use kv_replication::core::{Recovered, Ticket};
use kv_types::{Entry, EntryId, Epoch, EpochHistory, Lineage, Seq, ShardId};

use crate::{rng::Rng, table::Table};

/// One replica's part of a volume: what was written, and what of it would survive a crash.
#[derive(Debug)]
pub(crate) struct Disk {
    shard: ShardId,
    written: Log,
    durable: Log,
    unsynced: VecDeque<(Ticket, Write)>,
    promised: Epoch,
    lineage: Lineage,
    void: bool,
    torn: bool,
    table: Table,
}

#[derive(Debug)]
pub(crate) enum Write {
    Append(Vec<Entry>),
    Truncate(Seq),
    Promise {
        epoch: Epoch,
        lineage: Lineage,
        void: bool,
    },
    /// With the table of the snapshot that the log starts after.
    Reset {
        history: EpochHistory,
        table: Box<Table>,
    },
}

/// A log file: entries from `first` on, and the history of all.
#[derive(Clone, Debug)]
struct Log {
    history: EpochHistory,
    first: Seq,
    entries: VecDeque<Entry>,
}

impl Log {
    fn after(history: EpochHistory) -> Self {
        Self { first: history.last().seq.next(), history, entries: VecDeque::new() }
    }

    fn take(&mut self, write: &Write) {
        match write {
            Write::Append(entries) => {
                for entry in entries {
                    self.history.push(entry.id);
                    self.entries.push_back(entry.clone());
                }
            }
            Write::Truncate(after) => {
                self.history.truncate(*after);
                while self.entries.pop_back_if(|entry| entry.id.seq > *after).is_some() {}
                self.first = self.first.min(after.next());
            }
            Write::Promise { .. } => {}
            Write::Reset { history, .. } => *self = Self::after(history.clone()),
        }
    }

    fn from(&self, from: Seq) -> Option<impl Iterator<Item = &Entry>> {
        let skip = from.0.checked_sub(self.first.0)?;
        Some(self.entries.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)))
    }

    fn trim(&mut self, up_to: Seq) {
        while self.entries.pop_front_if(|entry| entry.id.seq <= up_to).is_some() {
            self.first = self.first.next();
        }
    }
}

impl Disk {
    pub(crate) fn empty(shard: ShardId) -> Self {
        Self {
            shard,
            written: Log::after(EpochHistory::default()),
            durable: Log::after(EpochHistory::default()),
            unsynced: VecDeque::new(),
            promised: Epoch(0),
            lineage: Lineage(0),
            void: false,
            torn: false,
            table: Table::empty(shard),
        }
    }

    /// A child's copy, as the split entry makes it on every volume that holds the parent's log up to there.
    pub(crate) fn of_child(&self, child: ShardId, table: Table, history: EpochHistory) -> Self {
        let promised = history.last().epoch;
        let log = Log::after(history);
        Self { written: log.clone(), durable: log, lineage: self.lineage, promised, table, ..Self::empty(child) }
    }

    pub(crate) fn write(&mut self, ticket: Ticket, write: Write) {
        self.written.take(&write);
        self.unsynced.push_back((ticket, write));
    }

    pub(crate) fn sync(&mut self, ticket: Ticket) {
        while let Some((_, write)) = self.unsynced.pop_front_if(|(waiting, _)| *waiting <= ticket) {
            self.make_durable(write);
        }
    }

    fn make_durable(&mut self, write: Write) {
        self.durable.take(&write);
        match write {
            Write::Append(_) | Write::Truncate(_) => {}
            Write::Promise { epoch, lineage, void } => {
                (self.promised, self.lineage, self.void) = (epoch, lineage, void);
            }
            Write::Reset { table, .. } => self.table = *table,
        }
    }

    /// Any prefix of what was not synced survives.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        let survive = match rng.below(4) {
            0 => 0,
            1 => self.unsynced.len(),
            _ => rng.index(self.unsynced.len() + 1),
        };
        for _ in 0..survive {
            if let Some((_, write)) = self.unsynced.pop_front() {
                self.make_durable(write);
            }
        }
        // A record that was cut in its middle is not empty, so it can be told from nothing.
        self.torn |= matches!(self.unsynced.front(), Some((_, Write::Append(_)))) && rng.chance(300);
        self.unsynced.clear();
        self.written = self.durable.clone();
    }

    /// The volume has lost its log: it was damaged, and not at its end.
    pub(crate) fn corrupt(&mut self) {
        let (promised, lineage, shard) = (self.promised, self.lineage, self.shard);
        *self = Self { promised, lineage, void: true, ..Self::empty(shard) };
    }

    pub(crate) fn recover(&mut self) -> Recovered {
        let applied = self.table.applied();
        Recovered {
            promised: self.promised,
            lineage: self.lineage,
            history: self.durable.history.clone(),
            applied,
            tail: self.durable.from(applied.next()).map(|tail| tail.cloned().collect()).unwrap_or_default(),
            void: self.void,
            torn: self.torn,
        }
    }

    /// The process has led or been matched since: what was torn is known to be there.
    pub(crate) fn mend(&mut self) {
        self.torn = false;
    }

    pub(crate) fn fetch(&self, from: Seq, max_bytes: usize) -> Option<Vec<Entry>> {
        let mut bytes = 0;
        let entries = self.written.from(from)?;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += entry.payload.len() + 64;
            first || bytes <= max_bytes
        };
        Some(entries.take_while(fits).cloned().collect())
    }

    /// The table reaches the disk; never ahead of the log, which it is replayed from.
    pub(crate) fn persist(&mut self, table: Table) {
        let reset = self.unsynced.iter().any(|(_, write)| matches!(write, Write::Reset { .. }));
        if table.applied() <= self.durable.history.last().seq && table.applied() >= self.table.applied() && !reset {
            self.table = table;
        }
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn trim(&mut self, needed_from: Seq) {
        let up_to = Seq(needed_from.0.saturating_sub(1)).min(self.table.applied());
        self.written.trim(up_to);
        self.durable.trim(up_to);
    }

    /// Whether this very entry would survive a crash now.
    pub(crate) fn holds(&self, id: EntryId) -> bool {
        self.durable.history.contains(id)
    }

    /// Whether it was written, durable or not.
    pub(crate) fn holds_written(&self, id: EntryId) -> bool {
        self.written.history.contains(id)
    }

    pub(crate) fn last_written(&self) -> EntryId {
        self.written.history.last()
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.unsynced.is_empty()
    }

    pub(crate) fn is_promising(&self) -> bool {
        self.unsynced.iter().any(|(_, write)| matches!(write, Write::Promise { .. }))
    }

    pub(crate) fn is_torn(&self) -> bool {
        self.torn
    }

    pub(crate) fn is_void(&self) -> bool {
        self.void
    }

    pub(crate) fn lineage(&self) -> Lineage {
        self.lineage
    }

    pub(crate) fn recovered_table(&self) -> Table {
        self.table.clone()
    }
}
