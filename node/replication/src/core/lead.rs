//! How a term begins, goes on under a new epoch, and ends.

use kv_types::{Entry, EntryId, Seq, VolumeId};

use super::{
    Body, Core, Effect, Refusal, Rule, Time,
    effect::barrier,
    term::{Change, ChangeState, Follower, Refused, Request, Term},
    transfer::Kind,
};

impl Core {
    /// Whether the known configuration can be led as it is. A replica leads epoch `x` only if its persisted promise
    /// was below `x` when the process started: a restarted primary may have lost unsynced entries of `x` that a member
    /// holds, so it first makes a new epoch. **\[M\]** The same after a term has ended, for any reason.
    pub(super) fn can_lead_known(&self) -> bool {
        let epoch = self.known_epoch();
        let bumped = self.promise.at_start() < epoch || !self.rules.hold(Rule::RestartedPrimaryBumps);
        self.promise.current() <= epoch && bumped && self.led < epoch
    }

    /// Leads, or does the next thing that is missing for it, if the known configuration names this replica.
    pub(super) fn consider_leading(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(known) = &self.known else { return };
        let whole = !self.void && self.following.snapshot.is_none();
        let idle = self.term.is_none() && whole && !self.surroundings.ceased;
        if known.config.primary != self.me || !idle {
            return;
        }
        // [M] Only a quorum read or one's own compare-and-set tells that the epoch is (or was just now) in force.
        if !known.quorum {
            self.read_config_sometimes(now, effects);
            return;
        }
        if !self.can_lead_known() {
            self.consider_takeover(now, effects);
            return;
        }
        if !self.has_compared_logs(&known.config) {
            return;
        }
        let epoch = known.config.epoch;
        if self.promise.current() < epoch {
            self.persist_promise(epoch, effects);
        }
        if self.promise.is_durable() {
            self.start_term(now, effects);
        }
    }

    fn start_term(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(known) = &self.known else { return };
        let epoch = known.config.epoch;
        let last = self.log.last();
        let mut term = Term::new(epoch, now, last.seq);
        for peer in known.config.isr.iter().filter(|peer| **peer != self.me) {
            term.followers.insert(*peer, Follower::new(last.seq.next(), now));
        }
        self.log.push(Entry { id: EntryId { epoch, seq: term.barrier }, payload: barrier() });
        self.led = epoch;
        self.takeover = None;
        self.torn = false;
        self.term = Some(term);
        effects.push(Effect::Leads(true));
        self.count_needed();
        self.send_heartbeats(now, effects);
    }

    /// This primary's own change is in force: the term goes on, acknowledgements are carried over, leases are not.
    pub(super) fn continue_term(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(known) = &self.known else { return };
        let config = known.config.clone();
        if self.promise.current() > config.epoch {
            self.step_down(effects);
            self.consider_leading(now, effects);
            return;
        }
        if self.promise.current() < config.epoch {
            self.persist_promise(config.epoch, effects);
        }
        let Some(term) = &mut self.term else { return };
        term.epoch = config.epoch;
        term.change = Change::default();
        self.led = config.epoch;
        for follower in term.followers.values_mut() {
            follower.leased_until = Time(0);
            follower.resend();
        }
        for peer in config.isr.iter().filter(|peer| **peer != self.me) {
            let next = self.log.last().seq.next();
            term.followers.entry(*peer).or_insert_with(|| Follower::new(next, now));
        }
        let placed = self.surroundings.placement.as_ref().map_or(&[][..], |placement| &placement.replicas);
        term.followers.retain(|peer, _| config.isr.contains(peer) || placed.contains(peer));
        if let Some(transfer) = term.transfer.take() {
            match (transfer.token, transfer.kind) {
                (token, Kind::Split { at, .. }) if config.range.end.as_ref() == Some(&at) => {
                    self.refuse_waiting_writes(effects);
                    effects.extend(token.map(|token| Effect::Done { token, config }));
                }
                (Some(token), _) => {
                    let refusal = Refusal::Impossible("it was called off: the target did not take over");
                    effects.push(Effect::Refuse { token, refusal });
                }
                (None, _) => {}
            }
        }
        self.count_needed();
        self.send_heartbeats(now, effects);
        self.probe_followers(now, effects);
        self.advance_commit(now, effects);
        self.serve_waiting(now, effects);
    }

    /// After a split what was held may be the child's: it was never appended, so it is definite, and passed on.
    fn refuse_waiting_writes(&mut self, effects: &mut Vec<Effect>) {
        let Some(term) = &mut self.term else { return };
        term.waiting.retain(|waiting| {
            let write = matches!(waiting.request, Request::Propose(_));
            if write {
                let refusal = Refusal::NotPrimary { primary: None };
                effects.push(Effect::Refuse { token: waiting.token, refusal });
            }
            !write
        });
    }

    /// Ends the term. What was appended may still be committed by the next primary: unknown. What only waited was
    /// never appended: definite, and passed on.
    pub(super) fn step_down(&mut self, effects: &mut Vec<Effect>) {
        self.flush_log(effects);
        let Some(mut term) = self.term.take() else {
            return;
        };
        effects.push(Effect::Leads(false));
        for token in term.take_waiters() {
            effects.push(Effect::Refuse { token, refusal: Refusal::Unknown });
        }
        let primary = self.known.as_ref().map(|known| known.config.primary).filter(|primary| *primary != self.me);
        for waiting in term.waiting {
            let refusal = if self.surroundings.ceased {
                Refusal::Unavailable("this node is cut off and has ceased to serve")
            } else {
                Refusal::NotPrimary { primary }
            };
            effects.push(Effect::Refuse { token: waiting.token, refusal });
        }
        if let Some(transfer) = term.transfer
            && let Some(token) = transfer.token
        {
            let known = self.known.as_ref().map(|known| &known.config);
            match (transfer.kind, known) {
                (Kind::Handover { target }, Some(config)) if config.primary == target => {
                    self.send(target, config.epoch, Body::Wake, effects);
                    effects.push(Effect::Done { token, config: config.clone() });
                }
                _ => effects.push(Effect::Refuse { token, refusal: Refusal::Unknown }),
            }
        } else if let Some(primary) = primary {
            // The next primary may not have noticed yet; reading the configuration early shortens the gap.
            self.send(primary, self.known_epoch(), Body::Wake, effects);
        }
        self.following.leader = None;
        self.following.matched = Seq(0);
        self.following.asked_at = None;
    }

    /// Whose acknowledgements and leases count: old ∪ new, from before the compare-and-set is sent until its outcome
    /// is known. **\[M\]**
    pub(super) fn count_needed(&mut self) {
        let (Some(known), Some(term)) = (&self.known, &mut self.term) else {
            return;
        };
        let old = &known.config.isr;
        let mut needed = old.clone();
        needed.extend(term.change.in_flight.iter().flat_map(|new| &new.isr));
        needed.retain(|peer| *peer != self.me);
        needed.sort_unstable();
        needed.dedup();
        let newest = term.change.in_flight.last().map_or(old, |new| &new.isr);
        let joins = |peer: &VolumeId| !old.contains(peer);
        let leaves = |peer: &VolumeId| !newest.contains(peer);
        let keep = |joiner: Rule, leaver: Rule| {
            let mut kept = needed.clone();
            kept.retain(|peer| (self.rules.hold(joiner) || !joins(peer)) && (self.rules.hold(leaver) || !leaves(peer)));
            kept
        };
        term.ack_needed = keep(Rule::JoinNeedsAck, Rule::ShrinkKeepsAckNeed);
        term.lease_needed = keep(Rule::JoinNeedsLease, Rule::ShrinkKeepsLeaseNeed);
    }

    /// Whether a member has promised a higher epoch and no compare-and-set of it has landed.
    pub(super) fn is_refused(&self) -> bool {
        self.term.as_ref().is_some_and(|term| term.change.refused == Refused::Confirmed)
    }

    pub(super) fn is_changing(&self) -> bool {
        self.term.as_ref().is_some_and(|term| {
            term.change.state != ChangeState::Idle || !term.change.in_flight.is_empty() || term.transfer.is_some()
        })
    }
}
