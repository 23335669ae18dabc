//! A model of Kubernetes as far as it matters here: pods with init containers that decide as the real one does, claims, the
//! record.

use std::collections::BTreeMap;

use kv_zookeeper_member::{Claim, Did, Membership, Record, Report, Step, decide};
use rand::{RngExt as _, rngs::SmallRng};

use super::super::{
    super::super::{
        decision::Action,
        names::{Component, ENSEMBLE_MARK, Names, SERVED_BY},
        world::{ClaimState, PodState, StatefulSetState},
    },
    Observed,
};
use crate::zookeeper::StartReport;

/// A rule that is broken on purpose, so that the simulation has to find what it is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Whoever holds nothing gets a marker.
    MarkerForEverybody,
    /// Member 0 begins with a view of itself alone whenever it starts.
    OwnViewAtEachStart,
    /// The marks on claims are not looked at when the record is lost.
    MarksIgnored,
    /// Reports count whatever they were made under, for the operator and for the init container.
    OldReportsCount,
    /// A joiner that holds data is given no version.
    JoinerWithoutVersion,
}

/// What ZooKeeper's process is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    Looking,
    Leading,
    Following(u32),
}

#[derive(Clone, Debug)]
pub struct Process {
    pub view: Membership,
    pub role: Role,
}

#[derive(Clone, Debug, Default)]
pub struct SimPod {
    pub uid: u64,
    pub revision: u32,
    pub report: Option<StartReport>,
    pub process: Option<Process>,
    /// The record as the pod sees it.
    mounted: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default)]
pub struct SimClaim {
    pub uid: u64,
    pub mark: Option<String>,
    served: Option<String>,
    pub disk: Claim,
    /// Acknowledged or not, in order.
    pub writes: Vec<u64>,
}

pub struct Model {
    pub rng: SmallRng,
    pub names: Names,
    pub mutant: Option<Mutant>,
    pub wish: u32,
    pub revision: u32,
    pub retain: bool,
    pub record: Option<BTreeMap<String, String>>,
    pub replicas: Option<u32>,
    pub claims: BTreeMap<u32, SimClaim>,
    pub pods: BTreeMap<u32, SimPod>,
    pub request: Option<String>,
    /// Whose links are cut: these reach each other, and neither the others nor the operator.
    pub cut: Vec<u32>,
    /// What must be there, wherever an ensemble serves.
    pub required: Vec<u64>,
    pub next_write: u64,
    /// What happened, for whoever reads a failure.
    pub history: Vec<String>,
    next_uid: u64,
}

impl Model {
    pub fn new(rng: SmallRng, mutant: Option<Mutant>) -> Self {
        let names = Names { namespace: "ns".into(), cluster: "c".into(), domain: "local".into() };
        Self {
            rng,
            names,
            mutant,
            wish: 3,
            revision: 1,
            retain: true,
            record: None,
            replicas: None,
            claims: BTreeMap::new(),
            pods: BTreeMap::new(),
            request: None,
            cut: Vec::new(),
            required: Vec::new(),
            next_write: 1,
            history: Vec::new(),
            next_uid: 1,
        }
    }

    pub fn note(&mut self, what: String) {
        self.history.push(what);
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// Any of these; there is one at least.
    pub fn any(&mut self, ordinals: &[u32]) -> u32 {
        ordinals[self.rng.random_range(0..ordinals.len())]
    }

    fn uid(&mut self) -> u64 {
        self.next_uid += 1;
        self.next_uid
    }

    /// What the operator reads.
    pub fn observe(&mut self) -> Observed {
        let view = self.view();
        let pods: BTreeMap<_, _> = self
            .pods
            .iter()
            .map(|(ordinal, pod)| {
                let state = PodState {
                    name: self.names.pod(Component::ZooKeeper, *ordinal),
                    uid: pod.uid.to_string(),
                    revision: pod.revision.to_string(),
                    ready: view.serving.contains_key(ordinal),
                    ..PodState::default()
                };
                (*ordinal, state)
            })
            .collect();
        let claim = |(ordinal, claim): (&u32, &SimClaim)| {
            let ignored = self.mutant == Some(Mutant::MarksIgnored) && self.record.is_none();
            let mark = claim.mark.clone().filter(|_| !ignored);
            let mark = mark.map(|mark| (ENSEMBLE_MARK.to_owned(), mark));
            let served = claim.served.clone().map(|pod| (SERVED_BY.to_owned(), pod));
            let annotations = mark.into_iter().chain(served).collect();
            let name = self.names.claim("data", Component::ZooKeeper, *ordinal);
            (*ordinal, ClaimState { name, uid: claim.uid.to_string(), annotations, ..ClaimState::default() })
        };
        let mut reports: BTreeMap<_, _> =
            self.pods.iter().filter_map(|(ordinal, pod)| Some((*ordinal, pod.report.clone()?))).collect();
        if self.mutant == Some(Mutant::OldReportsCount) {
            let record = self.record.as_ref().map(|files| Record::parse(|name| files.get(name).map(String::as_str)));
            if let Some(Ok(Record { recovery: Some(recovery), .. })) = record {
                for report in reports.values_mut() {
                    (report.token, report.did) = (Some(recovery.token), crate::zookeeper::Did::Held);
                }
            }
        }
        Observed {
            names: self.names.clone(),
            wish: self.wish,
            set: self.replicas.map(|replicas| StatefulSetState {
                replicas,
                update_revision: self.revision.to_string(),
                observed: true,
                ..StatefulSetState::default()
            }),
            reports,
            claims: self.claims.iter().map(claim).collect(),
            pods,
            record: self.record.clone(),
            view,
            request: self.request.clone(),
            may_replace: true,
        }
    }

    /// The StatefulSet is told how many, and does it.
    pub fn scale(&mut self, replicas: u32) {
        self.replicas = Some(replicas);
        self.pods.retain(|ordinal, _| *ordinal < replicas);
        if !self.retain {
            self.claims.retain(|ordinal, _| *ordinal < replicas);
        }
    }

    pub fn act(&mut self, action: &Action) {
        match action {
            Action::DeletePod { uid, .. } => self.pods.retain(|_, pod| pod.uid.to_string() != *uid),
            Action::AnnotateClaim { uid, annotations, .. } => {
                let claim = self.claims.values_mut().find(|claim| claim.uid.to_string() == *uid);
                let Some(claim) = claim else { return };
                if let Some(mark) = annotations.get(ENSEMBLE_MARK) {
                    claim.mark.clone_from(mark);
                }
                if let Some(pod) = annotations.get(SERVED_BY) {
                    claim.served.clone_from(pod);
                }
            }
            Action::FinishRecovery { .. } => self.request = None,
            Action::Reconfigure { version, joining, leaving } => self.reconfigure(*version, joining, leaving),
            other => panic!("{other:?} is none of ours"),
        }
    }

    /// Whether a claim is marked and stays so: that of one who votes and holds data. Marks of others may be about to be taken off.
    pub fn is_marked_without(&self, lost: Option<u32>) -> bool {
        let votes = |ordinal: u32, claim: &SimClaim| {
            claim.disk.data.is_some() && claim.disk.membership.as_ref().is_some_and(|view| view.votes(ordinal + 1))
        };
        let mut claims = self.claims.iter().filter(|(ordinal, _)| Some(**ordinal) != lost);
        claims.any(|(ordinal, claim)| claim.mark.is_some() && votes(*ordinal, claim))
    }

    /// Pods are made and started; each with some luck.
    pub fn run_pods(&mut self) {
        for ordinal in 0..self.replicas.unwrap_or(0) {
            if !self.pods.contains_key(&ordinal) && self.chance(70) {
                let (uid, claim_uid) = (self.uid(), self.uid());
                self.claims.entry(ordinal).or_insert_with(|| SimClaim { uid: claim_uid, ..SimClaim::default() });
                let pod = SimPod { uid, revision: self.revision, mounted: self.record.clone(), ..SimPod::default() };
                self.pods.insert(ordinal, pod);
            }
        }
        let waiting: Vec<_> =
            self.pods.iter().filter(|(_, pod)| pod.process.is_none()).map(|(ordinal, _)| *ordinal).collect();
        for ordinal in waiting {
            if self.chance(60) {
                self.run_init(ordinal);
            }
        }
    }

    fn run_init(&mut self, ordinal: u32) {
        let refresh = self.chance(60);
        let (Some(pod), Some(claim)) = (self.pods.get_mut(&ordinal), self.claims.get_mut(&ordinal)) else { return };
        if refresh || pod.mounted.is_none() {
            pod.mounted.clone_from(&self.record);
        }
        let Some(Ok(record)) =
            pod.mounted.as_ref().map(|files| Record::parse(|name| files.get(name).map(String::as_str)))
        else {
            return;
        };
        let host = self.names.host(Component::ZooKeeper, ordinal);
        let own = format!("server.{}={host}:2888:3888;2181", ordinal + 1).parse().expect("a member");
        let found = claim.disk.clone();
        claim.disk.id = Some(ordinal + 1);
        let mut seen = found.clone();
        if self.mutant == Some(Mutant::OldReportsCount) {
            seen.held = record.recovery.as_ref().map(|recovery| recovery.token);
        }
        let mut step = decide(&own, &record, &seen);
        match (self.mutant, &mut step) {
            (Some(Mutant::MarkerForEverybody), Ok(step @ Step::Join { .. })) if found.data.is_none() => {
                *step = Step::Recover(record.membership.clone());
            }
            (Some(Mutant::OwnViewAtEachStart), Ok(Step::LaterBoot)) if ordinal == 0 => {
                let version = found.membership.as_ref().map_or(0, |membership| membership.version);
                claim.disk.membership = Membership::new(version, [own.clone()]).ok();
            }
            (Some(Mutant::JoinerWithoutVersion), Ok(Step::Join { membership, .. })) => membership.version = 0,
            _ => {}
        }
        let did = match &step {
            Ok(Step::FirstBoot(_)) => Did::FirstBoot,
            Ok(Step::LaterBoot | Step::Adopt(_)) => Did::LaterBoot,
            Ok(Step::Join { .. }) => Did::Joiner,
            Ok(Step::Recover(_)) => Did::Recovered,
            Ok(Step::Hold { .. }) => Did::Held,
            Err(refusal) => Did::Refused(refusal.to_string()),
        };
        claim.carry_out(step.as_ref().ok());
        self.history.push(format!("member {ordinal}: {did:?} with {:?}, writes {:?}", found.data, claim.writes.last()));
        let token = record.recovery.as_ref().map(|recovery| recovery.token);
        let report = Report { found: Some(Claim { id: Some(ordinal + 1), ..found }), did, token };
        pod.report = StartReport::parse(&report.to_json());
        if report.may_start() {
            self.start_process(ordinal);
        }
    }

    /// As a container starts, with its init container or without.
    pub fn start_process(&mut self, ordinal: u32) {
        let torn = self.chance(3);
        let (Some(pod), Some(claim)) = (self.pods.get_mut(&ordinal), self.claims.get_mut(&ordinal)) else { return };
        if claim.disk.marker {
            claim.disk.marker = false;
            // It may end between the removal of the marker and its first snapshot.
            if !torn {
                claim.disk.data.get_or_insert_default();
            }
        }
        let view = claim.disk.membership.clone().expect("the init container wrote one");
        pod.process = Some(Process { view, role: Role::Looking });
    }
}

impl SimClaim {
    fn carry_out(&mut self, step: Option<&Step>) {
        let Self { disk, writes, .. } = self;
        match step {
            None => {}
            Some(Step::Hold { token }) => disk.held = Some(*token),
            Some(Step::LaterBoot) => disk.held = None,
            Some(Step::Adopt(membership)) => {
                (disk.marker, disk.held, disk.membership) = (false, None, Some(membership.clone()));
            }
            Some(Step::Join { membership, blank }) => {
                if *blank {
                    disk.data = None;
                    writes.clear();
                }
                (disk.marker, disk.held, disk.membership) = (false, None, Some(membership.clone()));
            }
            Some(Step::FirstBoot(membership) | Step::Recover(membership)) => {
                writes.clear();
                (disk.marker, disk.held, disk.data, disk.membership) = (true, None, None, Some(membership.clone()));
            }
        }
    }
}
