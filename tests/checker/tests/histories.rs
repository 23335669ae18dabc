//! Histories whose verdict is known.

mod common;

use std::collections::BTreeMap;

use common::{
    made::{self, NEVER, get, of_key, put},
    random,
};
use kv_checker::{Verdict, applied_twice, check, check_within, lost};

#[test]
fn linearizable_histories_pass() {
    for (name, history) in made::linearizable() {
        assert_eq!(check(&history), Verdict::Linearizable, "{name}: {history:#?}");
    }
}

#[test]
fn other_histories_fail() {
    for (name, history) in made::violations() {
        assert!(matches!(check(&history), Verdict::Violation(_)), "{name}: {history:#?}");
    }
}

#[test]
fn what_a_register_without_mistakes_answers_passes() {
    for seed in 0..5_000 {
        assert_eq!(check(&random::correct(seed)), Verdict::Linearizable, "seed {seed}");
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
    let history = [put(0, 1, "a", 1), of_key("other", get(2, 3, "", 0)), get(2, 3, "a", 1)];
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
