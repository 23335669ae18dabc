//! The mutation gate: how hard it is to find that a rule is broken.

use std::{collections::BTreeMap, ops::Range};

use kv_replication::core::Rule;

use crate::{invariants::Invariant, soak::hunt};

/// All rules that can be broken, in the protocol's order.
pub const RULES: [Rule; 24] = [
    Rule::PromisePersisted,
    Rule::TakeoverWaitsForGrant,
    Rule::RestartCountsAsGrant,
    Rule::LeaseEndsBeforeGrant,
    Rule::LeaseFromEveryMember,
    Rule::NoGrantAfterPromise,
    Rule::ValueAndLeaseOfOneTerm,
    Rule::JoinNeedsLease,
    Rule::ShrinkKeepsLeaseNeed,
    Rule::ShrinkKeepsAckNeed,
    Rule::JoinNeedsAck,
    Rule::OnlyPrimaryAdds,
    Rule::JoinAfterBarrier,
    Rule::JoinerCaughtUp,
    Rule::ServeAfterBarrier,
    Rule::AckIsMatched,
    Rule::LateAppendKeepsMatches,
    Rule::CommitNeedsOwnSync,
    Rule::RestartedPrimaryBumps,
    Rule::UnknownStaysInFlight,
    Rule::OnlyInSyncTakesOver,
    Rule::HandoverHolds,
    Rule::ForcePromoteWaits,
    Rule::SessionsInBatch,
];

/// What is done where `rule` is broken.
#[must_use]
pub const fn words(rule: Rule) -> &'static str {
    match rule {
        Rule::PromisePersisted => "promise not persisted",
        Rule::TakeoverWaitsForGrant => "takeover ignores the grant",
        Rule::RestartCountsAsGrant => "restart forgets the grant",
        Rule::LeaseEndsBeforeGrant => "lease outlasts the grant",
        Rule::LeaseFromEveryMember => "lease from any one member of three",
        Rule::NoGrantAfterPromise => "grant after promise",
        Rule::ValueAndLeaseOfOneTerm => "value of one term under the lease of another",
        Rule::JoinNeedsLease => "sole ISR lease-free while a join is in flight",
        Rule::ShrinkKeepsLeaseNeed => "lease need dropped before a shrink is known",
        Rule::ShrinkKeepsAckNeed => "commit needs only the new ISR in a shrink",
        Rule::JoinNeedsAck => "only the old ISR in a join",
        Rule::OnlyPrimaryAdds => "learner adds itself",
        Rule::JoinAfterBarrier => "join before the barrier",
        Rule::JoinerCaughtUp => "joiner not caught up",
        Rule::ServeAfterBarrier => "serve before the barrier",
        Rule::AckIsMatched => "acknowledge by seq only",
        Rule::LateAppendKeepsMatches => "late append cuts a matching log",
        Rule::CommitNeedsOwnSync => "commit ignores own fsync",
        Rule::RestartedPrimaryBumps => "restarted primary resumes its epoch",
        Rule::UnknownStaysInFlight => "compare-and-set of unknown outcome given up",
        Rule::OnlyInSyncTakesOver => "replica outside the ISR takes over",
        Rule::HandoverHolds => "primary goes on during a handover",
        Rule::ForcePromoteWaits => "force-promote beside a running primary",
        Rule::SessionsInBatch => "duplicate table not in the batch",
    }
}

/// One range of seeds, until the broken rule was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caught {
    /// Seeds that were played, the one that found it among them.
    pub seeds: u64,
    /// What did not hold.
    pub invariant: Invariant,
}

/// How hard a broken rule is to find: one number would be luck, so there are several.
#[derive(Clone, Debug)]
pub struct Hardness {
    /// The rule that was switched off.
    pub rule: Rule,
    /// For each range; `None`: not found in it.
    pub ranges: Vec<Option<Caught>>,
}

/// Looks for `rule` switched off in each of the `ranges`.
#[must_use]
pub fn measure(rule: Rule, ranges: &[Range<u64>], threads: usize) -> Hardness {
    let search = |range: &Range<u64>| {
        let violation = hunt(rule, range.clone(), threads)?;
        Some(Caught { seeds: violation.seed - range.start + 1, invariant: violation.invariant })
    };
    Hardness { rule, ranges: ranges.iter().map(search).collect() }
}

impl Hardness {
    /// Whether it was found in each range.
    #[must_use]
    pub fn is_found(&self) -> bool {
        !self.ranges.is_empty() && self.ranges.iter().all(Option::is_some)
    }

    /// The middle one of the numbers of seeds; `None` if it was not found in so many ranges.
    #[must_use]
    pub fn median(&self) -> Option<u64> {
        let mut seeds: Vec<u64> =
            self.ranges.iter().map(|caught| caught.map_or(u64::MAX, |caught| caught.seeds)).collect();
        seeds.sort_unstable();
        seeds.get(seeds.len() / 2).copied().filter(|seeds| *seeds < u64::MAX)
    }

    /// The largest of the numbers of seeds; `None` if a range did not find it.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        self.ranges
            .iter()
            .map(|caught| caught.map(|caught| caught.seeds))
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .max()
    }

    /// What caught it, the most frequent first.
    #[must_use]
    pub fn invariants(&self) -> Vec<Invariant> {
        let mut counts: BTreeMap<Invariant, usize> = BTreeMap::new();
        for caught in self.ranges.iter().flatten() {
            *counts.entry(caught.invariant).or_default() += 1;
        }
        let mut sorted: Vec<_> = counts.into_iter().collect();
        sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        sorted.into_iter().map(|(invariant, _)| invariant).collect()
    }
}
