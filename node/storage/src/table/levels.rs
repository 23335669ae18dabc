use lsm_tree::compaction::Leveled;

/// Flushed memtables that are merged into the first level at once.
pub(super) const FLUSHED: u8 = 4;

/// How many times as large as the one above a level becomes.
const MAX_RATIO: f64 = 10.0;

/// What is merged next in a tree whose levels have so many bytes, from the one of flushed memtables on.
///
/// Sorted tables are as large as a memtable: each is synced as a whole, and the log's syncs wait behind that.
///
/// Rows of upper levels are, at worst, newer versions of what the last level holds. So levels between the first and the
/// last get their size from what the last one holds now, and not from the number of levels above them: else the last but
/// one could grow as large as the last, and outdated rows take as much room as live ones (the rule of `RocksDB`'s
/// `level_compaction_dynamic_level_bytes`).
pub(super) fn strategy(levels: &[u64], memtable_bytes: u64) -> Leveled {
    let first_bytes = u64::from(FLUSHED) * memtable_bytes;
    let used = levels.iter().skip(1).skip_while(|bytes| **bytes == 0).count();
    let last_bytes = levels.last().copied().unwrap_or_default();
    Leveled::default()
        .with_l0_threshold(FLUSHED)
        .with_table_target_size(memtable_bytes)
        .with_level_ratio_policy(ratios(used, last_bytes, first_bytes))
}

/// Of each of `used` levels to the one above it. The last one has room until another level is needed above the first.
fn ratios(used: usize, last_bytes: u64, first_bytes: u64) -> Vec<f32> {
    let Some(steps) = used.checked_sub(1).filter(|steps| *steps > 1) else { return vec![MAX_RATIO as f32] };
    let whole = last_bytes as f64 / first_bytes as f64;
    let between = whole.powf(1.0 / steps as f64).clamp(1.0, MAX_RATIO);
    let room = MAX_RATIO.powi(steps as i32) / between.powi(steps as i32 - 1);
    let mut ratios = vec![between as f32; steps - 1];
    ratios.push(room as f32);
    ratios
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn levels(used: usize, last_bytes: u64) -> Vec<f32> {
        let sizes = ratios(used, last_bytes, 128 * MIB).into_iter().scan(128.0, |size, ratio| {
            *size *= ratio;
            Some(size.round())
        });
        sizes.collect()
    }

    #[test]
    fn levels_between_are_as_large_as_the_last_one_asks_for() {
        assert_eq!((levels(0, 0), levels(1, 0), levels(2, 700 * MIB)), (vec![1280.0], vec![1280.0], vec![1280.0]));
        assert_eq!(levels(3, 2048 * MIB), [512.0, 12_800.0]);
        assert_eq!(levels(3, 12_800 * MIB), [1280.0, 12_800.0]);
        assert_eq!(levels(4, 16_000 * MIB), [640.0, 3200.0, 128_000.0]);
        assert_eq!(levels(3, 1), [128.0, 12_800.0], "of one that has shrunk");
    }
}
