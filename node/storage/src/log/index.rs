use std::collections::{BTreeMap, VecDeque};

use kv_types::{Seq, ShardId};
use rustc_hash::FxHashMap;

use super::segment::Segment;

/// A shard gets a point in the index at least every so many bytes of a segment.
const POINT_EVERY: u32 = 16 << 10;

/// Where the entries lie: sparse, kept up to date by the writer in the order of the log.
#[derive(Default)]
pub(super) struct Index {
    segments: BTreeMap<u64, Indexed>,
    points: FxHashMap<ShardId, VecDeque<Point>>,
}

/// The place of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) seq: Seq,
    pub(super) segment: u64,
    pub(super) offset: u32,
}

struct Indexed {
    segment: Segment,
    /// End of the last record.
    used: u32,
    /// The highest seq of each shard in it.
    highest: FxHashMap<ShardId, Seq>,
}

impl Index {
    pub(super) fn add_segment(&mut self, segment: Segment) {
        let indexed = Indexed { segment, used: 0, highest: FxHashMap::default() };
        self.segments.insert(indexed.segment.number, indexed);
    }

    /// Adds an entry; those of the shard from its seq on are replaced.
    pub(super) fn add(&mut self, shard: ShardId, point: Point) {
        if let Some(segment) = self.segments.get_mut(&point.segment) {
            let highest = segment.highest.entry(shard).or_default();
            *highest = point.seq.max(*highest);
        }
        let points = self.points.entry(shard).or_default();
        while points.pop_back_if(|last| last.seq >= point.seq).is_some() {}
        let near = |last: &Point| last.segment == point.segment && point.offset - last.offset < POINT_EVERY;
        if !points.back().is_some_and(near) {
            points.push_back(point);
        }
    }

    /// Cuts the entries above `last`.
    pub(super) fn truncate(&mut self, shard: ShardId, last: Seq) {
        if let Some(points) = self.points.get_mut(&shard) {
            while points.pop_back_if(|point| point.seq > last).is_some() {}
        }
    }

    pub(super) fn forget(&mut self, shard: ShardId) {
        self.points.remove(&shard);
        for segment in self.segments.values_mut() {
            segment.highest.remove(&shard);
        }
    }

    pub(super) fn set_used(&mut self, segment: u64, used: u32) {
        if let Some(indexed) = self.segments.get_mut(&segment) {
            indexed.used = used;
        }
    }

    /// The first entry of the shard that can be read.
    pub(super) fn first(&self, shard: ShardId) -> Option<Seq> {
        self.points.get(&shard)?.front().map(|point| point.seq)
    }

    /// The last point of the shard at or below `seq`.
    pub(super) fn before(&self, shard: ShardId, seq: Seq) -> Option<Point> {
        let points = self.points.get(&shard)?;
        let after = points.partition_point(|point| point.seq <= seq);
        points.get(after.checked_sub(1)?).copied()
    }

    /// A segment and the end of what is written in it.
    pub(super) fn segment(&self, number: u64) -> Option<(Segment, u32)> {
        self.segments.get(&number).map(|indexed| (indexed.segment.clone(), indexed.used))
    }

    /// The segment that follows.
    pub(super) fn following(&self, number: u64) -> Option<(Segment, u32)> {
        let next = self.segments.range(number + 1..).next();
        next.map(|(_, indexed)| (indexed.segment.clone(), indexed.used))
    }

    /// The oldest segment unless it is the one being written, with the highest seq of each shard in it.
    pub(super) fn oldest(&self) -> Option<(u64, &FxHashMap<ShardId, Seq>)> {
        let (number, indexed) = self.segments.first_key_value().filter(|_| self.segments.len() > 1)?;
        Some((*number, &indexed.highest))
    }

    /// Bytes of records in all segments, and in all but the oldest.
    pub(super) fn used(&self) -> (u64, u64) {
        let all: u64 = self.segments.values().map(|indexed| u64::from(indexed.used)).sum();
        let oldest = self.segments.first_key_value().map_or(0, |(_, indexed)| u64::from(indexed.used));
        (all, all - oldest)
    }

    pub(super) fn remove_segment(&mut self, number: u64) {
        self.segments.remove(&number);
        for points in self.points.values_mut() {
            while points.pop_front_if(|point| point.segment <= number).is_some() {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(seq: u64, segment: u64, offset: u32) -> Point {
        Point { seq: Seq(seq), segment, offset }
    }

    #[test]
    fn points_are_sparse_but_each_segment_has_the_first() {
        let shard = ShardId(1);
        let mut index = Index::default();
        for seq in 0..100 {
            index.add(shard, point(seq, 1, seq as u32 * 1000));
        }
        index.add(shard, point(100, 2, 0));
        index.add(shard, point(101, 2, 10));
        assert_eq!(index.before(shard, Seq(101)), Some(point(100, 2, 0)));
        assert_eq!(index.before(shard, Seq(16)), Some(point(0, 1, 0)));
        assert_eq!(index.before(shard, Seq(17)), Some(point(17, 1, 17_000)));
        index.remove_segment(1);
        assert_eq!(index.first(shard), Some(Seq(100)));
    }

    #[test]
    fn a_lower_seq_replaces_what_lies_above() {
        let shard = ShardId(1);
        let mut index = Index::default();
        index.add(shard, point(5, 1, 0));
        index.add(shard, point(9, 1, 20_000));
        index.add(shard, point(7, 2, 0));
        assert_eq!(index.before(shard, Seq(100)), Some(point(7, 2, 0)));
        index.truncate(shard, Seq(6));
        assert_eq!(index.before(shard, Seq(100)), Some(point(5, 1, 0)));
    }
}
