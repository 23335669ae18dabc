//! Histories of the simulator's clients, judged by Porcupine too.

use kv_checker::{
    Verdict, check,
    porcupine::{Judgement, Porcupine},
};
use kv_simulator::{Rule, history};

const SEEDS: u64 = 60;

#[test]
fn porcupine_says_the_same_of_the_simulators_histories() {
    let Some(porcupine) = Porcupine::or_skip() else { return };
    for broken in [None, Some(Rule::ValueAndLeaseOfOneTerm)] {
        let histories: Vec<_> = (0..SEEDS).map(|seed| history(seed, broken)).collect();
        let operations: usize = histories.iter().map(Vec::len).sum();
        let theirs = porcupine.judge(&histories).unwrap();
        let mut wrong = 0;
        for (seed, (history, theirs)) in histories.iter().zip(theirs).enumerate() {
            let ours = match check(history) {
                Verdict::Linearizable => Judgement::Linearizable,
                Verdict::Violation(_) => Judgement::Violation,
                Verdict::Undecided(_) => Judgement::Undecided,
            };
            assert_eq!(ours, theirs, "ours and Porcupine's, seed {seed}, {broken:?}");
            wrong += usize::from(theirs == Judgement::Violation);
        }
        println!("{broken:?}: {SEEDS} histories, {operations} operations, {wrong} histories wrong");
        // (A forced promotion may lose writes even where no rule is broken.)
        assert!(broken.is_none() || wrong > 0, "no history is wrong with {broken:?}");
    }
}
