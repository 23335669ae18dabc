//! Does what was decided besides applying objects. Each action names what it is meant for so exactly that it does nothing if the
//! world has moved on, so that it may be repeated after a crash.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PropagationPolicy},
};
use serde_json::json;

use super::{
    applier::{self, only},
    decision::Action,
    names::{Component, MANAGER},
    object::Object,
    plan::disruption,
    publish::{self, Change, Importance},
    validated::ValidatedCluster,
    world::World,
};
use crate::{
    api::{KvCluster, RECOVER_ZOOKEEPER},
    nodes::{ClusterKey, NodeObservers},
    zookeeper::{Ensembles, Reconfigured},
};

/// What could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not take it.
    #[error(transparent)]
    Object(#[from] applier::Error),
    /// The nodes did not do it.
    #[error("the nodes did not {what}")]
    Nodes {
        /// What they were asked for.
        what: String,
        /// Why.
        #[source]
        source: crate::nodes::Error,
    },
    /// ZooKeeper did not do it.
    #[error("ZooKeeper was not reconfigured")]
    ZooKeeper(#[source] crate::zookeeper::Error),
}

/// How far a round has come with its actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All were done.
    Done,
    /// One has to wait, and those after it too.
    Waiting,
}

/// Carries out actions.
pub struct Actor<'a> {
    /// The API server.
    pub client: &'a Client,
    /// The nodes.
    pub nodes: &'a NodeObservers,
    /// The ensembles.
    pub ensembles: &'a Ensembles,
    /// The cluster that is acted on.
    pub cluster: &'a ValidatedCluster,
    /// Its resource, which Events are about.
    pub resource: &'a KvCluster,
    /// What there was when it was decided.
    pub world: &'a World,
}

impl Actor<'_> {
    /// Carries out actions in their order, up to the first that has to wait.
    ///
    /// # Errors
    /// See [`Error`]; those after it are left.
    pub async fn act(&self, actions: &[Action]) -> Result<Progress, Error> {
        for action in actions {
            tracing::info!(cluster = %self.cluster.names.cluster, namespace = %self.cluster.names.namespace, ?action, "acts");
            if self.carry_out(action).await? == Progress::Waiting {
                return Ok(Progress::Waiting);
            }
        }
        Ok(Progress::Done)
    }

    async fn carry_out(&self, action: &Action) -> Result<Progress, Error> {
        match action {
            Action::DeletePod { component, pod, uid, why, only_if_replicated } => {
                if *only_if_replicated && *component == Component::Node && !self.may_stop_now().await? {
                    return Ok(Progress::Waiting);
                }
                self.delete::<Pod>(pod, &only(uid)).await?;
                self.tell("PodReplaced", format!("{pod} is made anew: {why}")).await;
            }
            Action::Drain { node, undo } => {
                let drained = self.nodes.drain(&self.key(), node, *undo).await;
                let what = if *undo { format!("take back the drain of {node}") } else { format!("drain {node}") };
                drained.map_err(|source| Error::Nodes { what, source })?;
            }
            Action::Reconfigure { version, joining, leaving } => {
                return self.reconfigure(*version, joining, leaving).await;
            }
            Action::AnnotateClaim { claim, uid, annotations } => {
                let patch = json!({ "metadata": { "uid": uid, "annotations": annotations } });
                self.patch::<PersistentVolumeClaim>(claim, &patch).await?;
            }
            Action::FinishRecovery { message } => {
                let annotations: BTreeMap<_, Option<String>> = [(RECOVER_ZOOKEEPER, None)].into();
                let patch = json!({ "metadata": { "annotations": annotations } });
                self.patch::<KvCluster>(&self.cluster.names.cluster, &patch).await?;
                self.tell("ZooKeeperRecovered", message.clone()).await;
            }
            Action::GrowClaim { claim, size } => {
                let patch = json!({ "spec": { "resources": { "requests": { "storage": size } } } });
                self.patch::<PersistentVolumeClaim>(claim, &patch).await?;
            }
            Action::DeleteClaim { claim, uid } => self.delete::<PersistentVolumeClaim>(claim, &only(uid)).await?,
            Action::RecreateStatefulSet { name, uid } => {
                let orphaning =
                    kube::api::DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..only(uid) };
                self.delete::<StatefulSet>(name, &orphaning).await?;
            }
        }
        Ok(Progress::Done)
    }

    async fn tell(&self, reason: &str, note: String) {
        let change = Change { importance: Importance::Normal, reason: reason.to_owned(), action: "Reconcile", note };
        publish::tell(self.client, self.resource, &[change]).await;
    }

    fn key(&self) -> ClusterKey {
        ClusterKey::of(&self.cluster.names)
    }

    /// Asks the nodes once more: what they said when it was decided may be seconds old.
    async fn may_stop_now(&self) -> Result<bool, Error> {
        let asked = self.nodes.ask(&self.key()).await;
        let report = asked.map_err(|source| Error::Nodes { what: "say how they are".into(), source })?;
        Ok(disruption::may_stop_one(&report, &self.world.node_pods))
    }

    async fn reconfigure(&self, version: u64, joining: &[String], leaving: &[u32]) -> Result<Progress, Error> {
        let Some(secret) = &self.world.super_secret else { return Ok(Progress::Waiting) };
        let names = &self.cluster.names;
        let outcome = self.ensembles.reconfigure(names, secret, version, joining, leaving).await;
        match outcome.map_err(Error::ZooKeeper)? {
            Reconfigured::Done => Ok(Progress::Done),
            // Whatever has become of it, the next round reads the configuration again.
            other => {
                tracing::info!(cluster = %names.cluster, namespace = %names.namespace, ?other, "reconfiguration waits");
                Ok(Progress::Waiting)
            }
        }
    }

    async fn delete<K: Object>(&self, name: &str, parameters: &kube::api::DeleteParams) -> Result<(), Error> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.cluster.names.namespace);
        match api.delete(name, parameters).await {
            Ok(_) => Ok(()),
            // It is gone, or another one has its name (409): what was meant is done.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
            Err(error) => Err(applier::Error::of("delete", (K::kind(&()).into_owned(), name.to_owned()), error).into()),
        }
    }

    async fn patch<K: Object>(&self, name: &str, patch: &serde_json::Value) -> Result<(), Error> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.cluster.names.namespace);
        let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let patched = api.patch(name, &parameters, &Patch::Merge(patch)).await;
        let key = || (K::kind(&()).into_owned(), name.to_owned());
        patched.map_err(|error| applier::Error::of("change", key(), error))?;
        Ok(())
    }
}
