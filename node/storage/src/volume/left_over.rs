use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use kv_types::KeyRange;

use super::Volume;
use crate::{Batch, Direction, Space, Table, TableError, rows, table::DELETE_BATCH};

/// Deletes, step by step, rows that no copy has: a copy's rows are deleted after it has been emptied or dropped, and a crash
/// in between leaves them on the disk. See [`Volume::left_over`].
pub struct LeftOver {
    table: Arc<dyn Table>,
    kept: BTreeSet<Space>,
    upto: Space,
    /// All before is done.
    from: Bytes,
}

impl Volume {
    /// What is left of copies that are gone: all rows of spaces up to and with `upto` but those of `kept`, and what older
    /// versions kept of sessions in space 0. Nobody may take one of those spaces while it is deleted: give out spaces above
    /// [`super::Recovered::last_space`], which is what `upto` should be.
    #[must_use]
    pub fn left_over(&self, kept: BTreeSet<Space>, upto: Space) -> LeftOver {
        LeftOver { table: self.table.clone(), kept, upto, from: rows::old_duplicate_tables().start }
    }
}

impl LeftOver {
    /// Deletes the next rows, at most [`DELETE_BATCH`], or goes past one space that is kept. Returns whether there may be
    /// more.
    ///
    /// # Errors
    /// [`TableError`] if rows can't be read.
    pub fn delete_some(&mut self) -> Result<bool, TableError> {
        let range = KeyRange { start: self.from.clone(), end: rows::space_range(self.upto).end };
        let mut batch = Batch::default();
        for row in self.table.scan(&range, Direction::Forward) {
            let key = row?.0;
            let space = rows::space_of(&key).unwrap_or_default();
            let is_kept = if space == Space(0) {
                !rows::old_duplicate_tables().contains(&key)
            } else {
                self.kept.contains(&space)
            };
            if is_kept {
                self.from = rows::space_range(Space(space.0.saturating_add(1))).start;
                break;
            }
            // The smallest key above: the next step does not go over what this one has deleted.
            self.from = [&key[..], &[0]].concat().into();
            batch.delete(key);
            if batch.len() == DELETE_BATCH {
                break;
            }
        }
        if range.start == self.from {
            return Ok(false);
        }
        if !batch.is_empty() {
            self.table.write(batch)?;
        }
        Ok(true)
    }
}
