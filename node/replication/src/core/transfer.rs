//! Planned handover and split: requests are held, everything is committed, one compare-and-set moves the range
//! (protocol, section 5).

use bytes::Bytes;
use kv_types::{Entry, EntryId, KeyRange, Seq, ShardConfig, ShardId, VolumeId};

use super::{Core, Effect, Refusal, Rule, Time, Token};

/// A handover or split under way; while it is, nothing is served. **\[M\]**
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) token: Option<Token>,
    pub(super) kind: Kind,
    since: Time,
    /// The compare-and-set may have been sent: from now on only a higher epoch ends it. **\[M\]**
    sent: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    Handover { target: VolumeId },
    Split { child: ShardId, at: Bytes, payload: Bytes, entry: Option<Seq> },
}

impl Core {
    pub(super) fn is_holding(&self) -> bool {
        let Some(transfer) = self.term.as_ref().and_then(|term| term.transfer.as_ref()) else {
            return false;
        };
        self.rules.hold(Rule::HandoverHolds) || !transfer.sent
    }

    pub(super) fn is_draining(&self) -> bool {
        let transfer = self.term.as_ref().and_then(|term| term.transfer.as_ref());
        transfer.is_some_and(|transfer| !transfer.sent)
    }

    pub(super) fn on_handover(&mut self, now: Time, token: Token, target: VolumeId, effects: &mut Vec<Effect>) {
        let in_sync = self.known.as_ref().is_some_and(|known| known.config.is_in_sync(target));
        let refusal = if target == self.me {
            Some("this replica is the primary already")
        } else if !in_sync {
            Some("the target is not in sync")
        } else {
            self.why_not_transfer()
        };
        self.begin(now, Some(token), Kind::Handover { target }, refusal, effects);
    }

    pub(super) fn on_split(
        &mut self,
        now: Time,
        token: Token,
        child: ShardId,
        at: Bytes,
        payload: Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let inside = self.known.as_ref().is_some_and(|known| known.config.range.split(&at).is_some());
        let refusal = if inside { self.why_not_transfer() } else { Some("the key is not inside the shard's range") };
        self.begin(now, Some(token), Kind::Split { child, at, payload, entry: None }, refusal, effects);
    }

    fn why_not_transfer(&self) -> Option<&'static str> {
        if self.term.is_none() {
            Some("this replica is not the primary")
        } else if !self.barrier_committed() {
            Some("the primary has only just taken over: try again")
        } else if self.is_changing() {
            Some("another change of the shard is under way: try again")
        } else if !self.surroundings.zookeeper {
            Some("ZooKeeper does not answer")
        } else {
            None
        }
    }

    fn begin(
        &mut self,
        now: Time,
        token: Option<Token>,
        kind: Kind,
        refusal: Option<&'static str>,
        effects: &mut Vec<Effect>,
    ) {
        match (refusal, &mut self.term) {
            (None, Some(term)) => {
                term.transfer = Some(Transfer { token, kind, since: now, sent: false });
                self.flush(now, effects);
                self.advance_transfer(now, effects);
            }
            (refusal, _) => {
                if let Some(token) = token {
                    let refusal = Refusal::Impossible(refusal.unwrap_or("this replica is not the primary"));
                    effects.push(Effect::Refuse { token, refusal });
                }
            }
        }
    }

    /// Takes the next step of a transfer, as far as commits and acknowledgements allow.
    pub(super) fn advance_transfer(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let (last, commit, bound) = (self.log.last(), self.commit, self.settings.drain_at_most());
        let Some(config) = self.known.as_ref().map(|known| known.config.clone()) else {
            return;
        };
        let Some(term) = &mut self.term else { return };
        let Some(transfer) = &mut term.transfer else {
            return;
        };
        if transfer.sent {
            return;
        }
        if now.since(transfer.since) > bound {
            let token = term.transfer.take().and_then(|transfer| transfer.token);
            if let Some(token) = token {
                let refusal = Refusal::Impossible("the copies did not come up to date in time: try again");
                effects.push(Effect::Refuse { token, refusal });
            }
            self.serve_waiting(now, effects);
            return;
        }
        let has_all = |peer: &VolumeId| term.followers.get(peer).is_some_and(|f| f.matched >= last.seq);
        if commit < last.seq {
            return;
        }
        match &mut transfer.kind {
            Kind::Handover { target } => {
                if has_all(target) {
                    transfer.sent = true;
                    let new = config.successor(*target, config.isr.clone());
                    self.start_change(now, new, None, effects);
                }
            }
            // The last entry before the split tells every copy to make the child.
            Kind::Split { payload, entry: entry @ None, .. } => {
                let id = EntryId { epoch: term.epoch, seq: last.seq.next() };
                *entry = Some(id.seq);
                self.log.push(Entry { id, payload: payload.clone() });
                self.flush(now, effects);
            }
            Kind::Split { child, at, entry: Some(_), .. } => {
                let Some((low, high)) = config.range.split(at) else {
                    return;
                };
                if config.isr.iter().all(|peer| *peer == self.me || has_all(peer)) {
                    transfer.sent = true;
                    let (new, split) = split_configs(&config, *child, low, high);
                    self.start_change(now, new, Some(split), effects);
                }
            }
        }
    }

    /// A transfer whose compare-and-set is of unknown outcome is sent again, and called off by a refresh of the epoch
    /// when the target doesn't answer any more. Whether there was one.
    pub(super) fn retry_transfer(&mut self, now: Time, effects: &mut Vec<Effect>) -> bool {
        let Some(config) = self.known.as_ref().map(|known| known.config.clone()) else {
            return false;
        };
        let Some(term) = &self.term else { return false };
        let Some(transfer) = term.transfer.as_ref().filter(|transfer| transfer.sent) else {
            return false;
        };
        let too_long = now.since(transfer.since) > self.settings.wait_at_most();
        let heard = |peer: &VolumeId| {
            term.followers.get(peer).is_some_and(|f| now.since(f.heard_at) <= self.settings.shrink_after())
        };
        let (new, split) = match &transfer.kind {
            Kind::Handover { target } if !too_long && heard(target) => {
                (config.successor(*target, config.isr.clone()), None)
            }
            Kind::Split { child, at, .. } if !too_long => match config.range.split(at) {
                Some((low, high)) => {
                    let (new, split) = split_configs(&config, *child, low, high);
                    (new, Some(split))
                }
                None => (config.successor(self.me, config.isr.clone()), None),
            },
            _ => (config.successor(self.me, config.isr.clone()), None),
        };
        self.start_change(now, new, split, effects);
        true
    }

    /// When the home's copy is in sync and up to date, the shard is handed back to it.
    pub(super) fn consider_going_home(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(home) = self.surroundings.placement.as_ref().and_then(|placement| placement.home_volume()) else {
            return;
        };
        let last = self.log.last().seq;
        let Some(term) = &self.term else { return };
        let Some(follower) = term.followers.get(&home) else {
            return;
        };
        let in_sync = self.known.as_ref().is_some_and(|known| known.config.is_in_sync(home));
        let alive = self.surroundings.registered.contains(&home)
            && !follower.leaving
            && now.since(follower.heard_at) <= self.settings.heartbeat_every() * 3;
        // Entries in flight at this moment are brought over while requests are held; a long tail is not.
        let near = last.0 - follower.matched.0.min(last.0) <= 4096;
        let settled = now.since(term.started) >= self.settings.settle();
        if home != self.me && in_sync && alive && near && settled && self.why_not_transfer().is_none() {
            self.begin(now, None, Kind::Handover { target: home }, None, effects);
        }
    }
}

/// The parent with the lower half, and the child: same primary, ISR and lineage. The child's epoch goes on from the
/// parent's, since its log does.
fn split_configs(
    config: &ShardConfig,
    child: ShardId,
    low: KeyRange,
    high: KeyRange,
) -> (ShardConfig, (ShardId, ShardConfig)) {
    let next = config.successor(config.primary, config.isr.clone());
    let parent = ShardConfig { range: low, ..next.clone() };
    (parent, (child, ShardConfig { range: high, ..next }))
}
