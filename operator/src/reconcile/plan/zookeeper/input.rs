use std::collections::BTreeMap;

use kv_zookeeper_member::{Member, Role};

use super::super::super::{
    decision::Action,
    names::{Component, DATA, Names, ZOOKEEPER_CLIENT_PORT, ZOOKEEPER_ELECTION_PORT, ZOOKEEPER_PEER_PORT},
    validated::ManagedZooKeeper,
    world::{ClaimState, PodState, StatefulSetState, World},
};
use crate::zookeeper::{EnsembleView, StartReport};

/// What there is of an ensemble, and what is wished for.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What its objects are called.
    pub names: Names,
    /// Members that are wished for; at least 1.
    pub wish: u32,
    /// Its StatefulSet.
    pub set: Option<StatefulSetState>,
    /// Its pods, by ordinal.
    pub pods: BTreeMap<u32, PodState>,
    /// What the pods' init containers said, if they said something that is understood.
    pub reports: BTreeMap<u32, StartReport>,
    /// Its claims, by ordinal.
    pub claims: BTreeMap<u32, ClaimState>,
    /// The record, if there is one.
    pub record: Option<BTreeMap<String, String>>,
    /// What the members say.
    pub view: EnsembleView,
    /// The annotation by which a person asks for a recovery.
    pub request: Option<String>,
    /// Whether pods that are well may be replaced.
    pub may_replace: bool,
}

impl Observed {
    pub(super) fn from_world(names: &Names, managed: &ManagedZooKeeper, world: &World, may_replace: bool) -> Self {
        let pods = world.zookeeper_pods.clone();
        let report = |pod: &PodState| pod.start_report.as_deref().and_then(StartReport::parse);
        let reports = pods.iter().filter_map(|(ordinal, pod)| Some((*ordinal, report(pod)?))).collect();
        let ordinal = |claim: &str| names.ordinal(Component::ZooKeeper, claim.strip_prefix(DATA)?.strip_prefix('-')?);
        let claims = world.claims.iter().filter_map(|(name, claim)| Some((ordinal(name)?, claim.clone()))).collect();
        Self {
            names: names.clone(),
            wish: managed.count.max(1),
            set: world.zookeeper_set.clone(),
            pods,
            reports,
            claims,
            record: world.ensemble_record.clone(),
            view: world.ensemble.clone(),
            request: world.recover_zookeeper.clone(),
            may_replace,
        }
    }

    /// Pods that there were to be; without a StatefulSet (it may be in the making anew) those that there are.
    pub(super) fn replicas(&self) -> u32 {
        let highest = self.pods.keys().next_back().map_or(0, |ordinal| ordinal + 1);
        self.set.as_ref().map_or(highest, |set| set.replicas)
    }

    /// The name of a pod.
    pub(super) fn pod(&self, ordinal: u32) -> String {
        self.names.pod(Component::ZooKeeper, ordinal)
    }

    /// The name of a claim.
    pub(super) fn claim(&self, ordinal: u32) -> String {
        self.names.claim(DATA, Component::ZooKeeper, ordinal)
    }

    /// A member as one who votes.
    pub(super) fn member(&self, ordinal: u32) -> Member {
        Member {
            id: ordinal + 1,
            host: self.names.host(Component::ZooKeeper, ordinal),
            peer_port: ZOOKEEPER_PEER_PORT,
            election_port: ZOOKEEPER_ELECTION_PORT,
            role: Role::Participant,
            client_port: ZOOKEEPER_CLIENT_PORT,
        }
    }

    /// Whether a pod is there, is ready, and stays.
    pub(super) fn is_ready(&self, ordinal: u32) -> bool {
        self.pods.get(&ordinal).is_some_and(|pod| pod.ready && !pod.deleting)
    }

    /// Whether a member says that it serves.
    pub(super) fn serves(&self, ordinal: u32) -> bool {
        self.view.serving.contains_key(&ordinal)
    }

    /// Why a pod doesn't run, for a person.
    pub(super) fn trouble(&self, ordinal: u32) -> String {
        match self.pods.get(&ordinal) {
            None => "there is no pod".to_owned(),
            Some(pod) if pod.deleting => "the pod is being deleted".to_owned(),
            Some(PodState { trouble: Some(trouble), .. }) => format!("{}: {}", trouble.reason, trouble.message),
            Some(_) => "the pod has not started".to_owned(),
        }
    }

    /// Deletes this very pod; none if it is being deleted anyway.
    pub(super) fn delete_pod(&self, ordinal: u32, why: &str) -> Option<Action> {
        let pod = self.pods.get(&ordinal).filter(|pod| !pod.deleting)?;
        Some(Action::DeletePod {
            component: Component::ZooKeeper,
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            why: why.to_owned(),
            only_if_replicated: false,
        })
    }
}
