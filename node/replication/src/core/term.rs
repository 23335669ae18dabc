//! What a primary keeps while it leads.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use kv_types::{Epoch, Seq, ShardConfig, ShardId, VolumeId};

use super::{Time, Token, transfer::Transfer};

/// A primary's time in office; it spans the changes of epoch that the primary itself makes.
#[derive(Debug)]
pub(super) struct Term {
    pub(super) epoch: Epoch,
    pub(super) started: Time,
    /// The no-op that starts the term: before it is committed nothing is served and nobody joins. **\[M\]**
    pub(super) barrier: Seq,
    pub(super) followers: BTreeMap<VolumeId, Follower>,
    /// Who was asked to empty its log, and in which incarnation: nothing that it says in that one counts any more, since it may be empty
    /// by then. **\[P\]**
    pub(super) given_up: BTreeMap<VolumeId, u64>,
    /// The others whose acknowledgement a commit needs: old ∪ new while a change is in flight. **\[M\]**
    pub(super) ack_needed: Vec<VolumeId>,
    /// The others whose lease a read needs; the same set. **\[M\]**
    pub(super) lease_needed: Vec<VolumeId>,
    pub(super) change: Change,
    pub(super) transfer: Option<Transfer>,
    waiters: VecDeque<(Seq, Token)>,
    /// Requests that wait for a lease, the barrier, or the end of a transfer.
    pub(super) waiting: VecDeque<Waiting>,
    /// All up to here was handed to the log and to those followers that keep up.
    pub(super) flushed: Seq,
    pub(super) uncommitted_bytes: usize,
    /// Of confirmed reads.
    pub(super) round: u64,
    pub(super) round_due: bool,
    pub(super) heartbeat_at: Option<Time>,
}

/// A change of the shard's configuration by its primary.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Everything that was sent at this epoch and may still be applied. **\[M\]**
    pub(super) in_flight: Vec<ShardConfig>,
    pub(super) state: ChangeState,
    pub(super) split: Option<(ShardId, ShardConfig)>,
    /// A member has promised a higher epoch, so it listens no more. **\[P\]**
    pub(super) refused: Refused,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangeState {
    #[default]
    Idle,
    /// Waits for the promise of the new epoch to be durable.
    Promising,
    /// Its answer is outstanding.
    Sent,
    /// Its outcome is unknown; the epoch is being read.
    Unknown(Time),
    /// The next attempt is due then.
    Resting(Time),
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    #[default]
    No,
    Seen,
    /// And a quorum read afterwards has shown the old epoch.
    Confirmed,
}

/// A request that can't be served yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) token: Token,
    pub(super) arrived: Time,
    pub(super) request: Request,
}

#[derive(Debug)]
pub(super) enum Request {
    Propose(Bytes),
    Read,
    /// Served when every member has answered a heartbeat of this round or a later one.
    ConfirmedRead {
        round: u64,
    },
}

/// A member or learner as its primary sees it.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) incarnation: Option<u64>,
    /// As far as its log is the same as ours, as it has told in this incarnation.
    pub(super) told: Option<Seq>,
    pub(super) void: bool,
    pub(super) leaving: bool,
    pub(super) flow: Flow,
    /// The next entry to send.
    pub(super) next: Seq,
    /// The entry before the first that was sent since it was last told where to go on.
    base: Seq,
    /// Acknowledged: durable there, and matched by (epoch, seq). **\[M\]**
    pub(super) matched: Seq,
    /// By the primary's clock.
    pub(super) leased_until: Time,
    pub(super) confirmed_round: u64,
    pub(super) heard_at: Time,
    /// When `matched` last grew, or had nothing to grow to.
    pub(super) progress_at: Time,
    unacknowledged: VecDeque<(Seq, usize)>,
    unacknowledged_bytes: usize,
    /// The last heartbeat and what had been sent before it.
    pub(super) heartbeat: Option<(Time, Seq)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Entries are sent as they come.
    Streaming,
    /// Entries are being read from the log, from there on.
    Fetching(Seq),
    /// It was told then that it needs a snapshot.
    Snapshot(Time),
}

impl Term {
    pub(super) fn new(epoch: Epoch, now: Time, last: Seq) -> Self {
        Self {
            epoch,
            started: now,
            barrier: last.next(),
            followers: BTreeMap::new(),
            given_up: BTreeMap::new(),
            ack_needed: Vec::new(),
            lease_needed: Vec::new(),
            change: Change::default(),
            transfer: None,
            waiters: VecDeque::new(),
            waiting: VecDeque::new(),
            flushed: last,
            uncommitted_bytes: 0,
            round: 0,
            round_due: false,
            heartbeat_at: None,
        }
    }

    /// Remembers who waits for the entry at `seq`; entries come in order.
    pub(super) fn wait_for(&mut self, seq: Seq, token: Token) {
        self.waiters.push_back((seq, token));
    }

    /// Who waits for the entry at `seq`; entries are asked for in order.
    pub(super) fn waiter_of(&mut self, seq: Seq) -> Option<Token> {
        self.waiters.pop_front_if(|(waiting, _)| *waiting == seq).map(|(_, token)| token)
    }

    pub(super) fn take_waiters(&mut self) -> impl Iterator<Item = Token> + use<> {
        std::mem::take(&mut self.waiters).into_iter().map(|(_, token)| token)
    }

    pub(super) fn lost_link(&mut self, peer: VolumeId) {
        if let Some(follower) = self.followers.get_mut(&peer) {
            follower.resend();
        }
    }
}

impl Follower {
    pub(super) fn new(next: Seq, now: Time) -> Self {
        Self {
            incarnation: None,
            told: None,
            void: false,
            leaving: false,
            flow: Flow::Streaming,
            next,
            base: Seq(next.0.saturating_sub(1)),
            matched: Seq(0),
            leased_until: Time(0),
            confirmed_round: 0,
            heard_at: now,
            progress_at: now,
            unacknowledged: VecDeque::new(),
            unacknowledged_bytes: 0,
            heartbeat: None,
        }
    }

    /// Goes on with the entry after the last that it is known to have. What it has told of may not be durable, or cut since: then the next
    /// entry doesn't fit, and it tells again.
    pub(super) fn resend(&mut self) {
        self.resend_from(self.matched.max(self.told.unwrap_or_default()).next());
    }

    pub(super) fn resend_from(&mut self, next: Seq) {
        self.next = next.max(self.matched.next());
        self.base = Seq(self.next.0 - 1);
        self.flow = Flow::Streaming;
        self.unacknowledged.clear();
        self.unacknowledged_bytes = 0;
        self.heartbeat = None;
    }

    /// Some of what was sent has not arrived; all up to `received` has. Where nothing has, the place itself goes again.
    pub(super) fn resend_after(&mut self, received: Seq) {
        self.resend_from(received.max(self.base).next());
    }

    pub(super) fn sent(&mut self, last: Seq, bytes: usize) {
        self.next = last.next();
        self.unacknowledged.push_back((last, bytes));
        self.unacknowledged_bytes += bytes;
    }

    pub(super) fn acknowledged(&mut self, matched: Seq, now: Time) {
        if matched > self.matched {
            self.matched = matched;
            self.progress_at = now;
            self.next = self.next.max(matched.next());
        }
        while let Some((_, bytes)) = self.unacknowledged.pop_front_if(|(last, _)| *last <= matched) {
            self.unacknowledged_bytes -= bytes;
        }
    }

    pub(super) const fn unacknowledged_bytes(&self) -> usize {
        self.unacknowledged_bytes
    }
}
