use std::{cmp::Ordering, collections::VecDeque, sync::Arc};

use bytes::Bytes;
use kv_types::KeyRange;

use super::{
    Direction, TableError,
    memtable::{BatchNumber, Memtable, Row},
};

/// Rows are taken from a memtable in pieces of this many, each under its lock once.
const PIECE: usize = 256;

/// Rows on the disk, in order.
pub(super) type Stored = Box<dyn Iterator<Item = Result<(Bytes, Bytes), TableError>> + Send>;

/// Merges memtables and what is on the disk; of the same key the newest counts. Keeps `guard` as long as it lives.
pub(super) struct Scan<G> {
    direction: Direction,
    snapshot: BatchNumber,
    /// Newest first.
    memtables: Vec<Source>,
    stored: Stored,
    next_stored: Option<(Bytes, Bytes)>,
    started: bool,
    failed: bool,
    _guard: G,
}

struct Source {
    memtable: Arc<Memtable>,
    rest: Option<KeyRange>,
    piece: VecDeque<Row>,
}

impl<G> Scan<G> {
    pub(super) fn new(
        memtables: Vec<Arc<Memtable>>,
        stored: Stored,
        range: &KeyRange,
        direction: Direction,
        snapshot: BatchNumber,
        guard: G,
    ) -> Self {
        let source = |memtable| Source { memtable, rest: Some(range.clone()), piece: VecDeque::new() };
        Self {
            direction,
            snapshot,
            memtables: memtables.into_iter().map(source).collect(),
            stored,
            next_stored: None,
            started: false,
            failed: false,
            _guard: guard,
        }
    }

    fn advance_stored(&mut self) -> Result<(), TableError> {
        self.next_stored = self.stored.next().transpose()?;
        Ok(())
    }

    fn comes_first(&self, a: &Bytes, b: &Bytes) -> Ordering {
        match self.direction {
            Direction::Forward => a.cmp(b),
            Direction::Reverse => b.cmp(a),
        }
    }

    fn step(&mut self) -> Result<Option<(Bytes, Bytes)>, TableError> {
        if !self.started {
            self.started = true;
            self.advance_stored()?;
        }
        loop {
            for source in &mut self.memtables {
                source.fill(self.direction, self.snapshot);
            }
            let fronts = self.memtables.iter().filter_map(|source| source.piece.front().map(|(key, _)| key));
            let stored = self.next_stored.as_ref().map(|(key, _)| key);
            let Some(key) = fronts.chain(stored).min_by(|a, b| self.comes_first(a, b)).cloned() else {
                return Ok(None);
            };
            let mut newest = None;
            for source in &mut self.memtables {
                if let Some((_, value)) = source.piece.pop_front_if(|(of, _)| *of == key) {
                    newest.get_or_insert(value);
                }
            }
            if let Some((_, value)) = self.next_stored.take_if(|(of, _)| *of == key) {
                newest.get_or_insert(Some(value));
                self.advance_stored()?;
            }
            if let Some(Some(value)) = newest {
                return Ok(Some((key, value)));
            }
        }
    }
}

impl Source {
    fn fill(&mut self, direction: Direction, snapshot: BatchNumber) {
        while self.piece.is_empty() {
            let Some(range) = self.rest.take() else { return };
            let (rows, rest) = self.memtable.rows(&range, direction, snapshot, PIECE);
            self.piece = rows.into();
            self.rest = rest;
        }
    }
}

impl<G> Iterator for Scan<G> {
    type Item = Result<(Bytes, Bytes), TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed = step.is_err();
        step.transpose()
    }
}
