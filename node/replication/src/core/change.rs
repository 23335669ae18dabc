//! Changes of the ISR by the primary: shrinking, admitting, and refreshing an epoch (protocol, sections 3 and 6).

use kv_types::{ShardConfig, ShardId, VolumeId};

use super::{
    Core, Effect, Rule, Time,
    term::{ChangeState, Flow, Follower, Refused},
};

impl Core {
    pub(super) fn tick_change(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let retry = self.settings.retry_after();
        let Some(term) = &mut self.term else { return };
        match term.change.state {
            ChangeState::Promising | ChangeState::Sent => return,
            ChangeState::Unknown(since) => {
                if now.since(since) >= retry {
                    term.change.state = ChangeState::Unknown(now);
                    self.read_config(now, effects);
                }
                return;
            }
            ChangeState::Resting(until) if now < until => return,
            ChangeState::Resting(_) | ChangeState::Idle => {}
        }
        if !self.surroundings.zookeeper || self.is_draining() {
            return;
        }
        if self.retry_transfer(now, effects) {
            return;
        }
        let Some(known) = &self.known else { return };
        let config = &known.config;
        let new = config.successor(self.me, self.wanted_isr(now, config));
        let in_flight = self.term.as_ref().is_some_and(|term| !term.change.in_flight.is_empty());
        // Whatever of this epoch is still in flight ends with the next change that wins, the same members or not.
        if new.isr != config.isr || in_flight || self.is_refused() {
            self.start_change(now, new, None, effects);
        }
    }

    fn wanted_isr(&self, now: Time, config: &ShardConfig) -> Vec<VolumeId> {
        let Some(term) = &self.term else {
            return config.isr.clone();
        };
        let placement = self.surroundings.placement.as_ref();
        let replaced =
            placement.is_some_and(|placement| placement.replicas.iter().all(|placed| config.is_in_sync(*placed)));
        let stays = |peer: &VolumeId| {
            let follower = term.followers.get(peer);
            // Where all stop together the ISR stays as it is.
            let told = follower.is_some_and(|follower| follower.void || follower.leaving && !self.surroundings.leaving);
            let gone = follower.is_none_or(|follower| self.is_silent(now, follower)) || told;
            // A primary that nobody reaches from outside is itself the one to be replaced.
            let removable = self.surroundings.reachable || told;
            let unplaced = replaced && placement.is_some_and(|placement| !placement.replicas.contains(peer));
            *peer == self.me || !(gone && removable || unplaced)
        };
        let joins = |(peer, follower): (&VolumeId, &Follower)| {
            let placed = placement.is_some_and(|placement| placement.replicas.contains(peer));
            (placed && !config.is_in_sync(*peer) && self.may_join(now, *peer, follower)).then_some(*peer)
        };
        let stay = config.isr.iter().copied().filter(stays);
        stay.chain(term.followers.iter().filter_map(joins)).collect()
    }

    /// Below 0.85 L, so that a member which is gone is removed before its lease is missed.
    fn is_silent(&self, now: Time, follower: &Follower) -> bool {
        let bound = self.settings.shrink_after();
        let stuck = follower.matched < self.log.last().seq && now.since(follower.progress_at) > bound;
        now.since(follower.heard_at) > bound || stuck
    }

    /// Only the primary adds, only after its barrier is committed, and only a joiner that is durable up to the commit
    /// index. **\[M\]**
    fn may_join(&self, now: Time, peer: VolumeId, follower: &Follower) -> bool {
        let caught_up = follower.matched >= self.commit || !self.rules.hold(Rule::JoinerCaughtUp);
        let open = self.barrier_committed() || !self.rules.hold(Rule::JoinAfterBarrier);
        let alive = self.surroundings.registered.contains(&peer) && !self.is_silent(now, follower);
        open && caught_up && alive && follower.flow == Flow::Streaming && !follower.void && !follower.leaving
    }

    /// From here on, *before* the compare-and-set is sent, commits and reads need old ∪ new. **\[M\]**
    pub(super) fn start_change(
        &mut self,
        now: Time,
        new: ShardConfig,
        split: Option<(ShardId, ShardConfig)>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(term) = &mut self.term else { return };
        // Sent again it is the same request: whichever copy of it is applied, the outcome is the same.
        term.change.in_flight.retain(|other| *other != new);
        term.change.split = split;
        term.change.state = ChangeState::Promising;
        let epoch = new.epoch;
        let mine = new.primary == self.me;
        term.change.in_flight.push(new);
        self.count_needed();
        // The promise of an epoch that this replica will lead is durable before anything of that epoch can be sent:
        // after a crash it must not lead that epoch again. [M]
        if mine && self.promise.current() < epoch {
            self.persist_promise(epoch, effects);
        }
        self.send_promised_change(now, effects);
    }

    pub(super) fn send_promised_change(&mut self, _now: Time, effects: &mut Vec<Effect>) {
        let durable = self.promise.is_durable();
        let Some(term) = &mut self.term else { return };
        if term.change.state != ChangeState::Promising {
            return;
        }
        let Some(new) = term.change.in_flight.last().cloned() else {
            return;
        };
        if new.primary == self.me && !durable {
            return;
        }
        term.change.state = ChangeState::Sent;
        let split = term.change.split.clone();
        effects.push(Effect::CompareAndSet { expected: term.epoch, new, split });
    }

    /// It stays in flight until a higher epoch has been seen: reading the old one proves nothing. **\[M\]**
    pub(super) fn on_own_change_unknown(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(term) = &mut self.term else { return };
        if self.rules.hold(Rule::UnknownStaysInFlight) {
            term.change.state = ChangeState::Unknown(now);
        } else {
            term.change.in_flight.clear();
            term.change.state = ChangeState::Idle;
            self.count_needed();
            self.advance_commit(now, effects);
        }
        self.read_config(now, effects);
    }

    /// The old epoch was in force after the question: another attempt can't do harm.
    pub(super) fn on_own_epoch_confirmed(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let retry = self.settings.retry_after();
        let Some(term) = &mut self.term else { return };
        if let ChangeState::Unknown(_) = term.change.state {
            term.change.state = ChangeState::Resting(now + retry);
        }
        if term.change.refused == Refused::Seen {
            term.change.refused = Refused::Confirmed;
            self.tick_change(now, effects);
        }
    }
}
