//! The follower's side: matching the primary's log, acknowledging, granting leases.

use kv_types::{Entry, EntryId, Epoch, EpochHistory, Seq, VolumeId};

use super::{Body, Core, Effect, Grant, Rule, Time};

/// What a follower remembers of the primary it listens to.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) leader: Option<VolumeId>,
    /// Its epoch. The promise is above it while this replica tries to take over: then nothing is acknowledged.
    epoch: Epoch,
    /// All up to here is the same in the log of the primary of `epoch`, and of no other. **\[M\]**
    pub(super) matched: Seq,
    acknowledged: Seq,
    leader_commit: Seq,
    heard_at: Option<Time>,
    pub(super) asked_at: Option<Time>,
    /// Who was told last of this replica's log, incarnation, and whether it is void.
    introduced: Option<VolumeId>,
    /// A heartbeat that waits for the promise to be durable.
    heartbeat: Option<(VolumeId, Time, u64)>,
    /// By this replica's clock: until then it has granted leases and takes over nothing. **\[M\]**
    pub(super) granted_until: Time,
    /// A snapshot is being fetched, asked for in this epoch.
    pub(super) snapshot: Option<Epoch>,
}

impl Following {
    pub(super) const fn new(granted_until: Time) -> Self {
        Self {
            leader: None,
            epoch: Epoch(0),
            matched: Seq(0),
            acknowledged: Seq(0),
            leader_commit: Seq(0),
            heard_at: None,
            asked_at: None,
            introduced: None,
            heartbeat: None,
            granted_until,
            snapshot: None,
        }
    }

    fn follow(&mut self, leader: VolumeId, epoch: Epoch) {
        let introduced = self.introduced;
        let snapshot = self.snapshot;
        *self = Self { leader: Some(leader), epoch, introduced, snapshot, ..Self::new(self.granted_until) };
    }
}

impl Core {
    /// Whether a message of the primary `from` of `epoch` is to be listened to: never below the promise. **\[M\]**
    pub(super) fn obey(&mut self, now: Time, from: VolumeId, epoch: Epoch, effects: &mut Vec<Effect>) -> bool {
        let leads = self.term.as_ref().map_or(Epoch(0), |term| term.epoch);
        // A heartbeat of the old epoch that still finds an answer would be a lease beside the next primary.
        let granting_late = !self.rules.hold(Rule::NoGrantAfterPromise) && epoch.next() == self.promise.current();
        if (epoch < self.promise.current() && !granting_late) || epoch <= leads {
            self.reject(from, epoch, effects);
            return false;
        }
        self.note_epoch(now, epoch, effects);
        if self.term.is_some() {
            self.step_down(effects);
        }
        if epoch > self.promise.current() {
            self.takeover = None;
            self.persist_promise(epoch, effects);
        }
        if self.following.leader != Some(from) || self.following.epoch != epoch {
            self.following.follow(from, epoch);
        }
        self.following.heard_at = Some(now);
        if self.following.introduced != Some(from) {
            self.tell_place(now, effects);
        }
        true
    }

    /// Whether this copy is a learner whose turn has not come.
    pub(super) fn waits(&self) -> bool {
        let in_sync = self.known.as_ref().is_none_or(|known| known.config.is_in_sync(self.me));
        self.surroundings.waits && !in_sync
    }

    fn reject(&self, to: VolumeId, epoch: Epoch, effects: &mut Vec<Effect>) {
        let history = self.log.history().clone();
        let body = Body::Reject { promised: self.promise.current(), history };
        self.send(to, epoch, body, effects);
    }

    pub(super) fn on_append(
        &mut self,
        now: Time,
        previous: EntryId,
        entries: Vec<Entry>,
        commit: Seq,
        effects: &mut Vec<Effect>,
    ) {
        if self.following.snapshot.is_some() {
            return;
        }
        if !self.log.has(previous) && self.rules.hold(Rule::AckIsMatched) {
            self.tell_place(now, effects);
            return;
        }
        let end = entries.last().map_or(previous.seq, |entry| entry.id.seq);
        if self.rules.hold(Rule::LateAppendKeepsMatches) || previous.seq < self.log.applied() {
            self.append_missing(entries, effects);
        } else {
            self.cut(previous.seq.min(self.log.last().seq), effects);
            self.append_missing(entries, effects);
        }
        self.following.matched = self.following.matched.max(end.min(self.log.last().seq));
        if !self.rules.hold(Rule::AckIsMatched) {
            self.following.matched = self.log.last().seq;
        }
        self.learn_commit(commit, effects);
        self.acknowledge_append(effects);
    }

    /// Appends those of `entries` that the log lacks. A tail that differs is cut first; entries that match never are,
    /// however late or often they come. **\[M\]**
    fn append_missing(&mut self, entries: Vec<Entry>, effects: &mut Vec<Effect>) {
        let mut entries = entries.into_iter().skip_while(|entry| self.log.has(entry.id)).peekable();
        let Some(first) = entries.peek() else { return };
        let after = Seq(first.id.seq.0 - 1);
        if after > self.log.last().seq {
            return;
        }
        let entries: Vec<Entry> = entries.collect();
        self.cut(after, effects);
        for entry in &entries {
            self.log.push(entry.clone());
        }
        let ticket = self.ticket();
        self.log.sync_with(ticket);
        effects.push(Effect::Append { entries, ticket });
    }

    fn cut(&mut self, after: Seq, effects: &mut Vec<Effect>) {
        if after < self.log.last().seq {
            self.log.truncate(after);
            self.following.matched = self.following.matched.min(after);
            self.following.acknowledged = self.following.acknowledged.min(after);
            let ticket = self.ticket();
            effects.push(Effect::Truncate { after, ticket });
        }
    }

    fn learn_commit(&mut self, commit: Seq, effects: &mut Vec<Effect>) {
        self.following.leader_commit = self.following.leader_commit.max(commit);
        let known = self.following.leader_commit.min(self.following.matched).min(self.log.durable());
        if known > self.commit {
            self.commit = known;
            self.apply_committed(effects);
            self.log.trim(Seq(u64::MAX), 0);
        }
    }

    /// A copy that may have lost what it acknowledged is whole again when it has all that the primary in force has
    /// committed. No sooner: that it is out of the ISR does not suffice, since a change that adds it again may still be
    /// in flight. **\[P\]**
    fn consider_whole(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let told = self.following.leader_commit;
        if !(self.void || self.torn) || told == Seq(0) || self.acknowledgeable() < told {
            return;
        }
        let Some(known) = &self.known else { return };
        let of_force =
            known.config.epoch == self.promise.current() && Some(known.config.primary) == self.following.leader;
        if !of_force || !known.quorum {
            self.read_config_sometimes(now, effects);
            return;
        }
        self.torn = false;
        if std::mem::take(&mut self.void) {
            self.persist_promise(self.promise.current(), effects);
            self.ask_to_follow(now, effects);
        }
    }

    /// What is durable and matched; nothing else is an acknowledgement. **\[M\]**
    fn acknowledgeable(&self) -> Seq {
        self.following.matched.min(self.log.durable())
    }

    /// Whether the promise is that of the primary followed, and durable: otherwise nothing is acknowledged or granted.
    fn listens(&self) -> bool {
        self.promise.is_durable() && self.following.epoch == self.promise.current()
    }

    fn acknowledge_append(&mut self, effects: &mut Vec<Effect>) {
        let matched = self.acknowledgeable();
        let Some(leader) = self.following.leader else {
            return;
        };
        if self.listens() && matched > self.following.acknowledged {
            self.following.acknowledged = matched;
            self.send(leader, self.promise.current(), Body::AppendAck { matched }, effects);
        }
    }

    /// After something has become durable.
    pub(super) fn acknowledge(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.acknowledge_append(effects);
        self.learn_commit(Seq(0), effects);
        if let Some((from, stamp, round)) = self.following.heartbeat
            && self.listens()
        {
            self.following.heartbeat = None;
            self.grant(now, from, stamp, round, effects);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of the message")]
    pub(super) fn on_heartbeat(
        &mut self,
        now: Time,
        from: VolumeId,
        stamp: Time,
        commit: Seq,
        sent: Seq,
        round: u64,
        effects: &mut Vec<Effect>,
    ) {
        self.learn_commit(commit, effects);
        self.consider_whole(now, effects);
        if sent > self.following.matched && self.log.last().seq < sent && self.following.snapshot.is_none() {
            // Entries were lost on the way; the answer says from where on.
            self.following.acknowledged = self.following.acknowledged.min(self.acknowledgeable());
        }
        if self.listens() || !self.rules.hold(Rule::NoGrantAfterPromise) {
            self.grant(now, from, stamp, round, effects);
        } else {
            self.following.heartbeat = Some((from, stamp, round));
        }
    }

    /// Grants a lease of length L, counted here from now and at the primary from `stamp`.
    fn grant(&mut self, now: Time, from: VolumeId, stamp: Time, round: u64, effects: &mut Vec<Effect>) {
        self.following.granted_until = self.following.granted_until.max(now + self.settings.lease);
        let matched = self.acknowledgeable();
        self.following.acknowledged = self.following.acknowledged.max(matched);
        let epoch = if self.rules.hold(Rule::NoGrantAfterPromise) || self.takeover.is_none() {
            self.promise.current()
        } else {
            self.known_epoch()
        };
        let received = self.following.matched;
        self.send(
            from,
            epoch,
            Body::HeartbeatAck(Grant {
                stamp,
                round,
                received,
                matched,
                void: self.void,
                leaving: self.surroundings.leaving,
            }),
            effects,
        );
    }

    pub(super) fn tick_follower(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let lease = self.settings.lease;
        let silent = |at: Option<Time>| at.is_none_or(|at| now.since(at) >= lease / 2);
        // A copy that is void or torn goes on asking until the primary knows.
        let unsettled = (self.void || self.torn) && self.following.snapshot.is_none();
        if (silent(self.following.heard_at) || unsettled) && silent(self.following.asked_at) && !self.waits() {
            self.ask_to_follow(now, effects);
            // Nobody answers: what is known may be out of date.
            let rests = |at: Time| now.since(at) < lease * 2;
            if silent(self.following.heard_at) && !self.config_asked_at.is_some_and(rests) {
                self.read_config(now, effects);
            }
        }
        self.consider_takeover(now, effects);
        self.consider_self_join(now, effects);
    }

    /// Tells the primary of the known configuration where this log stands. A torn copy asks the other members too:
    /// it leads only after it has compared logs with each of them. **\[P\]**
    pub(super) fn ask_to_follow(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(known) = &self.known else {
            self.read_config_sometimes(now, effects);
            return;
        };
        let config = known.config.clone();
        self.following.asked_at = Some(now);
        for peer in config.isr.iter().copied().filter(|peer| *peer != self.me) {
            if peer == config.primary || self.torn {
                if peer == config.primary {
                    self.following.introduced = Some(peer);
                }
                self.send_follow(peer, config.epoch, effects);
            }
        }
    }

    fn send_follow(&self, to: VolumeId, epoch: Epoch, effects: &mut Vec<Effect>) {
        let history = self.log.history().clone();
        let body = Body::Follow { history, void: self.void };
        self.send(to, epoch, body, effects);
    }

    /// What doesn't fit makes the follower say where it stands: once, since all that was sent meanwhile doesn't fit
    /// either.
    fn tell_place(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let rests = |at: Time| now.since(at) < self.settings.heartbeat_every();
        if let Some(leader) = self.following.leader
            && !self.following.asked_at.is_some_and(rests)
        {
            self.following.asked_at = Some(now);
            self.following.introduced = Some(leader);
            self.send_follow(leader, self.following.epoch, effects);
        }
    }

    pub(super) fn on_snapshot_needed(
        &mut self,
        now: Time,
        from: VolumeId,
        incarnation: u64,
        needed: Seq,
        effects: &mut Vec<Effect>,
    ) {
        if self.following.snapshot.is_some() {
            return;
        }
        if incarnation != self.incarnation {
            self.tell_place(now, effects);
            return;
        }
        // The primary counts nothing any more of what was said in this incarnation, whether it is emptied or not. [P]
        self.incarnation += 1;
        // However late it comes, what was acknowledged to this primary is not given up.
        if needed <= self.following.matched {
            self.tell_place(now, effects);
            return;
        }
        let known = self.known.as_ref().filter(|known| known.config.epoch >= self.promise.current());
        match known {
            // A member holds all that is committed; what it lacks a log still has. Emptying it would lose a copy.
            Some(known) if known.config.is_in_sync(self.me) && !self.void => {
                self.tell_place(now, effects);
                return;
            }
            Some(_) => {}
            None => {
                self.read_config_sometimes(now, effects);
                self.tell_place(now, effects);
                return;
            }
        }
        let epoch = self.promise.current();
        self.following.snapshot = Some(epoch);
        self.empty_log(effects);
        effects.push(Effect::FetchSnapshot { from, epoch });
    }

    pub(super) fn on_snapshot_installed(
        &mut self,
        epoch: Epoch,
        base: EntryId,
        history: EpochHistory,
        effects: &mut Vec<Effect>,
    ) {
        if self.following.snapshot.take_if(|asked| *asked == epoch).is_none() {
            return;
        }
        let ticket = self.ticket();
        self.log.reset(base, history.clone(), ticket);
        self.commit = base.seq;
        effects.push(Effect::Reset { base, history, ticket });
        // What a snapshot holds is committed: so it matches the log of every later primary.
        self.following.matched = if epoch <= self.promise.current() { base.seq } else { Seq(0) };
        self.following.asked_at = None;
    }
}
