//! Many seeds, on several threads.

use std::{
    ops::Range,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use kv_replication::core::Rule;

use crate::{
    seeds::{Played, Report, Violation, play},
    world::Trace,
};

/// Runs that have ended and are not counted yet; more of them make the threads wait.
const MAX_UNCOUNTED: usize = 1024;

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Soak {
    /// From the first one on; the last ones only if there is time.
    pub seeds: Range<u64>,
    /// No seed is begun after it.
    pub until: Option<Instant>,
    /// The rule that is switched off.
    pub broken: Option<Rule>,
    /// At least one is used.
    pub threads: usize,
    /// Violations after which no more seeds are begun.
    pub at_most: usize,
    /// How often is told how far it has come.
    pub tell_every: Duration,
}

/// Something to tell while seeds are played.
#[derive(Debug)]
pub enum News<'a> {
    /// How far it has come.
    Progress(&'a Report),
    /// What was just found.
    Found(&'a Violation),
}

/// Plays seeds, and tells how it goes. All seeds below one that is told of were played or are being played.
pub fn soak(what: &Soak, mut tell: impl FnMut(News<'_>)) -> Report {
    let next = AtomicU64::new(what.seeds.start);
    let stop = AtomicBool::new(false);
    let mut report = Report::default();
    let (sender, ended) = mpsc::sync_channel(MAX_UNCOUNTED);
    thread::scope(|scope| {
        for _ in 0..what.threads.max(1) {
            let sender = sender.clone();
            scope.spawn(|| play_on(what, &next, &stop, sender));
        }
        drop(sender);
        let mut told_at = Instant::now();
        loop {
            let waits = what.tell_every.saturating_sub(told_at.elapsed());
            match ended.recv_timeout(waits) {
                Ok(played) => {
                    let Played { result, steps, coverage, .. } = played;
                    report.seeds += 1;
                    report.steps += steps;
                    report.coverage.add(&coverage);
                    if let Err(violation) = result {
                        tell(News::Found(&violation));
                        report.violations.push(violation);
                    }
                    if report.violations.len() >= what.at_most {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    told_at = Instant::now();
                    tell(News::Progress(&report));
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
    report.violations.sort_by_key(|violation| violation.seed);
    report
}

fn play_on(what: &Soak, next: &AtomicU64, stop: &AtomicBool, ended: SyncSender<Played>) {
    while !stop.load(Ordering::Relaxed) && what.until.is_none_or(|until| Instant::now() < until) {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= what.seeds.end || ended.send(play(seed, what.broken, Trace::default())).is_err() {
            return;
        }
    }
}

/// Plays all `seeds` on `threads` threads; stops after `at_most` violations.
#[must_use]
pub fn run_range(seeds: Range<u64>, broken: Option<Rule>, threads: usize, at_most: usize) -> Report {
    let what = Soak { seeds, until: None, broken, threads, at_most, tell_every: Duration::MAX };
    soak(&what, |_| ())
}

/// The violation of the lowest seed with `broken` switched off.
#[must_use]
pub fn hunt(broken: Rule, seeds: Range<u64>, threads: usize) -> Option<Violation> {
    run_range(seeds, Some(broken), threads, 1).violations.into_iter().next()
}
