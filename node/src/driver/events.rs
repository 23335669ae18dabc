//! The latest changes of a shard, for watches: kept on every copy, so that a watch goes on after a failover.

use std::collections::VecDeque;

use bytes::Bytes;
use kv_replication::apply::{Change, Value};
use kv_types::{KeyRange, Seq};
use tokio::sync::watch;

/// Bytes of keys and values that are kept for each copy.
pub(crate) const KEPT_BYTES: usize = 1 << 20;
/// Changes that are kept however large they are: a watch must have time to take the last ones.
const KEPT_LEAST: usize = 4;

/// A change of a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The key.
    pub key: Bytes,
    /// The shard's seq.
    pub revision: u64,
    /// What became of it.
    pub kind: EventKind,
}

/// What became of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// It has this value now.
    Put(Value),
    /// It was deleted.
    Delete,
    /// Its deadline had passed.
    Expire,
}

impl Event {
    /// The event that a change of the table is; none for changes that no client sees.
    pub(super) fn of(change: &Change) -> Option<Self> {
        match change {
            Change::Put { key, value } => {
                Some(Self { key: key.clone(), revision: value.revision, kind: EventKind::Put(value.clone()) })
            }
            Change::Delete { key, revision, expired } => {
                let kind = if *expired { EventKind::Expire } else { EventKind::Delete };
                Some(Self { key: key.clone(), revision: *revision, kind })
            }
            _ => None,
        }
    }

    fn size(&self) -> usize {
        let value = if let EventKind::Put(value) = &self.kind { value.value.len() } else { 0 };
        self.key.len() + value + 96
    }
}

/// The events after `since`, up to and with `until`.
pub(crate) struct Events {
    since: Seq,
    until: Seq,
    events: VecDeque<Event>,
    bytes: usize,
    changed: watch::Sender<Seq>,
}

/// The events asked for are not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Events after this seq are kept.
    pub since: Seq,
}

impl Events {
    pub(super) fn new(applied: Seq) -> Self {
        let changed = watch::Sender::new(applied);
        Self { since: applied, until: applied, events: VecDeque::new(), bytes: 0, changed }
    }

    /// Begins anew after a snapshot.
    pub(super) fn restart(&mut self, applied: Seq) {
        self.since = applied;
        self.until = applied;
        self.events.clear();
        self.bytes = 0;
        self.changed.send_replace(applied);
    }

    pub(super) fn push(&mut self, until: Seq, events: impl Iterator<Item = Event>) {
        for event in events {
            self.bytes += event.size();
            self.events.push_back(event);
        }
        self.until = until;
        while self.bytes > KEPT_BYTES && self.events.len() > KEPT_LEAST {
            // The last entry is whole or not here at all.
            let last = self.events.back().map(|event| event.revision);
            let Some(event) = self.events.pop_front_if(|event| Some(event.revision) != last) else { break };
            self.bytes -= event.size();
            self.since = Seq(event.revision);
            // Events of one entry go together.
            while let Some(same) = self.events.pop_front_if(|next| next.revision == event.revision) {
                self.bytes -= same.size();
            }
        }
        // Waking nobody costs something, too.
        let watched = self.changed.receiver_count() > 0;
        self.changed.send_if_modified(|known| {
            *known = until;
            watched
        });
    }

    /// At most `max` events of `range` after `seq`, but whole entries, and up to which seq that is all there is.
    pub(super) fn after(&self, seq: Seq, range: &KeyRange, max: usize) -> Result<(Vec<Event>, Seq), Compacted> {
        if seq < self.since {
            return Err(Compacted { since: self.since });
        }
        let first = self.events.partition_point(|event| event.revision <= seq.0);
        let mut found: Vec<Event> = Vec::new();
        for event in self.events.range(first..) {
            if found.len() >= max && found.last().is_some_and(|last| last.revision != event.revision) {
                return Ok((found, Seq(event.revision - 1)));
            }
            if range.contains(&event.key) {
                found.push(event.clone());
            }
        }
        // A copy that has only just begun to lead may not have applied all that the last one had.
        Ok((found, self.until.max(seq)))
    }

    /// Has watches look again: whether the copy leads, and which keys.
    pub(super) fn wake(&self) {
        self.changed.send_modify(|_| {});
    }

    /// Tells when there is more.
    pub(super) fn subscribe(&self) -> watch::Receiver<Seq> {
        self.changed.subscribe()
    }
}

impl Clone for Events {
    fn clone(&self) -> Self {
        let Self { since, until, events, bytes, .. } = self;
        Self {
            since: *since,
            until: *until,
            events: events.clone(),
            bytes: *bytes,
            changed: watch::Sender::new(*until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(revision: u64, bytes: usize) -> Event {
        let value = Value { value: vec![0; bytes].into(), revision, expires_at_millis: 0 };
        Event { key: format!("k{revision}").into(), revision, kind: EventKind::Put(value) }
    }

    #[test]
    fn events_come_in_order_and_old_ones_are_compacted() {
        let mut events = Events::new(Seq(10));
        for revision in 11..=20 {
            events.push(Seq(revision), [event(revision, KEPT_BYTES / 5)].into_iter());
        }
        let compacted = events.after(Seq(10), &KeyRange::all(), 100).expect_err("they don't fit");
        let (kept, until) = events.after(compacted.since, &KeyRange::all(), 100).expect("is kept");
        assert_eq!(until, Seq(20));
        let revisions: Vec<_> = kept.iter().map(|event| event.revision).collect();
        assert_eq!(revisions, (compacted.since.0 + 1..=20).collect::<Vec<_>>());
        let (one, until) = events.after(Seq(18), &KeyRange::all(), 1).expect("is kept");
        assert_eq!((one.len(), until), (1, Seq(19)));
        let (none, until) = events.after(Seq(18), &KeyRange::prefix(b"x"), 1).expect("is kept");
        assert_eq!((none.len(), until), (0, Seq(20)));
        let (ahead, until) = events.after(Seq(25), &KeyRange::all(), 1).expect("it was told by another copy");
        assert_eq!((ahead.len(), until), (0, Seq(25)), "it never goes back");
    }

    #[test]
    fn the_last_changes_are_kept_however_large() {
        let mut events = Events::new(Seq(0));
        for revision in 1..=10 {
            events.push(Seq(revision), [event(revision, 2 * KEPT_BYTES)].into_iter());
        }
        let (kept, _) = events.after(Seq(6), &KeyRange::all(), 100).expect("the last four are kept");
        assert_eq!(kept.len(), KEPT_LEAST);
        assert_eq!(events.after(Seq(5), &KeyRange::all(), 100), Err(Compacted { since: Seq(6) }));
        let batch = (0..20).map(|_| event(11, KEPT_BYTES));
        events.push(Seq(11), batch);
        let (kept, until) = events.after(Seq(10), &KeyRange::all(), 1).expect("the last entry is whole");
        assert_eq!((kept.len(), until), (20, Seq(11)));
    }
}
