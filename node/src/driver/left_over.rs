//! Deletes in the background what a crash has left of copies that are gone.

use std::{sync::Arc, time::Duration};

use kv_storage::{LeftOver, Pressure};
use tracing::{info, warn};

use super::volumes::OpenVolume;

/// Between two steps, of which each deletes a bounded number of rows: requests come first.
const PAUSE: Duration = Duration::from_millis(20);

/// Ends when all is deleted.
pub(super) async fn run(volume: Arc<OpenVolume>, mut left_over: LeftOver) {
    let folder = volume.folder;
    let mut steps = 0_u64;
    loop {
        let step = tokio::task::spawn_blocking(move || {
            let more = left_over.delete_some();
            (left_over, more)
        });
        // The node stops.
        let Ok((rest, more)) = step.await else { return };
        match more {
            Ok(true) => steps += 1,
            Ok(false) => break,
            // Nothing reads these rows; the next start goes over them again.
            Err(error) => {
                warn!(%folder, %error, "rows of former copies were not deleted");
                return;
            }
        }
        left_over = rest;
        tokio::time::sleep(PAUSE).await;
        while volume.volume.table().pressure() != Pressure::None {
            tokio::time::sleep(PAUSE).await;
        }
    }
    info!(%folder, steps, "rows of former copies are deleted");
}

#[cfg(test)]
mod tests {
    use kv_storage::{Batch, Direction, Space, rows};
    use kv_types::EntryId;

    use super::*;
    use crate::driver::fixture::{self, SHARD};

    #[tokio::test]
    async fn a_start_deletes_rows_of_spaces_that_no_copy_has() {
        let folder = tempfile::tempdir().expect("a folder");
        let (shared, _) = fixture::open(folder.path());
        let own = shared.make_empty(SHARD, &shared.volumes[0], false).lock().space;
        // Of a copy that was dropped, and of which the rows are on the disk still.
        let former = shared.volumes[0].new_space();
        let mut batch = Batch::default();
        batch.put(rows::applied_key(SHARD), rows::encode_applied(EntryId::new(1, 1), own));
        for row in 0..3000_u32 {
            batch.put(rows::data_key(former, &row.to_be_bytes()), "of a former copy");
            batch.put(rows::ttl_key(former, 1, &row.to_be_bytes()), "");
        }
        batch.put(rows::data_key(own, b"key"), "own");
        shared.volumes[0].volume.table().write(batch).expect("is written");
        shared.volumes[0].volume.table().flush().expect("is flushed");
        drop(shared);

        let (shared, [left_over, _]) = fixture::open(folder.path());
        run(Arc::clone(&shared.volumes[0]), left_over).await;
        let count = |space: Space| {
            let table = shared.volumes[0].volume.table();
            table.scan(&rows::space_range(space), Direction::Forward).count()
        };
        assert_eq!((count(own), count(former)), (1, 0));
    }
}
