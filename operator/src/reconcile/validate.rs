//! The resource → a [`ValidatedCluster`]: fills in defaults and checks what the API server can't. Pure.

mod pods;
mod settings;
mod shards;
mod storage;
mod zookeeper;

#[cfg(test)]
mod tests;

use kube::{Resource, ResourceExt};

use self::{pods::PodFields, settings::setting_flags, shards::shard_flags};
use super::{
    names::Names,
    origin::Origin,
    validated::{ValidatedCluster, ValidatedNodes},
    world::World,
};
use crate::api::{KvCluster, KvClusterSpec};

/// Copies of each shard of a cluster that doesn't say how many.
const DEFAULT_COPIES: u32 = 2;
/// Nodes of a cluster, at most.
const MAX_NODES: u32 = 99;
/// What the nodes log if nothing is said.
const DEFAULT_LOG_FILTER: &str = "info";

/// What the operator was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Image of the nodes of clusters that are created from now on.
    pub node_image: String,
    /// Image of their ZooKeeper.
    pub zookeeper_image: String,
    /// The Kubernetes cluster's domain, such as `cluster.local`.
    pub cluster_domain: String,
}

/// Why a resource can't be carried out. Only a change of the resource helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// One word, as conditions have it.
    pub reason: &'static str,
    /// For a person: the field, what it is, its bound and what to write.
    pub message: String,
}

impl Invalid {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// Checks a resource. `existing` is only asked for what was so when the cluster was created.
///
/// # Errors
/// The first [`Invalid`].
pub fn validate(cluster: &KvCluster, existing: &World, defaults: &Defaults) -> Result<ValidatedCluster, Invalid> {
    let names = Names {
        namespace: cluster.namespace().ok_or_else(|| incomplete("namespace"))?,
        cluster: cluster.meta().name.clone().ok_or_else(|| incomplete("name"))?,
        domain: defaults.cluster_domain.clone(),
    };
    let owner = cluster.controller_owner_ref(&()).ok_or_else(|| incomplete("uid"))?;
    let spec = &cluster.spec;
    let count = number("spec.nodes", spec.nodes, MAX_NODES)?;
    let origin = origin(&existing.origin, count, defaults);
    let nodes = nodes(spec, count, &origin, defaults)?;
    Ok(ValidatedCluster {
        zookeeper: zookeeper::validated(spec, &names, &nodes, &origin, defaults)?,
        names,
        owner,
        origin,
        generation: cluster.meta().generation.unwrap_or(0),
        paused: spec.paused,
        nodes,
        network_policy: spec.network_policy.enabled.then(|| spec.network_policy.clients.clone()),
        monitoring: spec.monitoring.clone(),
        on_delete: spec.storage.on_delete,
    })
}

fn incomplete(field: &str) -> Invalid {
    Invalid::new("Incomplete", format!("metadata.{field} is missing: the resource was not read from an API server"))
}

/// What was so at the creation, and for a cluster that is being created what is so now.
fn origin(known: &Origin, count: u32, defaults: &Defaults) -> Origin {
    Origin {
        image: known.image.clone().or_else(|| Some(defaults.node_image.clone())),
        zookeeper_image: known.zookeeper_image.clone().or_else(|| Some(defaults.zookeeper_image.clone())),
        nodes: known.nodes.or(Some(count)),
    }
}

fn nodes(spec: &KvClusterSpec, count: u32, origin: &Origin, defaults: &Defaults) -> Result<ValidatedNodes, Invalid> {
    let copies = spec.copies.map(|copies| number("spec.copies", copies, count)).transpose()?;
    let wished_copies = copies.unwrap_or(DEFAULT_COPIES);
    let min_in_sync = number("spec.minInSyncCopies", spec.min_in_sync_copies, wished_copies.min(count))?;
    let data = storage::volume("spec.storage.data", &spec.storage.data, storage::NODE_SIZE)?;
    let bkpdata = storage::volume("spec.storage.bkpdata", &spec.storage.bkpdata, storage::NODE_SIZE)?;

    // In this order, always: the pods' template, and with it their revision, depends on it.
    let mut flags = vec![("nodes".to_owned(), origin.nodes.unwrap_or(count).to_string())];
    flags.extend(copies.map(|copies| ("copies".to_owned(), copies.to_string())));
    flags.extend(spec.shards.as_ref().map(shard_flags).transpose()?.into_iter().flatten());
    if min_in_sync > 1 {
        flags.push(("min-in-sync".to_owned(), min_in_sync.to_string()));
    }
    flags.extend(setting_flags(&spec.settings, data.bytes.min(bkpdata.bytes))?);

    let default_image = origin.image.as_ref().unwrap_or(&defaults.node_image);
    let pods = PodFields {
        image: spec.image.as_ref().unwrap_or(default_image),
        resources: ("spec.resources", spec.resources.as_ref(), pods::NODE_RESOURCES),
        scheduling: &spec.scheduling,
    };
    Ok(ValidatedNodes {
        count,
        copies: wished_copies,
        pods: pods.validated(spec)?,
        data,
        bkpdata,
        flags,
        log_filter: spec.settings.log_filter.clone().unwrap_or_else(|| DEFAULT_LOG_FILTER.to_owned()),
    })
}

/// A count from 1 to `most`. (The schema has checked it too, if the newest definition is there.)
fn number(field: &str, value: i32, most: u32) -> Result<u32, Invalid> {
    u32::try_from(value)
        .ok()
        .filter(|value| (1..=most).contains(value))
        .ok_or_else(|| Invalid::new("InvalidNumber", format!("{field} is {value}: write a number from 1 to {most}")))
}
