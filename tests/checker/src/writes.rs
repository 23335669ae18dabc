use std::collections::{BTreeMap, BTreeSet};

/// Acknowledged writes that are not there any more: those of `acknowledged` whose key has another value in `found`, or
/// none. Meant for runs in which every key is written once.
#[must_use]
pub fn lost<K: Ord + Clone, V: PartialEq>(acknowledged: &BTreeMap<K, V>, found: &BTreeMap<K, V>) -> Vec<K> {
    acknowledged.iter().filter(|(key, value)| found.get(key) != Some(value)).map(|(key, _)| key.clone()).collect()
}

/// Values that were set more than once, given the values of all changes in order, when no two requests set the same.
#[must_use]
pub fn applied_twice<V: Ord + Clone>(values: impl IntoIterator<Item = V>) -> Vec<V> {
    let (mut once, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for value in values {
        if !once.insert(value.clone()) {
            twice.insert(value);
        }
    }
    twice.into_iter().collect()
}
