//! Hand-made histories, good and bad.

use std::collections::BTreeMap;

use kv_checker::{Action, Expected, Operation, Outcome, Verdict, Versioned, applied_twice, check, check_within, lost};

const NEVER: u64 = u64::MAX;

fn operation(call: u64, ret: u64, action: Action, outcome: Outcome) -> Operation {
    let ret = (ret != NEVER).then_some(ret);
    Operation { client: call, key: b"k".to_vec(), action, expected: None, call, ret, outcome }
}

fn put(call: u64, ret: u64, value: &str, revision: u64) -> Operation {
    let outcome =
        if ret == NEVER { Outcome::Unknown } else { Outcome::Done { revision: Some(revision), existed: None } };
    operation(call, ret, Action::Put(value.into()), outcome)
}

fn get(call: u64, ret: u64, value: &str, revision: u64) -> Operation {
    let found = (!value.is_empty()).then(|| Versioned { value: value.into(), revision: Some(revision) });
    operation(call, ret, Action::Get, Outcome::Found(found))
}

fn delete(call: u64, ret: u64, existed: bool) -> Operation {
    operation(call, ret, Action::Delete, Outcome::Done { revision: None, existed: Some(existed) })
}

fn expecting(operation: Operation, revision: u64) -> Operation {
    Operation { expected: Some(Expected::Revision(revision)), ..operation }
}

fn mismatch(operation: Operation, actual: u64) -> Operation {
    Operation { outcome: Outcome::Mismatch { actual: Some(actual) }, ..operation }
}

#[test]
fn linearizable_histories_pass() {
    let histories = [
        vec![],
        vec![get(0, 1, "", 0), put(2, 3, "a", 1), get(4, 5, "a", 1)],
        // A read that overlaps a write sees either value.
        vec![put(0, 1, "a", 1), put(2, 9, "b", 2), get(3, 4, "a", 1), get(5, 6, "b", 2)],
        // Unknown: seen late, by a second reader only.
        vec![put(0, 1, "a", 1), put(2, NEVER, "b", 0), get(3, 4, "a", 1), get(50, 60, "b", 7)],
        // Unknown: never seen.
        vec![put(0, NEVER, "a", 0), get(1, 2, "", 0), put(3, 4, "b", 2), get(5, 6, "b", 2)],
        vec![put(0, 1, "a", 4), expecting(put(2, 3, "b", 5), 4), mismatch(expecting(put(4, 5, "c", 0), 4), 5)],
        vec![put(0, 1, "a", 4), delete(2, 3, true), delete(4, 5, false), expecting(put(6, 7, "b", 9), 0)],
        // The mismatch is explained only by the write of unknown outcome.
        vec![put(0, 1, "a", 4), put(2, NEVER, "b", 0), mismatch(expecting(put(4, 5, "c", 0), 4), 6)],
        // A failed write does not count.
        vec![put(0, 1, "a", 1), Operation { outcome: Outcome::Failed, ..put(2, 3, "b", 0) }, get(4, 5, "a", 1)],
    ];
    for history in histories {
        assert_eq!(check(&history), Verdict::Linearizable, "{history:#?}");
    }
}

#[test]
fn other_histories_fail() {
    let histories = [
        // Stale.
        vec![put(0, 1, "a", 1), put(2, 3, "b", 2), get(4, 5, "a", 1)],
        // Lost.
        vec![put(0, 1, "a", 1), get(2, 3, "", 0)],
        // From nowhere.
        vec![get(0, 1, "a", 1)],
        // Read before its call.
        vec![get(0, 1, "a", 1), put(2, 3, "a", 1)],
        // Back and forth.
        vec![put(0, 1, "a", 1), put(2, 20, "b", 2), get(3, 4, "b", 2), get(5, 6, "a", 1)],
        // An unknown write may take effect once only.
        vec![put(0, NEVER, "a", 0), get(1, 2, "a", 1), put(3, 4, "b", 2), get(5, 6, "a", 3)],
        // Both won the same revision.
        vec![put(0, 1, "a", 1), expecting(put(2, 9, "b", 2), 1), expecting(put(2, 9, "c", 3), 1)],
        // A mismatch that was none.
        vec![put(0, 1, "a", 1), mismatch(expecting(put(2, 3, "b", 0), 1), 1)],
        // Deleted twice.
        vec![put(0, 1, "a", 1), delete(2, 3, true), delete(4, 5, true)],
        // Revisions fall.
        vec![put(0, 1, "a", 5), put(2, 3, "b", 4)],
    ];
    for history in histories {
        assert!(matches!(check(&history), Verdict::Violation(_)), "{history:#?}");
    }
}

#[test]
fn a_violation_is_explained_by_few_operations() {
    let mut history: Vec<_> = (0..40).map(|at| put(at * 10, at * 10 + 3, &format!("v{at}"), at + 1)).collect();
    history.extend((0..40).map(|at| get(at * 10 + 4, at * 10 + 5, &format!("v{at}"), at + 1)));
    assert_eq!(check(&history), Verdict::Linearizable);
    history.push(get(206, 207, "v19", 20));
    let Verdict::Violation(violation) = check(&history) else { panic!("a stale read was not found") };
    assert!(violation.operations.len() <= 3, "{violation}");
    assert!(violation.to_string().contains("get -> v19 (revision 20)"), "{violation}");
}

#[test]
fn keys_are_judged_apart() {
    let other = |operation: Operation| Operation { key: b"other".to_vec(), ..operation };
    let history = [put(0, 1, "a", 1), other(get(2, 3, "", 0)), get(2, 3, "a", 1)];
    assert_eq!(check(&history), Verdict::Linearizable);
}

#[test]
fn the_search_is_bounded() {
    let history: Vec<_> = (0..200).map(|at| put(at, 1000, &format!("v{at}"), at + 1)).collect();
    assert_eq!(check_within(&history, 10), Verdict::Undecided(b"k".to_vec()));
}

#[test]
fn many_concurrent_operations_are_decided() {
    let mut history = Vec::new();
    for round in 0..300_u64 {
        for client in 0..6 {
            let revision = round * 6 + client + 1;
            history.push(put(round * 10, round * 10 + 8, &format!("v{revision}"), revision));
        }
        let last = round * 6 + 6;
        history.push(get(round * 10 + 9, round * 10 + 9, &format!("v{last}"), last));
        history.push(put(round * 10, NEVER, &format!("lost{round}"), 0));
    }
    assert_eq!(check(&history), Verdict::Linearizable);
}

#[test]
fn lost_and_doubled_writes_are_named() {
    let acknowledged = BTreeMap::from([("a", 1), ("b", 2), ("c", 3)]);
    assert_eq!(lost(&acknowledged, &BTreeMap::from([("a", 1), ("b", 9)])), ["b", "c"]);
    assert_eq!(applied_twice(["x", "y", "x", "z", "x"]), ["x"]);
}
