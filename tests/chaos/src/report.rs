use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use kv_tests::outage::Outages;
use serde::Serialize;

use crate::{
    history::Counts,
    journal::{Entry, Journal},
    judge::{Violation, Watched},
    load::Beat,
    plan::Fault,
    settings::Settings,
};

/// What one round came to.
#[derive(Clone, Debug, Serialize)]
pub struct RoundReport {
    /// Its cluster, and its seed.
    pub settings: Settings,
    /// All faults.
    pub faults: Vec<Entry>,
    /// How many operations of each kind came to what.
    pub operations: BTreeMap<String, Counts>,
    /// How long writes had to wait.
    pub outages: Vec<Outage>,
    /// How long the cluster took to be whole when everything was healed; none: it did not become whole.
    pub recovered_millis: Option<u64>,
    /// What watches told.
    pub watched: Watched,
    /// How long the judgement took.
    pub judged_millis: u64,
    /// How long all of it took.
    pub took_millis: u64,
    /// Keys whose history could not be judged.
    pub undecided: Vec<String>,
    /// What must not be.
    pub violations: Vec<Violation>,
}

/// From a fault's beginning to the next acknowledged write of a shard that was asked for after it.
#[derive(Clone, Debug, Serialize)]
pub struct Outage {
    /// After what.
    pub fault: Fault,
    /// Of which shard.
    pub shard: u64,
    /// How long.
    pub millis: u64,
    /// SIGKILL of the node that served the shard, while nothing else was wrong.
    pub kill_alone: bool,
}

/// How long writes had to wait after each fault, by shard.
#[must_use]
pub fn outages(journal: &Journal, beats: &[Beat]) -> Vec<Outage> {
    let mut by_shard: BTreeMap<u64, Vec<&Beat>> = BTreeMap::new();
    for beat in beats {
        by_shard.entry(beat.shard).or_default().push(beat);
    }
    let mut found = Vec::new();
    for (at, entry) in journal.entries.iter().enumerate().filter(|(_, entry)| entry.skipped.is_none()) {
        for (shard, beats) in &by_shard {
            // Each shard has one writer, so that its beats are in order.
            let first = beats.partition_point(|beat| beat.asked < entry.began);
            let Some(beat) = beats.get(first) else { continue };
            // Nothing else may have begun before the write was acknowledged.
            let undisturbed = journal.entries.get(at + 1).is_none_or(|next| next.began > beat.answered);
            let kill_alone = entry.fault == Fault::Kill && entry.alone && undisturbed && entry.served.contains(shard);
            let millis = millis(beat.answered - entry.began);
            found.push(Outage { fault: entry.fault, shard: *shard, millis, kill_alone });
        }
    }
    found
}

/// Milliseconds.
#[must_use]
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What all rounds came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Each of them.
    pub rounds: Vec<RoundReport>,
    /// How often each fault was begun, and how often it was not.
    pub faults: BTreeMap<String, (usize, usize)>,
    /// How many operations of each kind came to what.
    pub operations: BTreeMap<String, Counts>,
    /// Waits by fault, and after SIGKILL alone.
    pub outages: BTreeMap<String, Waits>,
    /// Times until the cluster was whole, when everything was healed.
    pub recoveries: Waits,
    /// What watches told.
    pub watched: Watched,
}

/// How long something took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Waits {
    /// How often.
    pub count: usize,
    /// Half of them at most.
    pub p50: u64,
    /// 99 in a hundred at most.
    pub p99: u64,
    /// All at most.
    pub longest: u64,
}

impl Waits {
    fn of(waits: &[u64]) -> Self {
        let mut outages = Outages::default();
        outages.extend(waits.iter().map(|wait| Duration::from_millis(*wait)));
        let [p50, p99, longest] = [0.5, 0.99, 1.0].map(|share| millis(outages.percentile(share)));
        Self { count: waits.len(), p50, p99, longest }
    }
}

impl Report {
    /// Adds them up.
    #[must_use]
    pub fn of(rounds: Vec<RoundReport>) -> Self {
        let mut report = Self::default();
        let mut waits: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for round in &rounds {
            for entry in &round.faults {
                let (begun, not) = report.faults.entry(entry.fault.to_string()).or_default();
                *(if entry.skipped.is_none() { begun } else { not }) += 1;
            }
            for (kind, counts) in &round.operations {
                let sum = report.operations.entry(kind.clone()).or_default();
                sum.done += counts.done;
                sum.mismatch += counts.mismatch;
                sum.failed += counts.failed;
                sum.unknown += counts.unknown;
            }
            for outage in &round.outages {
                waits.entry(outage.fault.to_string()).or_default().push(outage.millis);
                if outage.kill_alone {
                    waits.entry("SIGKILL alone".to_owned()).or_default().push(outage.millis);
                }
            }
            report.watched.changes += round.watched.changes;
            report.watched.compacted += round.watched.compacted;
            report.watched.cut += round.watched.cut;
        }
        report.outages = waits.into_iter().map(|(what, waits)| (what, Waits::of(&waits))).collect();
        report.recoveries = Waits::of(&rounds.iter().filter_map(|round| round.recovered_millis).collect::<Vec<_>>());
        report.rounds = rounds;
        report
    }

    /// What is wrong in any round.
    pub fn violations(&self) -> impl Iterator<Item = (u64, &Violation)> {
        self.rounds.iter().flat_map(|round| round.violations.iter().map(|violation| (round.settings.seed, violation)))
    }

    /// Whether all was judged, and nothing is wrong: a key that could not be judged proves nothing.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.rounds.iter().all(|round| round.violations.is_empty() && round.undecided.is_empty())
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let (rounds, violations) = (self.rounds.len(), self.violations().count());
        let undecided: usize = self.rounds.iter().map(|round| round.undecided.len()).sum();
        let mut text =
            format!("rounds: {rounds}, violations: {violations}, keys that could not be judged: {undecided}\n");
        // Writing to a string can't fail.
        let _ = writeln!(text, "\n{:<24}{:>8}{:>12}", "fault", "begun", "not begun");
        for (fault, (begun, not)) in &self.faults {
            let _ = writeln!(text, "{fault:<24}{begun:>8}{not:>12}");
        }
        let _ = writeln!(text, "\n{:<24}{:>8}{:>10}{:>8}{:>9}", "operation", "done", "mismatch", "failed", "unknown");
        for (kind, Counts { done, mismatch, failed, unknown }) in &self.operations {
            let _ = writeln!(text, "{kind:<24}{done:>8}{mismatch:>10}{failed:>8}{unknown:>9}");
        }
        let Watched { changes, compacted, cut } = self.watched;
        let _ = writeln!(text, "watches: {changes} changes; begun anew: {compacted} compacted, {cut} cut");
        let what = "next write after";
        let _ = writeln!(text, "\n{what:<24}{:>8}{:>10}{:>10}{:>10}", "waits", "p50 ms", "p99 ms", "longest");
        for (what, waits) in self.outages.iter().chain([(&"recovery of all".to_owned(), &self.recoveries)]) {
            let Waits { count, p50, p99, longest } = waits;
            let _ = writeln!(text, "{what:<24}{count:>8}{p50:>10}{p99:>10}{longest:>10}");
        }
        for round in self.rounds.iter().filter(|round| !round.undecided.is_empty()) {
            let _ = writeln!(text, "\nround {}: undecided: {}", round.settings.seed, round.undecided.join(", "));
        }
        for (seed, violation) in self.violations() {
            let _ = writeln!(text, "\nround {seed}: {violation}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn an_outage_is_from_the_fault_to_the_next_write_that_was_asked_for_after_it() {
        let mut journal = Journal::default();
        let number = journal.begin(Fault::Kill, true);
        journal.entries[number].served = vec![1];
        let began = journal.entries[number].began;
        let beat = |shard, asked: i64, answered: i64| {
            let at = |millis: i64| -> Instant {
                let distance = Duration::from_millis(millis.unsigned_abs());
                if millis < 0 { began - distance } else { began + distance }
            };
            Beat { shard, asked: at(asked), answered: at(answered) }
        };
        let beats = [beat(1, -10, 5), beat(1, 20, 900), beat(1, 950, 951), beat(2, 1, 2)];
        let found: Vec<_> =
            outages(&journal, &beats).iter().map(|outage| (outage.shard, outage.millis, outage.kill_alone)).collect();
        assert_eq!(found, [(1, 900, true), (2, 2, false)]);
        journal.entries[number].skipped = Some("forbidden".into());
        assert!(outages(&journal, &beats).is_empty());
    }
}
