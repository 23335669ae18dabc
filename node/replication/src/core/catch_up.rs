//! Bringing followers up to date: from memory, from the log, by snapshot (protocol, section 6).

use kv_types::{Entry, Epoch, EpochHistory, Seq, VolumeId};

use super::{
    Body, Core, Effect, Time,
    log::size,
    term::{Flow, Follower},
};

impl Core {
    /// Whether what the follower `from` says in `incarnation` counts: it has had no later one in this term, and was not asked to empty its
    /// log in this one. What it acknowledged in an earlier one stands only if it still has it, which it will say.
    pub(super) fn is_latest(&mut self, from: VolumeId, incarnation: u64) -> bool {
        let Some(term) = &mut self.term else { return true };
        let given_up = term.given_up.get(&from).is_some_and(|given_up| incarnation <= *given_up);
        let Some(follower) = term.followers.get_mut(&from) else { return !given_up };
        let known = *follower.incarnation.get_or_insert(incarnation);
        if incarnation > known {
            follower.incarnation = Some(incarnation);
            follower.told = None;
            follower.matched = Seq(0);
        }
        incarnation >= known && !given_up
    }

    pub(super) fn on_follow(
        &mut self,
        now: Time,
        from: VolumeId,
        epoch: Epoch,
        history: EpochHistory,
        void: bool,
        effects: &mut Vec<Effect>,
    ) {
        self.compared.insert(from, history.last());
        self.note_epoch(now, epoch, effects);
        if self.term.is_none() {
            // A torn copy compares logs with every member, whoever leads.
            let body = Body::Reject { promised: self.promise.current(), history: self.log.history().clone() };
            self.send(from, epoch, body, effects);
            return;
        }
        let in_sync = self.known.as_ref().is_some_and(|known| known.config.is_in_sync(from));
        let placed = self.surroundings.placement.as_ref().is_some_and(|p| p.replicas.contains(&from));
        if !in_sync && !placed {
            return;
        }
        let common = self.log.history().common_prefix(&history);
        let Some(term) = &mut self.term else { return };
        let follower = term.followers.entry(from).or_insert_with(|| Follower::new(common.next(), now));
        follower.void = void;
        follower.told = Some(common);
        if void {
            follower.matched = follower.matched.min(common);
        }
        follower.heard_at = now;
        follower.resend_from(common.next());
        self.send_heartbeats(now, effects);
        self.probe(now, from, effects);
    }

    /// Every follower gets at least the place of its next entry, so that it can match its log under a new epoch.
    pub(super) fn probe_followers(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let peers: Vec<_> = self.term.iter().flat_map(|term| term.followers.keys().copied()).collect();
        for peer in peers {
            self.probe(now, peer, effects);
        }
    }

    pub(super) fn probe(&mut self, now: Time, to: VolumeId, effects: &mut Vec<Effect>) {
        let last = self.log.last().seq;
        let Some(follower) = self.term.as_ref().and_then(|term| term.followers.get(&to)) else {
            return;
        };
        if follower.next > last {
            let previous = self.log.id_at(Seq(follower.next.0 - 1).min(last));
            let body = Body::Append { previous, entries: Vec::new(), commit: self.told_commit() };
            self.send(to, self.term_epoch(), body, effects);
        } else {
            self.send_entries(now, to, effects);
        }
    }

    pub(super) fn send_all(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let peers: Vec<_> = self.term.iter().flat_map(|term| term.followers.keys().copied()).collect();
        for peer in peers {
            self.send_entries(now, peer, effects);
        }
    }

    /// Sends what the follower lacks, as far as the bounds and the memory go.
    pub(super) fn send_entries(&mut self, now: Time, to: VolumeId, effects: &mut Vec<Effect>) {
        let max_bytes = self.settings.max_message_bytes;
        loop {
            let Some(term) = &mut self.term else { return };
            let flushed = term.flushed;
            let Some(follower) = term.followers.get_mut(&to) else {
                return;
            };
            match follower.flow {
                Flow::Streaming => {}
                Flow::Fetching(_) => return,
                Flow::Snapshot(told) => {
                    if now.since(told) < self.settings.lease {
                        return;
                    }
                    // Whether it still lacks what the log does not have is found out anew.
                    follower.flow = Flow::Streaming;
                }
            }
            let full = follower.unacknowledged_bytes() > self.settings.max_unacknowledged_bytes;
            if follower.next > flushed || full {
                return;
            }
            let next = follower.next;
            match self.log.in_memory(next, max_bytes) {
                Some(mut entries) => {
                    entries.retain(|entry| entry.id.seq <= flushed);
                    self.send_append(to, next, entries, effects);
                }
                None => {
                    follower.flow = Flow::Fetching(next);
                    effects.push(Effect::FetchEntries { to, from: next, max_bytes });
                    return;
                }
            }
        }
    }

    fn send_append(&mut self, to: VolumeId, next: Seq, entries: Vec<Entry>, effects: &mut Vec<Effect>) {
        let Some(last) = entries.last().map(|entry| entry.id.seq) else {
            return;
        };
        let bytes = entries.iter().map(size).sum();
        let previous = self.log.id_at(Seq(next.0 - 1));
        if let Some(follower) = self.term.as_mut().and_then(|term| term.followers.get_mut(&to)) {
            follower.sent(last, bytes);
        }
        let body = Body::Append { previous, entries, commit: self.told_commit() };
        self.send(to, self.term_epoch(), body, effects);
    }

    pub(super) fn on_fetched(
        &mut self,
        now: Time,
        to: VolumeId,
        from: Seq,
        entries: Option<Vec<Entry>>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(follower) = self.term.as_mut().and_then(|term| term.followers.get_mut(&to)) else {
            return;
        };
        if follower.flow != Flow::Fetching(from) {
            return;
        }
        follower.flow = Flow::Streaming;
        if follower.next != from {
            // Acknowledged meanwhile: it had the entries already.
            self.send_entries(now, to, effects);
            return;
        }
        match entries {
            // The log on disk may be ahead of or behind a cut that is on its way: only what is in the history counts.
            Some(mut entries) => {
                entries.retain(|entry| self.log.history().contains(entry.id));
                if entries.first().is_some_and(|entry| entry.id.seq == from) {
                    self.send_append(to, from, entries, effects);
                    self.send_entries(now, to, effects);
                }
            }
            // Only what is in the table can be had by snapshot. Anything else was a failed read, to be tried again.
            None if from <= self.log.applied() => self.ask_for_snapshot(now, to, effects),
            None => {}
        }
    }

    fn ask_for_snapshot(&mut self, now: Time, to: VolumeId, effects: &mut Vec<Effect>) {
        let counts = self.counts(to);
        let Some(term) = &mut self.term else { return };
        let Some(follower) = term.followers.get_mut(&to) else { return };
        follower.flow = Flow::Snapshot(now);
        // Who has not told in its present incarnation where it stands may have all that it acknowledged before. And who counts for commits,
        // be it by a change in flight that adds it, has all that is committed: the log reaches back to that. Neither is emptied. [P]
        let body = match follower.incarnation.filter(|_| follower.told.is_some() && (follower.void || !counts)) {
            Some(incarnation) => {
                term.given_up.insert(to, incarnation);
                follower.told = None;
                follower.matched = Seq(0);
                Body::SnapshotNeeded { incarnation, needed: follower.next }
            }
            // What doesn't fit makes it tell.
            None => Body::Append { previous: self.log.last(), entries: Vec::new(), commit: Seq(0) },
        };
        self.send(to, self.term_epoch(), body, effects);
    }

    /// It goes on in an incarnation of which nothing counts any more: what made it begin another one was lost.
    pub(super) fn ask_for_incarnation(&self, to: VolumeId, incarnation: u64, effects: &mut Vec<Effect>) {
        let given_up = self.term.as_ref().and_then(|term| term.given_up.get(&to));
        if given_up == Some(&incarnation) {
            // It has all that is needed for this, so it is not emptied.
            let body = Body::SnapshotNeeded { incarnation, needed: Seq(0) };
            self.send(to, self.term_epoch(), body, effects);
        }
    }

    /// Whether a commit needs the acknowledgement of `peer`, or would if a change in flight is applied.
    fn counts(&self, peer: VolumeId) -> bool {
        let in_sync = self.known.as_ref().is_some_and(|known| known.config.is_in_sync(peer));
        let in_flight = self.term.as_ref().map_or(&[][..], |term| &term.change.in_flight);
        in_sync || in_flight.iter().any(|new| new.is_in_sync(peer))
    }
}
