//! A model of ZooKeeper's ensemble: votes by the configuration that each holds, elections by epoch and zxid, synchronization by
//! truncation, changes of membership.

use kv_zookeeper_member::{Data, Membership};
use rand::RngExt as _;

use super::model::{Model, Role};
use crate::zookeeper::{EnsembleView, MemberView, Mode};

/// What a failure shows of what came before it.
const HISTORY: usize = 40;

impl Model {
    fn reach(&self, a: u32, b: u32) -> bool {
        self.cut.contains(&a) == self.cut.contains(&b)
    }

    fn running(&self) -> Vec<u32> {
        self.pods.iter().filter(|(_, pod)| pod.process.is_some()).map(|(ordinal, _)| *ordinal).collect()
    }

    fn role(&self, ordinal: u32) -> Option<&Role> {
        Some(&self.pods.get(&ordinal)?.process.as_ref()?.role)
    }

    fn membership(&self, ordinal: u32) -> Membership {
        let process = self.pods.get(&ordinal).and_then(|pod| pod.process.as_ref());
        process.map(|process| process.view.clone()).unwrap_or_default()
    }

    fn data(&self, ordinal: u32) -> Option<Data> {
        self.claims.get(&ordinal)?.disk.data
    }

    fn set_role(&mut self, ordinal: u32, role: Role) {
        if let Some(process) = self.pods.get_mut(&ordinal).and_then(|pod| pod.process.as_mut()) {
            process.role = role;
        }
    }

    fn learn(&mut self, ordinal: u32, membership: &Membership) {
        if let Some(process) = self.pods.get_mut(&ordinal).and_then(|pod| pod.process.as_mut()) {
            process.view = membership.clone();
        }
        if let Some(claim) = self.claims.get_mut(&ordinal) {
            claim.disk.membership = Some(membership.clone());
        }
    }

    fn followers(&self, leader: u32) -> Vec<u32> {
        let mut followers = self.running();
        followers.retain(|other| self.role(*other) == Some(&Role::Following(leader)) && self.reach(*other, leader));
        followers
    }

    /// Leaders that a quorum of their own configuration follows.
    pub fn leaders(&self) -> Vec<u32> {
        let mut leaders = self.running();
        leaders.retain(|leader| self.role(*leader) == Some(&Role::Leading) && self.has_quorum(*leader));
        leaders
    }

    fn has_quorum(&self, leader: u32) -> bool {
        let membership = self.membership(leader);
        let votes = self.followers(leader).into_iter().chain([leader]).filter(|ordinal| membership.votes(ordinal + 1));
        votes.count() >= membership.quorum()
    }

    fn sync(&mut self, follower: u32, leader: u32) {
        let (writes, data) = (self.claims[&leader].writes.clone(), self.data(leader));
        if let Some(claim) = self.claims.get_mut(&follower) {
            (claim.writes, claim.disk.data) = (writes, data);
        }
        self.learn(follower, &self.membership(leader));
        self.set_role(follower, Role::Following(leader));
    }

    pub fn run_ensemble(&mut self) {
        for ordinal in self.running() {
            let lost = match self.role(ordinal).cloned() {
                Some(Role::Leading) => !self.has_quorum(ordinal),
                Some(Role::Following(leader)) => !(self.leaders().contains(&leader) && self.reach(ordinal, leader)),
                Some(Role::Looking) | None => false,
            };
            if lost {
                self.set_role(ordinal, Role::Looking);
            }
        }
        let looking = |model: &Self| {
            let mut looking = model.running();
            looking.retain(|ordinal| model.role(*ordinal) == Some(&Role::Looking));
            looking
        };
        for ordinal in looking(self) {
            let others: Vec<_> = self.running().into_iter().filter(|other| self.reach(*other, ordinal)).collect();
            for other in others {
                let theirs = self.membership(other);
                if theirs.version > self.membership(ordinal).version && self.chance(70) {
                    self.learn(ordinal, &theirs);
                }
            }
            let own = self.membership(ordinal);
            let leader = self.leaders().into_iter().find(|leader| {
                self.reach(*leader, ordinal) && own.votes(leader + 1) && self.membership(*leader).version >= own.version
            });
            if let Some(leader) = leader.filter(|_| self.chance(70)) {
                self.sync(ordinal, leader);
            }
        }
        let candidates = looking(self);
        if !candidates.is_empty() {
            let candidate = self.any(&candidates);
            self.elect(candidate, &candidates);
        }
    }

    /// Who holds a configuration that is not newer supports a candidate that holds as much, if the candidate counts on its vote.
    /// Who holds nothing has no vote.
    fn elect(&mut self, candidate: u32, looking: &[u32]) {
        let membership = self.membership(candidate);
        let Some(data) = self.data(candidate).filter(|_| membership.votes(candidate + 1)) else { return };
        let mut supporters = Vec::new();
        for other in looking.iter().copied() {
            if other == candidate || !self.reach(other, candidate) {
                continue;
            }
            let older = self.membership(other).version <= membership.version;
            let less = self.data(other).is_some_and(|theirs| (theirs.epoch, theirs.zxid) <= (data.epoch, data.zxid));
            if older && less && membership.votes(other + 1) && self.chance(80) {
                supporters.push(other);
            }
        }
        if supporters.len() + 1 < membership.quorum() {
            return;
        }
        let everybody = supporters.iter().chain([&candidate]);
        let epoch =
            everybody.filter_map(|ordinal| self.data(*ordinal)).map(|data| data.accepted_epoch).max().unwrap_or(0) + 1;
        let zxid = u64::try_from(epoch).expect("not negative") << 32;
        let claim = self.claims.get_mut(&candidate).expect("it runs");
        claim.disk.data = Some(Data { zxid: data.zxid, epoch, accepted_epoch: epoch });
        if membership.version == 0 {
            let first = Membership::new(zxid, membership.members().to_vec()).expect("valid");
            self.learn(candidate, &first);
        }
        self.set_role(candidate, Role::Leading);
        for supporter in supporters {
            self.sync(supporter, candidate);
        }
        self.history.push(format!(
            "member {candidate} leads {:?}, epoch {epoch}",
            self.membership(candidate).voters().collect::<Vec<_>>()
        ));
        self.check(candidate, "leads");
    }

    /// Whoever leads has all that was acknowledged. A second ensemble would lack what the first one acknowledges, and the first
    /// what the second does.
    fn check(&self, leader: u32, what: &str) {
        let writes = &self.claims[&leader].writes;
        let lost = self.required.iter().find(|write| !writes.contains(write));
        let history = || self.history[self.history.len().saturating_sub(HISTORY)..].join("\n");
        assert!(lost.is_none(), "member {leader} {what} and lacks the acknowledged write {lost:?}\n{}", history());
    }

    /// Every leader writes something; the followers get it sooner or later.
    pub fn write(&mut self) {
        for leader in self.leaders() {
            let membership = self.membership(leader);
            let followers = self.followers(leader);
            for follower in &followers {
                if self.chance(50) {
                    self.sync(*follower, leader);
                }
            }
            // Nothing that counts is written before it is announced, or announced anew.
            let announced = |record: &std::collections::BTreeMap<String, String>| {
                record["bootstrapped"] == "true" && !record.get("recover").is_some_and(|text| text.contains("step=new"))
            };
            if !self.record.as_ref().is_some_and(announced) || !self.chance(60) {
                continue;
            }
            let mut synced: Vec<_> = followers;
            // Equal writes are not enough: a change of membership is a change too.
            synced.retain(|follower| self.data(*follower) == self.data(leader));
            synced.retain(|follower| membership.votes(follower + 1));
            while synced.len() + 1 > membership.quorum() {
                let one = self.rng.random_range(0..synced.len());
                synced.swap_remove(one);
            }
            let own_vote = usize::from(membership.votes(leader + 1));
            let write = self.next_write;
            self.next_write += 1;
            for ordinal in synced.iter().chain([&leader]) {
                let claim = self.claims.get_mut(ordinal).expect("it runs");
                claim.writes.push(write);
                let data = claim.disk.data.get_or_insert_default();
                data.zxid = data.zxid.max(u64::try_from(data.epoch).expect("not negative") << 32) + 1;
            }
            if synced.len() + own_vote >= membership.quorum() {
                self.check(leader, "acknowledges");
                self.required.push(write);
                self.history.push(format!("{write} is acknowledged by {leader} and {synced:?}"));
            }
        }
    }

    pub fn reconfigure(&mut self, version: u64, joining: &[String], leaving: &[u32]) {
        let Some(leader) = self.leaders().into_iter().find(|leader| !self.cut.contains(leader)) else { return };
        let old = self.membership(leader);
        if old.version != version {
            return;
        }
        let joining = joining.iter().map(|line| line.parse::<kv_zookeeper_member::Member>().expect("a member"));
        let staying = old.members().iter().filter(|member| !leaving.contains(&member.id)).cloned();
        let epoch = self.data(leader).expect("it leads").epoch;
        let claim = self.claims.get_mut(&leader).expect("it leads");
        let data = claim.disk.data.get_or_insert_default();
        // The operator's session is a change too: versions never follow each other immediately.
        data.zxid = data.zxid.max(u64::try_from(epoch).expect("not negative") << 32) + 2;
        let new = Membership::new(data.zxid.max(version + 1), staying.chain(joining)).expect("valid");
        // Some acknowledge it, a quorum of both has to.
        let mut acknowledging = vec![leader];
        for follower in self.followers(leader) {
            if self.chance(80) {
                acknowledging.push(follower);
            }
        }
        let enough = |membership: &Membership| {
            acknowledging.iter().filter(|ordinal| membership.votes(*ordinal + 1)).count() >= membership.quorum()
        };
        if !enough(&old) || !enough(&new) {
            return;
        }
        self.learn(leader, &new);
        for ordinal in acknowledging.into_iter().filter(|ordinal| *ordinal != leader) {
            self.sync(ordinal, leader);
        }
        if !new.votes(leader + 1) {
            self.set_role(leader, Role::Looking);
        }
    }

    /// What the operator sees: those that are not cut off.
    pub fn view(&self) -> EnsembleView {
        let mut view = EnsembleView::default();
        let Some(leader) = self.leaders().into_iter().find(|leader| !self.cut.contains(leader)) else { return view };
        let membership = self.membership(leader);
        let (mut synced_voters, mut synced_joiners) = (0, 0);
        let zxid = self.data(leader).map_or(0, |data| data.zxid);
        for follower in self.followers(leader) {
            view.serving.insert(follower, MemberView { mode: Mode::Follower, zxid });
            if self.data(follower) == self.data(leader) {
                if membership.votes(follower + 1) { synced_voters += 1 } else { synced_joiners += 1 }
            }
        }
        view.serving.insert(leader, MemberView { mode: Mode::Leader { synced_voters, synced_joiners }, zxid });
        view.configuration = Some(membership);
        view
    }
}
