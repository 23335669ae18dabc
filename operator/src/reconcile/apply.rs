//! Makes the objects as they were built. Every field is named, so that an object which is forgotten doesn't compile.

use std::marker::PhantomData;

use k8s_openapi::api::{networking::v1::NetworkPolicy, policy::v1::PodDisruptionBudget};
use kube::ResourceExt;

use super::{
    applier::{Applier, Error},
    build::{Applied, Prepared, Resources, ZooKeeperResources},
    live::LiveObjects,
    names::Names,
    object::Object,
};

/// Makes all objects of a cluster as they are to be, and removes those that are not to be there any more. A StatefulSet that is not
/// wished for is left alone: only its deletion with the cluster takes it away. Returns whether anything has been changed: then what was read before
/// says little of what is.
///
/// # Errors
/// The first [`Error`]; the objects after it are left as they are.
pub async fn apply(
    applier: &Applier,
    owner: &str,
    live: &LiveObjects,
    names: &Names,
    resources: Resources<Prepared>,
) -> Result<(Resources<Applied>, bool), Error> {
    let Resources {
        service_account,
        zookeeper,
        node_headless,
        node_client,
        node_set,
        node_budget,
        node_policy,
        service_monitor,
        state: PhantomData,
    } = resources;
    let mut target = Target { applier, owner, live, names, changed: false };
    target.apply(&service_account).await?;
    // It remembers what the StatefulSets were first made with.
    target.apply(&node_headless).await?;
    if let Some(ZooKeeperResources { record, secret, headless, client, set, budget, policy }) = &zookeeper {
        target.apply(record).await?;
        target.apply(secret).await?;
        target.apply(headless).await?;
        target.apply(client).await?;
        target.apply_if_any(set.as_ref()).await?;
        target.apply_or_remove::<PodDisruptionBudget>(budget.as_ref(), &names.zookeeper()).await?;
        target.apply_or_remove::<NetworkPolicy>(policy.as_ref(), &names.zookeeper()).await?;
    }
    target.apply(&node_client).await?;
    target.apply_if_any(node_set.as_ref()).await?;
    target.apply_or_remove::<PodDisruptionBudget>(node_budget.as_ref(), &names.nodes()).await?;
    target.apply_or_remove::<NetworkPolicy>(node_policy.as_ref(), &names.nodes()).await?;
    applier.service_monitor(owner, names, service_monitor.as_ref()).await?;
    let applied = Resources {
        service_account,
        zookeeper,
        node_headless,
        node_client,
        node_set,
        node_budget,
        node_policy,
        service_monitor,
        state: PhantomData,
    };
    Ok((applied, target.changed))
}

/// Where objects are applied to.
struct Target<'a> {
    applier: &'a Applier,
    owner: &'a str,
    live: &'a LiveObjects,
    names: &'a Names,
    changed: bool,
}

impl Target<'_> {
    async fn apply<K: Object>(&mut self, object: &K) -> Result<(), Error> {
        debug_assert_eq!(object.namespace().as_deref(), Some(self.names.namespace.as_str()));
        self.changed |= self.applier.apply(self.owner, self.live, object).await?;
        Ok(())
    }

    async fn apply_if_any<K: Object>(&mut self, object: Option<&K>) -> Result<(), Error> {
        match object {
            Some(object) => self.apply(object).await,
            None => Ok(()),
        }
    }

    async fn apply_or_remove<K: Object>(&mut self, object: Option<&K>, name: &str) -> Result<(), Error> {
        match object {
            Some(object) => self.apply(object).await,
            None => self.applier.remove::<K>(self.owner, self.live, &self.names.namespace, name).await,
        }
    }
}
