//! A short round, always of the same seed: a change is not to fail for what another seed draws. `make chaos` draws others.

#![allow(clippy::expect_used, clippy::panic, reason = "this is a test")]

use kv_chaos::{report::Report, round::Round, settings::Size};

const SEED: u64 = 4711;

#[test]
fn a_small_cluster_survives_what_a_seed_draws() {
    kv_tests::run(async {
        let directory = kv_tests::programs::target().with_file_name("kv-chaos-tests");
        let round = Round { seed: SEED, size: Size::Small, seconds: None, only: Vec::new(), directory };
        let report = Box::pin(round.run()).await.unwrap_or_else(|error| panic!("{error}"));
        let done: usize = report.operations.values().map(|counts| counts.done).sum();
        assert!(done > 500, "too little was answered to be judged: {:?}", report.operations);
        let files = round.files();
        let report = Report::of(vec![report]);
        eprintln!("{}", report.text());
        assert!(
            report.is_clean(),
            "logs and history are in {}; again: kv-chaos --small --rounds 1 --seed {SEED}",
            files.display()
        );
    });
}
