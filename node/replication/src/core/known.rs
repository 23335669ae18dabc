//! What a replica knows of its shard's configuration, and what follows from news of it.

use kv_types::{EntryId, Epoch, Lineage, ShardConfig};

use super::{ChangeOutcome, Core, Effect, Time};

/// The newest configuration that a replica knows.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) config: ShardConfig,
    /// Seen by a quorum read or as the outcome of one's own compare-and-set: only on such a configuration a replica
    /// starts to lead. **\[M\]**
    pub(super) quorum: bool,
    /// Since when the primary is this one and not the one before; `None`: no other was known.
    pub(super) primary_since: Option<Time>,
}

impl Core {
    /// One code path for every configuration, however it became known.
    pub(super) fn on_config(&mut self, now: Time, config: ShardConfig, quorum: bool, effects: &mut Vec<Effect>) {
        if let Some(known) = &mut self.known
            && config.epoch <= known.config.epoch
        {
            if config.epoch == known.config.epoch && quorum {
                known.quorum = true;
                self.on_epoch_confirmed(now, effects);
            }
            return;
        }
        if config.lineage < self.lineage {
            // Read from a server that lags behind the force-promote this copy comes from.
            self.read_config_sometimes(now, effects);
            return;
        }
        if config.lineage > self.lineage {
            self.on_lineage(&config, effects);
        }
        self.takeover = None;
        let mine = config.primary == self.me;
        let epoch = config.epoch;
        let primary_since = match &self.known {
            Some(known) if known.config.primary == config.primary => known.primary_since,
            Some(_) => Some(now),
            None => None,
        };
        self.known = Some(Known { config, quorum, primary_since });
        match &self.term {
            // [M] Only the primary of `epoch - 1` writes a successor that names itself, so it goes on.
            Some(term) if mine && epoch == term.epoch.next() => self.continue_term(now, effects),
            Some(_) => {
                self.step_down(effects);
                self.consider_leading(now, effects);
            }
            None => self.consider_leading(now, effects),
        }
        if self.term.is_none() && (self.promise.current() < epoch || self.following.leader.is_none()) {
            self.following.leader = None;
            self.ask_to_follow(now, effects);
        }
    }

    pub(super) fn on_changed(&mut self, now: Time, expected: Epoch, outcome: ChangeOutcome, effects: &mut Vec<Effect>) {
        match outcome {
            ChangeOutcome::Won(config) | ChangeOutcome::Lost(config) if config.epoch > expected => {
                self.on_config(now, config, true, effects);
                // An answer that comes after a newer configuration was seen ends nothing any more.
                self.on_change_unknown(now, expected, effects);
            }
            // "Lost" to a configuration that is not newer says nothing about the request.
            _ => self.on_change_unknown(now, expected, effects),
        }
    }

    pub(super) fn on_change_unknown(&mut self, now: Time, expected: Epoch, effects: &mut Vec<Effect>) {
        if self.term.as_ref().is_some_and(|term| term.epoch == expected) {
            self.on_own_change_unknown(now, effects);
        } else if self.takeover.as_ref().is_some_and(|takeover| takeover.expected == expected) {
            self.on_takeover_unknown(now, effects);
        }
    }

    /// A quorum read has shown that the known epoch is still in force, or was after it was asked for.
    pub(super) fn on_epoch_confirmed(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.term.is_some() {
            self.on_own_epoch_confirmed(now, effects);
        } else {
            self.consider_leading(now, effects);
        }
    }

    /// Another lineage has come about by force-promote: a copy that was not promoted starts over empty. **\[P\]**
    pub(super) fn on_lineage(&mut self, config: &ShardConfig, effects: &mut Vec<Effect>) {
        if self.term.is_some() {
            self.step_down(effects);
        }
        let fresh = self.lineage == Lineage(0) && self.log.last() == EntryId::ZERO;
        if config.primary == self.me && self.lineage != Lineage(0) {
            // A person has decided that this copy is what is left, whatever it has lost.
            self.void = false;
        }
        self.lineage = config.lineage;
        // What is being fetched is of the older one; it may still arrive. [P]
        self.following.snapshot = None;
        if config.primary != self.me && !fresh {
            self.empty_log(effects);
        }
        self.persist_promise(self.promise.current(), effects);
    }

    /// The epoch in force as far as is known; 0 before the first configuration.
    pub(super) fn known_epoch(&self) -> Epoch {
        self.known.as_ref().map_or(Epoch(0), |known| known.config.epoch)
    }

    pub(super) fn read_config(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.config_asked_at = Some(now);
        effects.push(Effect::ReadConfig);
    }

    pub(super) fn note_epoch(&mut self, now: Time, epoch: Epoch, effects: &mut Vec<Effect>) {
        if epoch > self.known_epoch() {
            self.read_config_sometimes(now, effects);
        }
    }

    /// As often as retries go: what asks for it may come with every message.
    pub(super) fn read_config_sometimes(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let rests = |at: Time| now.since(at) < self.settings.retry_after();
        if !self.config_asked_at.is_some_and(rests) {
            self.read_config(now, effects);
        }
    }
}
