//! Reading: leases and confirmed reads (protocol, section 4).

use kv_types::{Epoch, Seq, VolumeId};

use super::{
    Body, Core, Effect, Grant, Rule, Time, Token,
    term::{Request, Waiting},
};

impl Core {
    pub(super) fn on_read(&mut self, now: Time, token: Token, confirmed: bool, effects: &mut Vec<Effect>) {
        let Some(term) = &mut self.term else {
            self.refuse_follower(token, effects);
            return;
        };
        let request = if confirmed && !term.lease_needed.is_empty() {
            // A round that begins after the read has arrived; reads of one batch share it.
            term.round_due = true;
            Request::ConfirmedRead { round: term.round + 1 }
        } else if self.can_read(now) {
            effects.push(Effect::Serve(token));
            return;
        } else {
            Request::Read
        };
        self.wait(Waiting { token, arrived: now, request }, effects);
    }

    /// Whether this replica leads, its term is open and every lease holds at `now`, which was read after the request
    /// had arrived. **\[M\]** The driver reads the table before the next input: value and lease are of one term.
    #[must_use]
    pub fn can_read(&self, now: Time) -> bool {
        let Some(term) = &self.term else { return false };
        let leased = |peer: &VolumeId| term.followers.get(peer).is_some_and(|follower| now < follower.leased_until);
        let leases = if self.rules.hold(Rule::LeaseFromEveryMember) {
            term.lease_needed.iter().all(leased)
        } else {
            term.lease_needed.is_empty() || term.lease_needed.iter().any(leased)
        };
        leases && self.barrier_committed() && !self.is_holding()
    }

    /// The latest round that every member has answered.
    pub(super) fn confirmed_round(&self) -> u64 {
        let Some(term) = &self.term else { return 0 };
        let confirmed = |peer: &VolumeId| term.followers.get(peer).map_or(0, |follower| follower.confirmed_round);
        term.lease_needed.iter().map(confirmed).min().unwrap_or(u64::MAX)
    }

    pub(super) fn send_heartbeats(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let commit = self.told_commit();
        let Some(term) = &mut self.term else { return };
        term.heartbeat_at = Some(now);
        let (epoch, round) = (term.epoch, term.round);
        let peers: Vec<_> = term
            .followers
            .iter_mut()
            .map(|(peer, follower)| {
                let sent = Seq(follower.next.0 - 1);
                follower.heartbeat = Some((now, sent));
                (*peer, sent)
            })
            .collect();
        for (peer, sent) in peers {
            self.send(peer, epoch, Body::Heartbeat { stamp: now, commit, sent, round }, effects);
        }
    }

    pub(super) fn on_heartbeat_ack(
        &mut self,
        now: Time,
        from: VolumeId,
        epoch: Epoch,
        grant: Grant,
        effects: &mut Vec<Effect>,
    ) {
        let Grant { stamp, round, received, matched, void, leaving } = grant;
        // A stamp of the future is not ours.
        if stamp > now || !self.heard(now, from, epoch) {
            return;
        }
        // [M] 0.85 L from the send stamp here, all of L from receipt there.
        let length = if self.rules.hold(Rule::LeaseEndsBeforeGrant) {
            self.settings.lease_at_primary()
        } else {
            self.settings.lease * 2
        };
        if let Some(follower) = self.term.as_mut().and_then(|term| term.followers.get_mut(&from)) {
            follower.leased_until = follower.leased_until.max(stamp + length);
            follower.confirmed_round = follower.confirmed_round.max(round);
            if let Some((sent_at, sent)) = follower.heartbeat
                && sent_at == stamp
            {
                (follower.void, follower.leaving) = (void, leaving);
                if received < sent {
                    // Entries sent before that heartbeat have not arrived.
                    follower.resend_after(received);
                    self.probe(now, from, effects);
                }
            }
        }
        self.acknowledged(now, from, matched, effects);
        self.serve_waiting(now, effects);
    }

    pub(super) fn tick_primary(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let every = self.settings.heartbeat_every();
        let Some(term) = &self.term else { return };
        if term.heartbeat_at.is_none_or(|at| now.since(at) >= every) {
            self.send_heartbeats(now, effects);
            self.send_all(now, effects);
        }
        self.note_progress(now);
        self.serve_waiting(now, effects);
        self.expire_waiting(now, effects);
        self.advance_transfer(now, effects);
        self.tick_change(now, effects);
        self.consider_going_home(now, effects);
    }

    /// Followers that have all there is are not stuck, however long ago their last entry was.
    fn note_progress(&mut self, now: Time) {
        let last = self.log.last().seq;
        let Some(term) = &mut self.term else { return };
        for follower in term.followers.values_mut().filter(|follower| follower.matched >= last) {
            follower.progress_at = now;
        }
    }

    /// What followers are told: nothing before the barrier is committed. So a follower that has all up to there has all
    /// that was ever committed.
    pub(super) fn told_commit(&self) -> Seq {
        if self.barrier_committed() { self.commit } else { Seq(0) }
    }

    #[must_use]
    pub(super) fn term_epoch(&self) -> Epoch {
        self.term.as_ref().map_or(Epoch(0), |term| term.epoch)
    }
}
