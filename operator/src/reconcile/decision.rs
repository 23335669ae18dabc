use std::collections::BTreeMap;

use super::{names::Component, world::ClaimTemplate};

/// What a round has decided: how many pods there are to be, what is to be done, and what people are told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decisions {
    /// Replicas of the nodes' StatefulSet; none: it is not made yet.
    pub node_replicas: Option<u32>,
    /// Replicas of ZooKeeper's StatefulSet; none: it is not made.
    pub zookeeper_replicas: Option<u32>,
    /// What claim templates are written with: what a StatefulSet that exists has, since it can't be changed.
    pub claim_templates: BTreeMap<(Component, &'static str), ClaimTemplate>,
    /// The content of the ConfigMap that says who the ensemble is.
    pub ensemble_record: BTreeMap<String, String>,
    /// What is done next, in this order. The round ends at the first that fails.
    pub actions: Vec<Action>,
    /// What is under way, for a person; empty if everything is as wished for.
    pub progress: Vec<Finding>,
    /// What hinders, for a person.
    pub hindrances: Vec<Finding>,
    /// What is wrong with volumes.
    pub storage: Vec<Finding>,
    /// Why ZooKeeper has no quorum, if it has none.
    pub quorum: Option<Finding>,
}

/// Something that people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// One word, as conditions have it.
    pub reason: &'static str,
    /// For a person: what, which pod or volume, and what to do.
    pub message: String,
}

/// Something that is done besides applying objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A pod is deleted, so that it is made anew. A node hands its shards over before it ends.
    DeletePod {
        /// Whether it is a node or a member.
        component: Component,
        /// Its name.
        pod: String,
        /// The pod that was meant: another one of its name is left alone.
        uid: String,
        /// Why, for the event.
        why: String,
        /// For a node that is well: the nodes are asked once more whether every shard is fully replicated.
        only_if_replicated: bool,
    },
    /// The nodes move homes and copies off one of them, or stop doing so.
    Drain {
        /// The node.
        node: String,
        /// Takes the drain back.
        undo: bool,
    },
    /// The ensemble's membership is changed.
    Reconfigure {
        /// The configuration that the change is made to, as `/zookeeper/config` has it.
        version: u64,
        /// Lines as in a dynamic file: `server.4=…`.
        joining: Vec<String>,
        /// Ids of members, which are their ordinals plus one.
        leaving: Vec<u32>,
    },
    /// Annotations of a claim are set, or removed (none).
    AnnotateClaim {
        /// The claim.
        claim: String,
        /// The claim that was meant: another one of its name is left alone.
        uid: String,
        /// What is set or removed.
        annotations: BTreeMap<String, Option<String>>,
    },
    /// The annotation by which a person asked for ZooKeeper's recovery is removed: it is done.
    FinishRecovery {
        /// What has become of it, for the event.
        message: String,
    },
    /// A claim is made larger.
    GrowClaim {
        /// The claim.
        claim: String,
        /// The size, as written.
        size: String,
    },
    /// A claim that is not bound, and so holds nothing, is deleted, since its class can't be changed.
    DeleteClaim {
        /// The claim.
        claim: String,
        /// The one that was meant.
        uid: String,
    },
    /// A StatefulSet is deleted and its pods are left, since its claim templates can't be changed. It is made anew in the next
    /// round.
    RecreateStatefulSet {
        /// Its name.
        name: String,
        /// The one that was meant.
        uid: String,
    },
}
