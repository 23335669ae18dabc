//! Taking over: a member of the ISR whose grant has run out becomes primary (protocol, section 5).

use kv_types::{Epoch, ShardConfig, VolumeId};

use super::{Core, Effect, Rule, Time};

/// An attempt to lead the epoch after `expected`.
#[derive(Debug)]
pub(super) struct Takeover {
    pub(super) expected: Epoch,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Waits for the promise to be durable: *before* the compare-and-set.
    Promising,
    /// The compare-and-set is under way.
    Sent,
    /// Its outcome is unknown; the next attempt is due then.
    Resting(Time),
}

impl Core {
    pub(super) fn consider_takeover(&mut self, now: Time, effects: &mut Vec<Effect>) {
        match &self.takeover {
            Some(Takeover { state: State::Promising | State::Sent, .. }) => return,
            Some(Takeover { state: State::Resting(until), .. }) if now < *until => return,
            _ => {}
        }
        let Some(known) = &self.known else { return };
        let config = &known.config;
        if config.primary == self.me {
            // Bumping one's own epoch waits for nobody, but only on a configuration that is in force.
            if !known.quorum {
                self.read_config_sometimes(now, effects);
                return;
            }
            if self.can_lead_known() {
                self.consider_leading(now, effects);
                return;
            }
        }
        if !self.may_take_over(now) {
            return;
        }
        let expected = config.epoch;
        // [M] The check of the grant and the raised promise are one step: nothing is granted in between.
        self.takeover = Some(Takeover { expected, state: State::Promising });
        if self.promise.current() < expected.next() {
            self.persist_promise(expected.next(), effects);
        }
        self.send_promised_takeover(now, effects);
    }

    /// Checked on every attempt. **\[M\]**
    fn may_take_over(&self, now: Time) -> bool {
        let Some(known) = &self.known else {
            return false;
        };
        let config = &known.config;
        let in_sync = config.is_in_sync(self.me) || !self.rules.hold(Rule::OnlyInSyncTakesOver);
        let mine = config.primary == self.me;
        // Who has granted a new primary nothing yet, as the one that handed over to it, gives it a lease of time to be heard in.
        let heard_of = known.primary_since.is_none_or(|since| now >= since + self.settings.lease);
        let grant_over = mine
            || (heard_of && now >= self.following.granted_until + self.stagger(config))
            || !self.rules.hold(Rule::TakeoverWaitsForGrant);
        let able = self.surroundings.zookeeper && !self.surroundings.ceased && !self.surroundings.leaving;
        in_sync
            && !self.void
            && grant_over
            && able
            && self.following.snapshot.is_none()
            && self.promise.current() <= config.epoch.next()
            && self.has_compared_logs(config)
    }

    /// The first member tries at once, the others a little later, so that they don't cancel each other out.
    fn stagger(&self, config: &ShardConfig) -> std::time::Duration {
        let before = config.isr.iter().filter(|peer| **peer != config.primary && **peer < self.me).count();
        self.settings.lease / 8 * u32::try_from(before.min(4)).unwrap_or(4)
    }

    /// A copy that cut a torn tail leads only after it has compared logs with every other member; alone it may.
    /// **\[P\]**
    pub(super) fn has_compared_logs(&self, config: &ShardConfig) -> bool {
        let ahead_of = |peer: &VolumeId| self.compared.get(peer).is_some_and(|last| *last <= self.log.last());
        !self.torn || config.isr.iter().filter(|peer| **peer != self.me).all(ahead_of)
    }

    pub(super) fn send_promised_takeover(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let promising = matches!(self.takeover, Some(Takeover { state: State::Promising, .. }));
        if !promising || !self.promise.is_durable() {
            return;
        }
        let Some(known) = &self.known else { return };
        let config = &known.config;
        let expected = config.epoch;
        if self.takeover.as_ref().is_some_and(|takeover| takeover.expected != expected) || !self.may_take_over(now) {
            self.takeover = None;
            return;
        }
        // Any subset of the old ISR that holds oneself, without the dead: two dead nodes need one change.
        let alive = |peer: &VolumeId| {
            *peer == self.me || (*peer != config.primary && self.surroundings.registered.contains(peer))
        };
        let isr = if config.primary == self.me {
            config.isr.clone()
        } else {
            config.isr.iter().copied().filter(alive).chain([self.me]).collect()
        };
        let new = config.successor(self.me, isr);
        self.takeover = Some(Takeover { expected, state: State::Sent });
        effects.push(Effect::CompareAndSet { expected, new, split: None });
    }

    /// The request may still be applied. Nothing is lost by asking again: either wins, and both name this replica.
    pub(super) fn on_takeover_unknown(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if let Some(takeover) = &mut self.takeover {
            takeover.state = State::Resting(now + self.settings.retry_after());
            self.read_config(now, effects);
        }
    }

    /// Broken on purpose only: a learner that adds itself (the primary alone may). **\[M\]**
    pub(super) fn consider_self_join(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.rules.hold(Rule::OnlyPrimaryAdds) || self.takeover.is_some() {
            return;
        }
        let Some(known) = &self.known else { return };
        let config = &known.config;
        if config.is_in_sync(self.me) || self.following.leader != Some(config.primary) || self.commit.0 == 0 {
            return;
        }
        let expected = config.epoch;
        let new = config.successor(config.primary, config.isr.iter().copied().chain([self.me]));
        self.takeover = Some(Takeover { expected, state: State::Resting(now + self.settings.lease) });
        effects.push(Effect::CompareAndSet { expected, new, split: None });
    }
}
