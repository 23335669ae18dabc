//! The checker is checked: Porcupine says the same of the same histories.

mod common;

use common::{made, random};
use kv_checker::{
    Operation, Verdict, check,
    porcupine::{Judgement, Porcupine},
};

const RANDOM: u64 = 1_000;
/// Of the random histories with a changed answer at least so many must be wrong, or they say nothing.
const WRONG_AT_LEAST: usize = 200;

fn ours(history: &[Operation]) -> Judgement {
    match check(history) {
        Verdict::Linearizable => Judgement::Linearizable,
        Verdict::Violation(_) => Judgement::Violation,
        Verdict::Undecided(_) => Judgement::Undecided,
    }
}

#[test]
fn both_say_the_same_of_histories_made_by_hand() {
    let Some(porcupine) = Porcupine::or_skip() else { return };
    for (named, expected) in
        [(made::linearizable(), Judgement::Linearizable), (made::violations(), Judgement::Violation)]
    {
        let (names, histories): (Vec<_>, Vec<_>) = named.into_iter().unzip();
        let theirs = porcupine.judge(&histories).unwrap();
        for ((name, history), theirs) in names.iter().zip(&histories).zip(theirs) {
            assert_eq!((ours(history), theirs), (expected, expected), "{name}: {history:#?}");
        }
    }
}

#[test]
fn both_say_the_same_of_random_histories() {
    let Some(porcupine) = Porcupine::or_skip() else { return };
    let correct: Vec<_> = (0..RANDOM).map(random::correct).collect();
    let theirs = porcupine.judge(&correct).unwrap();
    for (seed, (history, theirs)) in correct.iter().zip(theirs).enumerate() {
        assert_eq!((ours(history), theirs), (Judgement::Linearizable, Judgement::Linearizable), "seed {seed}");
    }
    let changed: Vec<_> = (0..RANDOM).map(random::corrupted).collect();
    let theirs = porcupine.judge(&changed).unwrap();
    let mut wrong = 0;
    for (seed, (history, theirs)) in changed.iter().zip(theirs).enumerate() {
        assert_eq!(ours(history), theirs, "ours and Porcupine's, seed {seed}: {history:#?}");
        assert_ne!(theirs, Judgement::Undecided, "seed {seed}");
        wrong += usize::from(theirs == Judgement::Violation);
    }
    println!("{} histories with one answer changed, {wrong} of them wrong", changed.len());
    assert!(wrong >= WRONG_AT_LEAST, "only {wrong} of the changed histories are wrong");
}
