use std::collections::BTreeMap;

use super::{
    names::{BOOTSTRAPPED, ENSEMBLE_MARK},
    origin::Origin,
};
use crate::{nodes::ClusterReport, zookeeper::EnsembleView};

/// What there is, as it was read at the beginning of a round. The plan is made from it alone.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// What was so when the cluster was created.
    pub origin: Origin,
    /// The nodes' StatefulSet.
    pub node_set: Option<StatefulSetState>,
    /// ZooKeeper's StatefulSet.
    pub zookeeper_set: Option<StatefulSetState>,
    /// The nodes' pods, by ordinal.
    pub node_pods: BTreeMap<u32, PodState>,
    /// The members' pods, by ordinal.
    pub zookeeper_pods: BTreeMap<u32, PodState>,
    /// Claims of the cluster, by name; those left by a former cluster of the name among them.
    pub claims: BTreeMap<String, ClaimState>,
    /// The content of the ConfigMap that says who the ensemble is.
    pub ensemble_record: Option<BTreeMap<String, String>>,
    /// The ensemble's super secret, if it has been made.
    pub super_secret: Option<String>,
    /// Storage classes by name; none if the operator may not read them.
    pub storage_classes: Option<BTreeMap<String, StorageClassState>>,
    /// What the nodes said last, if any node has answered lately.
    pub report: Option<ClusterReport>,
    /// What the members of a managed ensemble said just now.
    pub ensemble: EnsembleView,
    /// The value of the annotation by which a person asks for ZooKeeper's recovery.
    pub recover_zookeeper: Option<String>,
    /// An object that has one of our names and belongs to somebody else: `StatefulSet demo-zk`.
    pub foreign: Vec<String>,
}

impl World {
    /// Whether the ensemble has been made: it is never made again. A mark on any claim says so too, since the record can be lost.
    #[must_use]
    pub fn ensemble_is_made(&self) -> bool {
        let recorded = self.ensemble_record.as_ref().and_then(|record| record.get(BOOTSTRAPPED));
        let marked = self.claims.values().any(|claim| claim.annotations.contains_key(ENSEMBLE_MARK));
        marked || recorded.is_some_and(|value| value == "true")
    }
}

/// A StatefulSet, as far as plans depend on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatefulSetState {
    /// Its UID.
    pub uid: String,
    /// Pods that it was told to have.
    pub replicas: u32,
    /// The revision that new pods get.
    pub update_revision: String,
    /// False while its controller has not seen its newest generation, so that the revision is an old one.
    pub observed: bool,
    /// Its claim templates, by name.
    pub claim_templates: BTreeMap<String, ClaimTemplate>,
    /// True while it is being deleted.
    pub deleting: bool,
}

/// What claims are made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimTemplate {
    /// As written.
    pub size: String,
    /// None: the Kubernetes cluster's default class.
    pub storage_class: Option<String>,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodState {
    /// Its name.
    pub name: String,
    /// Its UID: another one for each pod of a name.
    pub uid: String,
    /// The revision of the template that it was made with.
    pub revision: String,
    /// Whether it is ready.
    pub ready: bool,
    /// True while it is being deleted.
    pub deleting: bool,
    /// The machine that it runs on; none while it is not scheduled.
    pub machine: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// Why it doesn't run, in Kubernetes' words: `ImagePullBackOff: …`, `Unschedulable: …`, `CrashLoopBackOff: …`.
    pub trouble: Option<Trouble>,
    /// What the init container said when it ended.
    pub start_report: Option<String>,
}

/// Why a pod doesn't run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// One word, as Kubernetes has it.
    pub reason: String,
    /// For a person.
    pub message: String,
}

/// A claim.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimState {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The size that was asked for, in bytes.
    pub requested_bytes: u64,
    /// The size that it has, in bytes; 0 while it is not bound.
    pub capacity_bytes: u64,
    /// Its storage class.
    pub storage_class: Option<String>,
    /// Whether it is bound to a volume.
    pub bound: bool,
    /// True while it is being deleted.
    pub deleting: bool,
    /// True if the file system grows only when the pod starts anew.
    pub resize_needs_restart: bool,
    /// Annotations of ours on it.
    pub annotations: BTreeMap<String, String>,
    /// What its last event or condition complains about.
    pub trouble: Option<Trouble>,
}

/// A storage class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageClassState {
    /// Whether claims of it can grow.
    pub expandable: bool,
    /// Whether it is the Kubernetes cluster's default class.
    pub default: bool,
}
