use kv_types::{EntryId, Epoch, Seq, ShardConfig, VolumeId};

use super::{Core, Time};

/// What a replica is and how far it has got, for status, metrics and routing.
#[derive(Clone, Debug)]
pub struct Report {
    /// The newest known configuration.
    pub config: Option<ShardConfig>,
    /// The last entry of the log.
    pub last: EntryId,
    /// All up to here is committed.
    pub commit: Seq,
    /// The promised epoch.
    pub promised: Epoch,
    /// The copy does not count (see [`super::Recovered::void`]).
    pub void: bool,
    /// Primary, member or learner.
    pub role: RoleReport,
}

/// A replica's role.
#[derive(Clone, Debug)]
pub enum RoleReport {
    /// Leads the shard.
    Primary {
        /// Whether it serves reads at this moment.
        serving: bool,
        /// The members and learners.
        followers: Vec<FollowerReport>,
    },
    /// In sync.
    Member,
    /// Catching up.
    Learner {
        /// A snapshot is being fetched.
        snapshot: bool,
    },
}

/// A follower as its primary sees it.
#[derive(Clone, Copy, Debug)]
pub struct FollowerReport {
    /// The replica.
    pub volume: VolumeId,
    /// What it has acknowledged.
    pub matched: Seq,
    /// Whether it was heard of lately, and is not about to stop.
    pub alive: bool,
}

impl Core {
    /// What this replica is at `now`.
    #[must_use]
    pub fn report(&self, now: Time) -> Report {
        let config = self.known.as_ref().map(|known| known.config.clone());
        let in_sync = config.as_ref().is_some_and(|config| config.is_in_sync(self.me));
        let role = match &self.term {
            Some(term) => RoleReport::Primary {
                serving: self.can_read(now),
                followers: term
                    .followers
                    .iter()
                    .map(|(volume, follower)| FollowerReport {
                        volume: *volume,
                        matched: follower.matched,
                        alive: !follower.leaving && now.since(follower.heard_at) <= self.settings.shrink_after(),
                    })
                    .collect(),
            },
            None if in_sync => RoleReport::Member,
            None => RoleReport::Learner { snapshot: self.following.snapshot.is_some() },
        };
        Report {
            config,
            last: self.log.last(),
            commit: self.commit,
            promised: self.promise.current(),
            void: self.void,
            role,
        }
    }

    /// Whether this replica leads.
    #[must_use]
    pub const fn leads(&self) -> bool {
        self.term.is_some()
    }

    /// The newest known configuration.
    #[must_use]
    pub fn config(&self) -> Option<&ShardConfig> {
        self.known.as_ref().map(|known| &known.config)
    }

    /// The lineage of the log.
    #[must_use]
    pub const fn lineage(&self) -> kv_types::Lineage {
        self.lineage
    }

    /// Whether a torn tail was cut and the log has not been compared with the other members' since.
    #[must_use]
    pub const fn is_torn(&self) -> bool {
        self.torn
    }

    /// The newest entry that every follower is known to have, for the log's retention; `None` if it does not lead.
    #[must_use]
    pub fn needed_from(&self) -> Option<Seq> {
        let term = self.term.as_ref()?;
        Some(term.followers.values().map(|follower| follower.matched.next()).min().unwrap_or(self.log.last().seq))
    }

    /// The last entry of the log.
    #[must_use]
    pub fn last(&self) -> EntryId {
        self.log.last()
    }

    /// Grows with every start and every loss of the copy.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Whether a snapshot is being fetched.
    #[must_use]
    pub const fn awaits_snapshot(&self) -> bool {
        self.following.snapshot.is_some()
    }

    /// The epoch history up to what is applied: what a snapshot of the table goes with.
    #[must_use]
    pub fn applied_history(&self) -> kv_types::EpochHistory {
        let mut history = self.log.history().clone();
        history.truncate(self.log.applied());
        history
    }
}
