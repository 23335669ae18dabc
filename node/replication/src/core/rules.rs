/// The rules that the mutation gate switches off, one at a time (protocol, section 10).
///
/// In a node all of them hold, and the checks for a switched-off rule compile to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each name is the rule")]
pub enum Rule {
    PromisePersisted,
    TakeoverWaitsForGrant,
    RestartCountsAsGrant,
    LeaseEndsBeforeGrant,
    LeaseFromEveryMember,
    NoGrantAfterPromise,
    ValueAndLeaseOfOneTerm,
    JoinNeedsLease,
    ShrinkKeepsLeaseNeed,
    ShrinkKeepsAckNeed,
    JoinNeedsAck,
    OnlyPrimaryAdds,
    JoinAfterBarrier,
    JoinerCaughtUp,
    ServeAfterBarrier,
    AckIsMatched,
    LateAppendKeepsMatches,
    CommitNeedsOwnSync,
    RestartedPrimaryBumps,
    UnknownStaysInFlight,
    OnlyInSyncTakesOver,
    HandoverHolds,
    ForcePromoteWaits,
    SessionsInBatch,
}

/// Which rules hold: all of them, but for one in a test of the tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    #[cfg(feature = "mutants")]
    broken: Option<Rule>,
}

impl Rules {
    /// All rules hold.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// All rules but one.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub const fn without(rule: Rule) -> Self {
        Self { broken: Some(rule) }
    }

    /// Whether `rule` holds.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn hold(self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    /// Whether `rule` holds.
    #[cfg(not(feature = "mutants"))]
    #[must_use]
    pub const fn hold(self, _rule: Rule) -> bool {
        true
    }
}
