//! Writing: append, send, count acknowledgements, commit (protocol, section 3).

use bytes::Bytes;
use kv_types::{Entry, EntryId, Epoch, EpochHistory, Seq, VolumeId};

use super::{
    Core, Effect, Refusal, Rule, Time, Token,
    log::size,
    term::{Refused, Request, Waiting},
};

impl Core {
    pub(super) fn on_propose(&mut self, now: Time, token: Token, payload: Bytes, effects: &mut Vec<Effect>) {
        if self.term.is_none() {
            self.refuse_follower(token, effects);
        } else if !self.accepts_writes() {
            self.wait(Waiting { token, arrived: now, request: Request::Propose(payload) }, effects);
        } else {
            self.propose(token, payload, effects);
        }
    }

    /// Not before the barrier is committed, and not while a transfer holds. **\[M\]**
    fn accepts_writes(&self) -> bool {
        self.barrier_committed() && !self.is_holding()
    }

    pub(super) fn barrier_committed(&self) -> bool {
        let committed = self.term.as_ref().is_some_and(|term| self.commit >= term.barrier);
        committed || !self.rules.hold(Rule::ServeAfterBarrier)
    }

    fn propose(&mut self, token: Token, payload: Bytes, effects: &mut Vec<Effect>) {
        let in_sync = self.known.as_ref().map_or(0, |known| known.config.isr.len());
        let bound = self.settings.min_in_sync;
        let Some(term) = &mut self.term else { return };
        let refusal = if in_sync < bound {
            Refusal::TooFewInSync { in_sync, bound }
        } else if term.uncommitted_bytes > self.settings.max_uncommitted_bytes {
            Refusal::Exhausted("too many bytes wait for their copies: try again")
        } else {
            let seq = self.log.last().seq.next();
            let entry = Entry { id: EntryId { epoch: term.epoch, seq }, payload };
            term.uncommitted_bytes += size(&entry);
            term.wait_for(seq, token);
            self.log.push(entry);
            return;
        };
        effects.push(Effect::Refuse { token, refusal });
    }

    pub(super) fn refuse_follower(&self, token: Token, effects: &mut Vec<Effect>) {
        let refusal = if self.surroundings.ceased {
            Refusal::Unavailable("this node is cut off and has ceased to serve")
        } else {
            Refusal::NotPrimary { primary: self.known.as_ref().map(|known| known.config.primary) }
        };
        effects.push(Effect::Refuse { token, refusal });
    }

    pub(super) fn wait(&mut self, waiting: Waiting, effects: &mut Vec<Effect>) {
        let bound = self.settings.max_waiting;
        let Some(term) = &mut self.term else { return };
        if term.waiting.len() < bound {
            term.waiting.push_back(waiting);
        } else {
            let refusal = Refusal::Exhausted("too many requests wait for the shard to serve again: try again");
            effects.push(Effect::Refuse { token: waiting.token, refusal });
        }
    }

    /// Serves what can be served by now, in the order of arrival.
    pub(super) fn serve_waiting(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(term) = &mut self.term else { return };
        if term.waiting.is_empty() {
            return;
        }
        let accepts = self.accepts_writes();
        let leased = self.can_read(now);
        let confirmed = self.confirmed_round();
        let Some(term) = &mut self.term else { return };
        for waiting in std::mem::take(&mut term.waiting) {
            let served = match &waiting.request {
                Request::Propose(_) => accepts,
                Request::Read => leased,
                Request::ConfirmedRead { round } => accepts && confirmed >= *round,
            };
            match (served, waiting.request) {
                (true, Request::Propose(payload)) => self.propose(waiting.token, payload, effects),
                (true, Request::Read | Request::ConfirmedRead { .. }) => {
                    effects.push(Effect::Serve(waiting.token));
                }
                (false, request) => {
                    if let Some(term) = &mut self.term {
                        term.waiting.push_back(Waiting { request, ..waiting });
                    }
                }
            }
        }
    }

    /// Ends the waiting of requests that have waited long enough: they were never appended.
    pub(super) fn expire_waiting(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let bound = self.settings.wait_at_most();
        let Some(term) = &mut self.term else { return };
        while let Some(waiting) = term.waiting.pop_front_if(|waiting| now.since(waiting.arrived) > bound) {
            let refusal = Refusal::Unavailable("the shard's copies could not be reached in time");
            effects.push(Effect::Refuse { token: waiting.token, refusal });
        }
    }

    /// Hands what was proposed to the log and, at the same time, to every follower that keeps up.
    pub(super) fn flush(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(term) = &mut self.term else { return };
        if std::mem::take(&mut term.round_due) {
            term.round += 1;
            self.send_heartbeats(now, effects);
        }
        if self.flush_log(effects) {
            self.send_all(now, effects);
            if !self.rules.hold(Rule::CommitNeedsOwnSync) {
                self.advance_commit(now, effects);
            }
        }
    }

    /// Whether there was something.
    pub(super) fn flush_log(&mut self, effects: &mut Vec<Effect>) -> bool {
        let last = self.log.last().seq;
        let Some(term) = &mut self.term else {
            return false;
        };
        if term.flushed >= last {
            return false;
        }
        let Some(entries) = self.log.in_memory(term.flushed.next(), usize::MAX) else {
            return false;
        };
        term.flushed = last;
        let ticket = self.ticket();
        self.log.sync_with(ticket);
        effects.push(Effect::Append { entries, ticket });
        true
    }

    pub(super) fn on_append_ack(
        &mut self,
        now: Time,
        from: VolumeId,
        epoch: Epoch,
        matched: Seq,
        effects: &mut Vec<Effect>,
    ) {
        if self.heard(now, from, epoch) {
            self.acknowledged(now, from, matched, effects);
        }
    }

    /// Whether `from` speaks of this very term.
    pub(super) fn heard(&mut self, now: Time, from: VolumeId, epoch: Epoch) -> bool {
        let Some(term) = &mut self.term else {
            return false;
        };
        let Some(follower) = term.followers.get_mut(&from) else {
            return false;
        };
        if epoch != term.epoch {
            return false;
        }
        follower.heard_at = now;
        true
    }

    pub(super) fn acknowledged(&mut self, now: Time, from: VolumeId, matched: Seq, effects: &mut Vec<Effect>) {
        let last = self.log.last().seq;
        let Some(term) = &mut self.term else { return };
        let Some(follower) = term.followers.get_mut(&from) else {
            return;
        };
        let before = follower.matched;
        follower.acknowledged(matched.min(last), now);
        if follower.matched > before {
            self.advance_commit(now, effects);
            self.send_entries(now, from, effects);
        }
    }

    /// `commit = min(durable matched seq)` over the primary's own log and all members that count. **\[M\]**
    pub(super) fn advance_commit(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(term) = &mut self.term else { return };
        let own = if self.rules.hold(Rule::CommitNeedsOwnSync) { self.log.durable() } else { term.flushed };
        let matched = |peer: &VolumeId| term.followers.get(peer).map_or(Seq(0), |follower| follower.matched);
        let commit = term.ack_needed.iter().map(matched).min().map_or(own, |matched| matched.min(own));
        if commit <= self.commit {
            return;
        }
        let opened = self.commit < term.barrier && commit >= term.barrier;
        self.commit = commit;
        self.apply_committed(effects);
        let Some(term) = &mut self.term else { return };
        let streaming = term.followers.values().map(|follower| follower.next).min();
        self.log.trim(streaming.unwrap_or(Seq(u64::MAX)), self.settings.kept_tail_bytes);
        if opened || self.is_holding() {
            self.advance_transfer(now, effects);
            self.serve_waiting(now, effects);
        }
    }

    pub(super) fn on_reject(
        &mut self,
        now: Time,
        from: VolumeId,
        epoch: Epoch,
        promised: Epoch,
        history: EpochHistory,
        effects: &mut Vec<Effect>,
    ) {
        self.compared.insert(from, history.last());
        let Some(term) = &mut self.term else { return };
        if epoch != term.epoch {
            return;
        }
        let Some(follower) = term.followers.get_mut(&from) else {
            return;
        };
        follower.heard_at = now;
        if promised > term.epoch && term.change.refused == Refused::No {
            term.change.refused = Refused::Seen;
            self.read_config(now, effects);
        }
    }
}
