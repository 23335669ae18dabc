//! Two short rounds: one always the same, one always another.

#![allow(clippy::expect_used, clippy::panic, reason = "this is a test")]

use kv_chaos::{report::Report, round::Round, settings::Size};

#[test]
fn a_small_cluster_survives_what_two_seeds_draw() {
    kv_tests::run(async {
        let drawn = rand::random::<u32>().into();
        let mut rounds = Vec::new();
        for seed in [4711, drawn] {
            let directory = kv_tests::programs::target().with_file_name("kv-chaos-tests");
            let round = Round { seed, size: Size::Small, seconds: None, only: Vec::new(), directory };
            eprintln!("seed {seed}");
            let report = Box::pin(round.run()).await.unwrap_or_else(|error| panic!("round {seed}: {error}"));
            let files = round.files();
            let done: usize = report.operations.values().map(|counts| counts.done).sum();
            assert!(done > 1_000, "too little was answered to be judged: {:?}", report.operations);
            rounds.push(report);
            let report = Report::of(rounds.clone());
            assert_eq!(
                report.violations().count(),
                0,
                "{}\nlogs and history are in {}; again: kv-chaos --small --rounds 1 --seed {seed}",
                report.text(),
                files.display()
            );
        }
        eprintln!("{}", Report::of(rounds).text());
    });
}
