use std::fmt;

macro_rules! situations {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Something that a run should come through now and then.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Situation { $($(#[$doc])* $name,)* }

        impl Situation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

situations! {
    /// The faults have ended.
    Healed,
    /// All was well at the end, and the last reads good.
    Recovered,
    /// No intact copy was left.
    NothingLeft,
    /// A member has become primary by itself.
    Takeover,
    /// A primary was made primary of a new epoch after its restart.
    OwnEpochBumped,
    /// A handover has taken effect.
    HandoverDone,
    /// A handover was called off.
    HandoverFailed,
    /// A member was removed.
    Shrink,
    /// A learner was added.
    Join,
    /// A primary alone in its ISR has served.
    SoleServer,
    /// An epoch was refreshed with the same members.
    Refresh,
    /// A snapshot was installed.
    SnapshotInstalled,
    /// A snapshot could not be had.
    SnapshotFailed,
    /// A snapshot came for a copy that had started over since it was asked for.
    SnapshotOutdated,
    /// A copy started with a torn tail.
    Torn,
    /// A copy started that had lost its log.
    Void,
    /// A volume was wiped.
    Wiped,
    /// All nodes were down at once.
    AllDown,
    /// A change was applied after its sender had been told that its outcome is unknown.
    UnknownAppliedLate,
    /// A change was applied, and its sender told that its outcome is unknown.
    AnswerLost,
    /// A primary started anew while a join of its was under way.
    RestartDuringJoin,
    /// A crash between writing a promise and its sync.
    CrashWhilePromising,
    /// A crash after something had become durable, and before the others were told.
    CrashBeforeSend,
    /// A learner crashed while the change that adds it was under way.
    JoinerCrashed,
    /// A primary was cut off while a change that adds a member was under way.
    CutOffDuringJoin,
    /// A change was sent while another one of the same epoch by the same primary could still be applied.
    TwoInFlight,
    /// Of two such changes the earlier one was applied.
    EarlierOfTwoApplied,
    /// Two nodes were cut off from each other for a short time, and not for the first time.
    ShortCut,
    /// All members of an ISR were down at once.
    AllInSyncDown,
    /// A member was lost while ZooKeeper was away.
    LossWithoutZooKeeper,
    /// The node that was about to take over crashed before it had committed its barrier.
    SuccessorCrashed,
    /// The primary crashed while its handover was under way.
    HandoverSourceCrashed,
    /// The target crashed while a handover to it was under way.
    HandoverTargetCrashed,
    /// A copy crashed while it waited for a snapshot.
    SnapshotTakerCrashed,
    /// A primary crashed while a copy waited for its snapshot.
    SnapshotGiverCrashed,
    /// A machine was started anew, and its clock with it.
    Rebooted,
    /// A volume that had been replaced was there again.
    VolumeBack,
    /// Entries of a primary were cut by the next one.
    TailCut,
    /// A node has ceased.
    Ceased,
    /// ZooKeeper as a whole was away.
    ZooKeeperAway,
    /// A process was paused for longer than a lease.
    LongPause,
    /// A stale configuration was read.
    StaleConfig,
    /// A confirmed read was answered.
    ConfirmedRead,
    /// A leased read was answered.
    LeasedRead,
    /// A retry was answered with the outcome of the first attempt.
    Duplicate,
    /// A session was not known any more.
    SessionExpired,
    /// A condition did not hold.
    Mismatch,
    /// A write was answered "unknown" by the node.
    UnknownOutcome,
    /// The placement was changed.
    Moved,
    /// The shard was handed back to its home.
    WentHome,
    /// The shard was split.
    Split,
    /// The shard was promoted by force.
    Forced,
    /// A log was trimmed.
    Trimmed,
}

/// How often each situation came up.
#[derive(Clone, Debug)]
pub struct Coverage([u64; Situation::ALL.len()]);

impl Default for Coverage {
    fn default() -> Self {
        Self([0; Situation::ALL.len()])
    }
}

impl Coverage {
    pub(crate) const fn count(&mut self, situation: Situation) {
        self.0[situation as usize] += 1;
    }

    /// How often `situation` came up.
    #[must_use]
    pub const fn of(&self, situation: Situation) -> u64 {
        self.0[situation as usize]
    }

    /// Situations that never came up.
    pub fn missing(&self) -> impl Iterator<Item = Situation> {
        Situation::ALL.iter().copied().filter(|situation| self.of(*situation) == 0)
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for situation in Situation::ALL {
            writeln!(f, "{:>12}  {situation:?}", self.of(*situation))?;
        }
        Ok(())
    }
}
