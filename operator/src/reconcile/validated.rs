use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{LocalObjectReference, ResourceRequirements},
        networking::v1::NetworkPolicyPeer,
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};

use super::{names::Names, origin::Origin};
use crate::api::{Monitoring, OnDelete, PodTemplate, Scheduling};

/// A cluster whose resource can be carried out: every default is filled in, and nothing downstream reads the resource
/// again.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedCluster {
    /// What its objects are called.
    pub names: Names,
    /// What its objects are owned by.
    pub owner: OwnerReference,
    /// What was so when the cluster was created, with nothing missing.
    pub origin: Origin,
    /// The resource's generation.
    pub generation: i64,
    /// True: nothing is changed.
    pub paused: bool,
    /// The KV nodes.
    pub nodes: ValidatedNodes,
    /// The ZooKeeper.
    pub zookeeper: ValidatedZooKeeper,
    /// Whether network policies are written, and who may reach the ports for clients; none: the pods of the namespace.
    pub network_policy: Option<Vec<NetworkPolicyPeer>>,
    /// The ServiceMonitor, if one is wished for.
    pub monitoring: Monitoring,
    /// What becomes of volumes that are no longer used.
    pub on_delete: OnDelete,
}

/// The KV nodes, as wished for.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedNodes {
    /// How many are wished for.
    pub count: u32,
    /// Copies of each shard; while there are fewer nodes there are fewer.
    pub copies: u32,
    /// What all pods of the cluster have in common with these.
    pub pods: ValidatedPods,
    /// The volume `data`.
    pub data: ValidatedVolume,
    /// The volume `bkpdata`.
    pub bkpdata: ValidatedVolume,
    /// Flags of `kv-node run` that the resource sets, without their dashes, in a fixed order.
    pub flags: Vec<(String, String)>,
    /// What the nodes log.
    pub log_filter: String,
}

/// The ZooKeeper, as wished for.
#[derive(Clone, Debug, PartialEq)]
pub enum ValidatedZooKeeper {
    /// The operator makes it and looks after it.
    Managed(Box<ManagedZooKeeper>),
    /// Somebody else does.
    External {
        /// `host:port,host:port`.
        connect: String,
        /// The cluster's own root.
        root: String,
    },
}

/// An ensemble that the operator looks after.
#[derive(Clone, Debug, PartialEq)]
pub struct ManagedZooKeeper {
    /// Members that are wished for.
    pub count: u32,
    /// The members' pods.
    pub pods: ValidatedPods,
    /// Image of the init container: the nodes'.
    pub init_image: String,
    /// The volume of each.
    pub volume: ValidatedVolume,
    /// Java's heap.
    pub heap_mib: u32,
}

/// What pods are made with.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedPods {
    /// The image.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`; none: as Kubernetes has it.
    pub image_pull_policy: Option<String>,
    /// Secrets that images are pulled with.
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Processor time and memory.
    pub resources: ResourceRequirements,
    /// Where they may run.
    pub scheduling: Scheduling,
    /// Labels and annotations besides the operator's own.
    pub template: PodTemplate,
}

/// A volume, as wished for.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedVolume {
    /// As written.
    pub size: String,
    /// The same, in bytes.
    pub bytes: u64,
    /// None: the Kubernetes cluster's default class.
    pub storage_class: Option<String>,
}

impl ValidatedCluster {
    /// Where the nodes find ZooKeeper: `hosts/root`.
    #[must_use]
    pub fn zookeeper_connect(&self) -> String {
        match &self.zookeeper {
            ValidatedZooKeeper::Managed(_) => {
                let service = self.names.service_host(&self.names.zookeeper_client());
                format!("{service}:{}{}", super::names::ZOOKEEPER_CLIENT_PORT, self.zookeeper_root())
            }
            ValidatedZooKeeper::External { connect, root } => format!("{connect}{root}"),
        }
    }

    /// The znode below which the cluster is kept.
    #[must_use]
    pub fn zookeeper_root(&self) -> String {
        match &self.zookeeper {
            ValidatedZooKeeper::Managed(_) => format!("/kvclusters/{}", self.names.cluster),
            ValidatedZooKeeper::External { root, .. } => root.clone(),
        }
    }

    /// The ensemble, if it is ours to look after.
    #[must_use]
    pub fn managed_zookeeper(&self) -> Option<&ManagedZooKeeper> {
        match &self.zookeeper {
            ValidatedZooKeeper::Managed(managed) => Some(managed),
            ValidatedZooKeeper::External { .. } => None,
        }
    }

    /// The sizes that claims are to have, by claim template and component.
    #[must_use]
    pub fn volumes(&self) -> BTreeMap<(super::names::Component, &'static str), &ValidatedVolume> {
        use super::names::{BKPDATA, Component, DATA};
        let mut volumes = BTreeMap::new();
        volumes.insert((Component::Node, DATA), &self.nodes.data);
        volumes.insert((Component::Node, BKPDATA), &self.nodes.bkpdata);
        if let Some(managed) = self.managed_zookeeper() {
            volumes.insert((Component::ZooKeeper, DATA), &managed.volume);
        }
        volumes
    }
}
