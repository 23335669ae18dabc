use std::{collections::BTreeMap, ops::Bound};

use bytes::Bytes;

/// Values by ranges of keys that don't overlap. An empty end means "to the last key", as on the wire.
#[derive(Debug)]
pub(crate) struct RangeMap<V> {
    ranges: BTreeMap<Bytes, (Bytes, V)>,
}

impl<V: Clone> RangeMap<V> {
    pub const fn new() -> Self {
        Self { ranges: BTreeMap::new() }
    }

    pub fn get(&self, key: &[u8]) -> Option<&V> {
        let (_, (end, value)) = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        is_before(key, end).then_some(value)
    }

    /// The values of all ranges that share a key with `[start, end)`.
    pub fn overlapping<'a>(&'a self, start: &'a [u8], end: &'a [u8]) -> impl Iterator<Item = &'a V> {
        let first = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(start))).next_back();
        let first = first.filter(|(_, (end, _))| is_before(start, end));
        let rest = self.ranges.range::<[u8], _>((Bound::Excluded(start), Bound::Unbounded));
        first.into_iter().chain(rest.take_while(move |(start, _)| is_before(start, end))).map(|(_, (_, value))| value)
    }

    /// Gives `[start, end)` this value; what other ranges have beyond it they keep.
    pub fn insert(&mut self, start: Bytes, end: Bytes, value: V) {
        if !is_before(&start, &end) {
            return;
        }
        let mut cut = Vec::new();
        let before = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(start.as_ref()))).next_back();
        if let Some((first, (last, _))) = before
            && is_before(&start, last)
        {
            cut.push(first.clone());
        }
        let inside = self.ranges.range::<[u8], _>((Bound::Excluded(start.as_ref()), Bound::Unbounded));
        cut.extend(inside.map(|(first, _)| first).take_while(|first| is_before(first, &end)).cloned());
        for first in cut {
            let Some((last, old)) = self.ranges.remove(&first) else {
                continue;
            };
            if first < start {
                self.ranges.insert(first, (start.clone(), old.clone()));
            }
            if !end.is_empty() && is_before(&end, &last) {
                self.ranges.insert(end.clone(), (last, old));
            }
        }
        self.ranges.insert(start, (end, value));
    }

    /// Removes all ranges whose value fits.
    pub fn remove_where(&mut self, mut fits: impl FnMut(&V) -> bool) {
        self.ranges.retain(|_, (_, value)| !fits(value));
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }
}

fn is_before(key: &[u8], end: &[u8]) -> bool {
    end.is_empty() || key < end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ranges: &[(&'static str, &'static str, u32)]) -> RangeMap<u32> {
        let mut map = RangeMap::new();
        for (start, end, value) in ranges {
            map.insert((*start).into(), (*end).into(), *value);
        }
        map
    }

    fn values(map: &RangeMap<u32>, keys: &str) -> Vec<Option<u32>> {
        keys.bytes().map(|key| map.get(&[key]).copied()).collect()
    }

    #[test]
    fn a_range_is_found_by_its_keys_only() {
        let map = map(&[("b", "d", 1), ("d", "", 2)]);
        assert_eq!(values(&map, "abcdz"), [None, Some(1), Some(1), Some(2), Some(2)]);
        assert_eq!(map.get(b"c\xff"), Some(&1));
    }

    #[test]
    fn a_new_range_cuts_what_it_overlaps() {
        let split = map(&[("", "", 1), ("m", "", 2)]);
        assert_eq!(values(&split, "alm"), [Some(1), Some(1), Some(2)]);
        let middle = map(&[("", "", 1), ("c", "f", 2)]);
        assert_eq!(values(&middle, "bcef"), [Some(1), Some(2), Some(2), Some(1)]);
        assert_eq!(middle.len(), 3);
        let over = map(&[("b", "d", 1), ("e", "g", 2), ("h", "", 3), ("c", "i", 4)]);
        assert_eq!(
            values(&over, "abcdefghij"),
            [None, Some(1), Some(4), Some(4), Some(4), Some(4), Some(4), Some(4), Some(3), Some(3)]
        );
        let empty = map(&[("d", "b", 1), ("d", "d", 1)]);
        assert_eq!(empty.len(), 0);
    }

    #[test]
    fn overlapping_ranges_are_all_found() {
        let map = map(&[("b", "d", 1), ("e", "g", 2), ("h", "", 3)]);
        let found = |start: &str, end: &str| map.overlapping(start.as_bytes(), end.as_bytes()).copied().collect();
        let found: [Vec<u32>; 5] = [found("", ""), found("c", "e"), found("c", "f"), found("d", "e"), found("z", "")];
        assert_eq!(found, [vec![1, 2, 3], vec![1], vec![1, 2], vec![], vec![3]]);
    }
}
