use std::collections::BTreeMap;

use bytes::Bytes;
use kv_client::{Entry, Scan};

use crate::{
    history::{History, Of},
    keys::Keys,
};

/// Errors after which a scan is given up: each is a request that was tried until its deadline.
const MAX_ERRORS: usize = 3;

/// Scans everything, and takes it into the history: a key that was there throughout must be in it, and one that was not must
/// not, which is what the checker finds out. What needs no checker is looked at here: the order, keys that never change, and that
/// what a batch writes is seen as one.
pub async fn scan(history: &History, keys: &Keys, of: &Of, page_keys: u32, reverse: bool) {
    let call = history.now();
    let request = if reverse { Scan::all().reverse() } else { Scan::all() };
    let mut pages = of.client.scan(request.page_keys(page_keys));
    let mut found: BTreeMap<Bytes, Entry> = BTreeMap::new();
    let mut last: Option<Bytes> = None;
    let mut errors = 0;
    let complete = loop {
        let page = match pages.next_page().await {
            Ok(Some(page)) => page,
            Ok(None) => break true,
            Err(error) => {
                history.count("page of a scan", Err(&error));
                errors += 1;
                if errors >= MAX_ERRORS {
                    break false;
                }
                continue;
            }
        };
        history.count("page of a scan", Ok(()));
        for contradiction in twins_differ(keys, &page.entries) {
            history.contradiction(contradiction);
        }
        for entry in page.entries {
            let in_order = last.as_ref().is_none_or(|last| if reverse { entry.key < *last } else { entry.key > *last });
            if !in_order {
                let (before, key) = (last.unwrap_or_default(), &entry.key);
                let way = if reverse { " from the last key down" } else { "" };
                history.contradiction(format!(
                    "a scan{way} told {} after {}",
                    key.escape_ascii(),
                    before.escape_ascii()
                ));
            }
            last = Some(entry.key.clone());
            found.insert(entry.key.clone(), entry);
        }
    };
    for (key, value) in &keys.steady {
        let is = found.remove(key);
        if complete || is.is_some() {
            let told = is.map(|entry| entry.value);
            if told.as_ref() != Some(value) {
                let key = key.escape_ascii();
                history.contradiction(format!("a scan told {told:?} of {key}, which was there throughout"));
            }
        }
    }
    let absent = if complete { keys.changing() } else { Default::default() };
    found.retain(|key, _| !keys.last.contains(key));
    history.scanned(of, call, &found, &absent);
}

/// Pairs of a page, which is of one revision, that are not as one batch has written them.
fn twins_differ(keys: &Keys, page: &[Entry]) -> Vec<String> {
    let find = |key: &Bytes| page.iter().position(|entry| entry.key == *key);
    let differ = keys.twins.iter().filter_map(|[one, other]| match (find(one), find(other)) {
        (Some(one), Some(other)) => {
            let (one, other) = (&page[one], &page[other]);
            let same = one.value == other.value && one.revision == other.revision;
            (!same).then(|| format!("a page shows half a batch: {one:?} and {other:?}"))
        }
        // The end of the page may have parted them.
        (Some(at), None) | (None, Some(at)) if at != 0 && at + 1 != page.len() => {
            Some(format!("a page shows half a batch: {:?} alone", page[at]))
        }
        _ => None,
    });
    differ.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_batch_is_seen_unless_a_page_ends_between() {
        let twins = vec![[Bytes::from("b"), Bytes::from("c")]];
        let keys = Keys { twins, ..Keys::default() };
        let entry = |key: &'static str, revision| Entry {
            key: key.into(),
            value: "v".into(),
            revision,
            expires_at_millis: None,
        };
        assert!(twins_differ(&keys, &[entry("a", 1), entry("b", 2), entry("c", 2)]).is_empty());
        assert_eq!(twins_differ(&keys, &[entry("b", 2), entry("c", 3)]).len(), 1);
        assert_eq!(twins_differ(&keys, &[entry("a", 1), entry("b", 2), entry("d", 1)]).len(), 1);
        assert!(twins_differ(&keys, &[entry("a", 1), entry("b", 2)]).is_empty());
        assert!(twins_differ(&keys, &[entry("c", 2), entry("d", 2)]).is_empty());
    }
}
