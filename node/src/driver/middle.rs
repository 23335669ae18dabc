//! How large a shard is, and the key in the middle of it.

use std::sync::Arc;

use bytes::Bytes;
use kv_storage::{Direction, TableError, rows};

use super::replica::Replica;

/// Keys that are remembered on the way through a shard: the middle is right to a 256th of the shard.
const MARKS: usize = 512;

/// What a walk through a shard's rows has found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Measured {
    /// Of keys and values as they are now, without what the table keeps of older ones.
    pub(super) bytes: u64,
    /// About half of the bytes are of keys below it. `None`: there are fewer than two keys.
    pub(super) middle: Option<Bytes>,
}

/// Reads all rows of the shard: not on a thread that serves.
pub(super) fn measure(replica: &Arc<Replica>) -> Result<Measured, TableError> {
    let (space, range) = replica.rows();
    let mut marks = Marks::default();
    for row in replica.volume.volume.table().scan(&rows::data_range(space, &range), Direction::Forward) {
        let (key, value) = row?;
        if let Some(key) = rows::user_key(&key) {
            let bytes = (key.len() + value.len()) as u64;
            marks.pass(key, bytes);
        }
    }
    Ok(marks.measured())
}

/// Some of the keys that were passed, with how much lies below each.
#[derive(Default)]
struct Marks {
    marks: Vec<(Bytes, u64)>,
    /// Between two marks, at least.
    step: u64,
    bytes: u64,
}

impl Marks {
    fn pass(&mut self, key: Bytes, bytes: u64) {
        if self.marks.last().is_none_or(|(_, below)| self.bytes - below >= self.step) {
            self.marks.push((key, self.bytes));
        }
        self.bytes += bytes;
        if self.marks.len() > MARKS {
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
            self.step = self.bytes / (MARKS as u64 / 2);
        }
    }

    fn measured(self) -> Measured {
        let half = self.bytes / 2;
        // The first key can't be the middle: nothing would be below it.
        let marks = self.marks.into_iter().skip(1);
        let middle = marks.min_by_key(|(_, below)| below.abs_diff(half)).map(|(key, _)| key);
        Measured { bytes: self.bytes, middle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(sizes: impl IntoIterator<Item = u64>) -> Measured {
        let mut marks = Marks::default();
        for (at, bytes) in sizes.into_iter().enumerate() {
            marks.pass(format!("{at:06}").into(), bytes);
            assert!(marks.marks.len() <= MARKS);
        }
        marks.measured()
    }

    #[test]
    fn fewer_than_two_keys_have_no_middle() {
        assert_eq!(measured([]), Measured::default());
        assert_eq!(measured([100]), Measured { bytes: 100, middle: None });
        assert_eq!(measured([1, 1]).middle, Some("000001".into()));
    }

    #[test]
    fn the_middle_is_by_size_and_not_by_number() {
        let middle = |sizes: &[u64]| measured(sizes.iter().copied()).middle.expect("there is one");
        assert_eq!(middle(&[1000, 1, 1, 1]), "000001");
        assert_eq!(middle(&[1, 1, 1, 1000]), "000003");
        assert_eq!(middle(&[10, 10, 10, 10]), "000002");
    }

    #[test]
    fn the_middle_of_many_keys_is_about_right() {
        for sizes in [|_: u64| 100, |at: u64| if at < 90_000 { 10 } else { 1_000 }, |at: u64| at % 977] {
            let all: Vec<u64> = (0..100_000).map(sizes).collect();
            let total: u64 = all.iter().sum();
            let found = measured(all.iter().copied());
            let at: usize =
                found.middle.as_ref().and_then(|key| std::str::from_utf8(key).ok()?.parse().ok()).expect("a key");
            let below: u64 = all[..at].iter().sum();
            assert_eq!(found.bytes, total);
            assert!(below.abs_diff(total / 2) <= total / 256, "{below} of {total}");
        }
    }
}
