//! Hand-made histories, good and bad.

use kv_checker::{Action, Expected, Operation, Outcome, Versioned};

pub const NEVER: u64 = u64::MAX;

fn operation(call: u64, ret: u64, action: Action, outcome: Outcome) -> Operation {
    let ret = (ret != NEVER).then_some(ret);
    Operation { client: call, key: b"k".to_vec(), action, expected: None, call, ret, outcome }
}

pub fn put(call: u64, ret: u64, value: &str, revision: u64) -> Operation {
    let outcome =
        if ret == NEVER { Outcome::Unknown } else { Outcome::Done { revision: Some(revision), existed: None } };
    operation(call, ret, Action::Put(value.into()), outcome)
}

pub fn get(call: u64, ret: u64, value: &str, revision: u64) -> Operation {
    let found = (!value.is_empty()).then(|| Versioned { value: value.into(), revision: Some(revision) });
    operation(call, ret, Action::Get, Outcome::Found(found))
}

/// A put and a get that are told no revision.
fn quiet(operation: Operation) -> Operation {
    let outcome = match operation.outcome.clone() {
        Outcome::Done { existed, .. } => Outcome::Done { revision: None, existed },
        Outcome::Found(found) => Outcome::Found(found.map(|found| Versioned { revision: None, ..found })),
        other => other,
    };
    Operation { outcome, ..operation }
}

fn delete(call: u64, ret: u64, existed: bool) -> Operation {
    let outcome =
        if ret == NEVER { Outcome::Unknown } else { Outcome::Done { revision: None, existed: Some(existed) } };
    operation(call, ret, Action::Delete, outcome)
}

fn expecting(operation: Operation, revision: u64) -> Operation {
    Operation { expected: Some(Expected::Revision(revision)), ..operation }
}

fn expecting_value(operation: Operation, value: &str) -> Operation {
    let value = (!value.is_empty()).then(|| value.into());
    Operation { expected: Some(Expected::Value(value)), ..operation }
}

fn mismatch(operation: Operation, actual: u64) -> Operation {
    Operation { outcome: Outcome::Mismatch { actual: Some(actual) }, ..operation }
}

fn silent_mismatch(operation: Operation) -> Operation {
    Operation { outcome: Outcome::Mismatch { actual: None }, ..operation }
}

fn failed(operation: Operation) -> Operation {
    Operation { outcome: Outcome::Failed, ..operation }
}

pub fn of_key(key: &str, operation: Operation) -> Operation {
    Operation { key: key.into(), ..operation }
}

/// Histories that one order of their operations explains.
pub fn linearizable() -> Vec<(&'static str, Vec<Operation>)> {
    vec![
        ("nothing", vec![]),
        ("one after the other", vec![get(0, 1, "", 0), put(2, 3, "a", 1), get(4, 5, "a", 1)]),
        (
            "a read that overlaps a write sees either",
            vec![put(0, 1, "a", 1), put(2, 9, "b", 2), get(3, 4, "a", 1), get(5, 6, "b", 2)],
        ),
        (
            "two readers in one order",
            vec![put(0, 1, "a", 1), put(2, 20, "b", 2), get(3, 8, "b", 2), get(4, 9, "a", 1), get(10, 12, "b", 2)],
        ),
        ("unknown, seen late", vec![put(0, 1, "a", 1), put(2, NEVER, "b", 0), get(3, 4, "a", 1), get(50, 60, "b", 7)]),
        ("unknown, never seen", vec![put(0, NEVER, "a", 0), get(1, 2, "", 0), put(3, 4, "b", 2), get(5, 6, "b", 2)]),
        (
            "unknown, between two others",
            vec![put(0, 1, "a", 1), put(2, NEVER, "b", 0), put(3, 4, "c", 3), get(5, 6, "c", 3), get(7, 8, "b", 5)],
        ),
        (
            "two of unknown outcome, seen in the other order",
            vec![put(0, NEVER, "a", 0), put(1, NEVER, "b", 0), get(2, 3, "b", 1), get(4, 5, "a", 2)],
        ),
        (
            "an unknown delete, seen late",
            vec![put(0, 1, "a", 1), delete(2, NEVER, true), get(3, 4, "a", 1), get(5, 6, "", 0)],
        ),
        (
            "an unknown conditional write took effect",
            vec![put(0, 1, "a", 4), expecting(put(2, NEVER, "b", 0), 4), get(3, 4, "b", 5)],
        ),
        (
            "conditions on revisions",
            vec![put(0, 1, "a", 4), expecting(put(2, 3, "b", 5), 4), mismatch(expecting(put(4, 5, "c", 0), 4), 5)],
        ),
        (
            "conditions on values",
            vec![
                expecting_value(put(0, 1, "a", 1), ""),
                expecting_value(put(2, 3, "b", 2), "a"),
                silent_mismatch(expecting_value(put(4, 5, "c", 0), "a")),
                get(6, 7, "b", 2),
            ],
        ),
        (
            "one of two that want the same revision",
            vec![put(0, 1, "a", 1), expecting(put(2, 9, "b", 2), 1), mismatch(expecting(put(2, 9, "c", 0), 1), 2)],
        ),
        (
            "deleted and made again",
            vec![
                put(0, 1, "a", 4),
                delete(2, 3, true),
                delete(4, 5, false),
                expecting(put(6, 7, "b", 9), 0),
                get(8, 9, "b", 9),
            ],
        ),
        (
            "explained only by what is unknown",
            vec![put(0, 1, "a", 4), put(2, NEVER, "b", 0), mismatch(expecting(put(4, 5, "c", 0), 4), 6)],
        ),
        (
            "a delete that found nothing because of an unknown one",
            vec![put(0, 1, "a", 1), delete(2, NEVER, true), delete(3, 4, false)],
        ),
        ("what failed does not count", vec![put(0, 1, "a", 1), failed(put(2, 3, "b", 0)), get(4, 5, "a", 1)]),
        (
            "the same value twice",
            vec![put(0, 1, "a", 1), put(2, 3, "b", 2), put(4, 5, "a", 3), quiet(get(6, 7, "a", 0)), get(8, 9, "a", 3)],
        ),
        ("keys apart from each other", vec![put(0, 1, "a", 1), of_key("other", get(2, 3, "", 0)), get(2, 3, "a", 1)]),
    ]
}

/// Histories that nothing explains.
pub fn violations() -> Vec<(&'static str, Vec<Operation>)> {
    vec![
        ("stale", vec![put(0, 1, "a", 1), put(2, 3, "b", 2), get(4, 5, "a", 1)]),
        ("lost", vec![put(0, 1, "a", 1), get(2, 3, "", 0)]),
        ("lost, seen before", vec![put(0, 1, "a", 1), get(2, 3, "a", 1), get(4, 5, "", 0)]),
        ("from nowhere", vec![get(0, 1, "a", 1)]),
        ("read before it was asked for", vec![get(0, 1, "a", 1), put(2, 3, "a", 1)]),
        ("reads that go back", vec![put(0, 1, "a", 1), put(2, 20, "b", 2), get(3, 4, "b", 2), get(5, 6, "a", 1)]),
        (
            "two readers see two writes in different orders",
            vec![
                quiet(put(0, 9, "a", 0)),
                quiet(put(0, 9, "b", 0)),
                quiet(get(10, 11, "a", 0)),
                quiet(get(10, 12, "b", 0)),
                quiet(get(13, 14, "a", 0)),
            ],
        ),
        (
            "two overlapping readers contradict each other",
            vec![put(0, 1, "a", 1), put(2, 30, "b", 2), get(3, 6, "b", 2), get(7, 10, "a", 1), get(8, 11, "b", 2)],
        ),
        (
            "unknown, and applied twice",
            vec![put(0, NEVER, "a", 0), get(1, 2, "a", 1), put(3, 4, "b", 2), get(5, 6, "a", 3)],
        ),
        ("unknown, seen before it was asked for", vec![get(0, 1, "a", 1), put(2, NEVER, "a", 0)]),
        ("unknown, seen and gone", vec![put(0, NEVER, "a", 0), get(1, 2, "a", 1), get(3, 4, "", 0)]),
        (
            "an unknown condition that can't have held",
            vec![put(0, 1, "a", 4), expecting(put(2, NEVER, "b", 0), 3), get(3, 4, "b", 5)],
        ),
        (
            "both won the same revision",
            vec![put(0, 1, "a", 1), expecting(put(2, 9, "b", 2), 1), expecting(put(2, 9, "c", 3), 1)],
        ),
        ("both made the key", vec![expecting(put(0, 9, "a", 1), 0), expecting(put(0, 9, "b", 2), 0)]),
        ("a mismatch that was none", vec![put(0, 1, "a", 1), mismatch(expecting(put(2, 3, "b", 0), 1), 1)]),
        (
            "a condition that failed though it held",
            vec![put(0, 1, "a", 1), silent_mismatch(expecting(put(2, 3, "b", 0), 1))],
        ),
        (
            "a condition on a value that failed though it held",
            vec![put(0, 1, "a", 1), silent_mismatch(expecting_value(put(2, 3, "b", 0), "a"))],
        ),
        (
            "a condition that held though it did not",
            vec![put(0, 1, "a", 1), put(2, 3, "b", 2), expecting_value(put(4, 5, "c", 3), "a")],
        ),
        ("deleted twice", vec![put(0, 1, "a", 1), delete(2, 3, true), delete(4, 5, true)]),
        (
            "a delete that took the next one with it",
            vec![put(0, 1, "a", 1), delete(2, 3, true), put(4, 5, "b", 3), get(6, 7, "", 0)],
        ),
        ("there again after its deletion", vec![put(0, 1, "a", 1), delete(2, 3, true), get(4, 5, "a", 1)]),
        ("revisions fall", vec![put(0, 1, "a", 5), put(2, 3, "b", 4)]),
        ("revisions fall over a deletion", vec![put(0, 1, "a", 5), delete(2, 3, true), put(4, 5, "b", 4)]),
        ("revisions fall over what is unknown", vec![put(0, 1, "a", 5), put(2, NEVER, "b", 0), get(4, 5, "b", 4)]),
        ("what failed was seen", vec![put(0, 1, "a", 1), failed(put(2, 3, "b", 0)), get(4, 5, "b", 2)]),
        ("one key of two is wrong", vec![put(0, 1, "a", 1), get(2, 3, "a", 1), of_key("other", get(2, 3, "a", 1))]),
    ]
}
