//! One round of a cluster: its steps, in order. Only `dereference`, `apply`, `act` and `publish` do I/O.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{Client, Resource, ResourceExt};
use rand::RngExt;

use super::{
    act::{self, Actor, Progress},
    applier::{self, Applier},
    apply, build,
    decision::{Decisions, Finding},
    dereference,
    live::LiveObjects,
    names::{Component, KV_PORT, Names},
    plan, publish, status,
    validate::{self, Defaults},
    validated::ValidatedCluster,
    world::World,
};
use crate::{
    api::{ClusterPhase, KvCluster},
    nodes::{ClusterKey, NodeObservers},
    zookeeper::Ensembles,
};

/// When a cluster is looked at again while something is under way.
pub const SOON: Duration = Duration::from_secs(2);
/// When a cluster at rest is looked at again, though nothing has been seen to change.
pub const AT_REST: Duration = Duration::from_secs(60);

/// What rounds need.
pub struct Reconciler {
    /// The API server.
    pub client: Client,
    /// What resources need not say.
    pub defaults: Defaults,
    /// Applies objects.
    pub applier: Applier,
    /// The nodes.
    pub nodes: NodeObservers,
    /// The ensembles.
    pub ensembles: Ensembles,
    /// The clusters that rounds were about, with their UIDs.
    pub known: Mutex<HashMap<ClusterKey, String>>,
}

/// What a round has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// When the cluster is looked at again, if nothing is seen to change before.
    pub next: Duration,
    /// How it is; none if it is being deleted.
    pub phase: Option<ClusterPhase>,
}

/// What kept a round from its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What there is can't be read.
    #[error(transparent)]
    Dereference(#[from] dereference::Error),
    /// An object can't be made as it is to be.
    #[error(transparent)]
    Apply(#[from] applier::Error),
    /// Something that was decided can't be done.
    #[error(transparent)]
    Act(#[from] act::Error),
    /// The status can't be written.
    #[error(transparent)]
    Publish(#[from] publish::Error),
}

impl Reconciler {
    /// One round of a cluster.
    ///
    /// # Errors
    /// See [`Error`]; the round is tried again later.
    pub async fn reconcile(&self, resource: Arc<KvCluster>) -> Result<Round, Error> {
        let names = self.names(&resource);
        let key = ClusterKey::of(&names);
        let owner = resource.uid().unwrap_or_default();
        if resource.meta().deletion_timestamp.is_some() {
            self.forget(&key);
            return Ok(Round { next: AT_REST, phase: None });
        }
        self.remember(key, &owner);
        let (mut world, live) = Box::pin(dereference::dereference(&self.client, &resource, &names)).await?;
        self.listen(&names, resource.spec.nodes, &mut world).await;
        let validated = validate::validate(&resource, &world, &self.defaults);
        let cluster = match &validated {
            Ok(cluster) => cluster,
            Err(_) => {
                let status = status::status(validated.as_ref(), &resource, &world, &Decisions::default());
                let phase = Some(status.phase);
                publish::publish(&self.client, &resource, status).await?;
                return Ok(Round { next: AT_REST, phase });
            }
        };
        let mut decisions = plan::plan(cluster, &world);
        let mut carried_out = Ok(Progress::Done);
        if !cluster.paused {
            carried_out = Box::pin(self.carry_out(cluster, &resource, &mut world, &live, &mut decisions)).await;
            if let Err(Error::Apply(error @ (applier::Error::Foreign { .. } | applier::Error::Refused { .. }))) =
                &carried_out
            {
                let reason = "ObjectRefused";
                decisions.hindrances.insert(0, Finding { reason, message: error.to_string() });
            }
        }
        let status = status::status(validated.as_ref(), &resource, &world, &decisions);
        let phase = Some(status.phase);
        publish::publish(&self.client, &resource, status).await?;
        carried_out?;
        let at_rest = decisions.actions.is_empty() && decisions.progress.is_empty() && decisions.hindrances.is_empty();
        Ok(Round { next: if at_rest { AT_REST } else { SOON }, phase })
    }

    /// Stops listening to a cluster that is gone.
    pub fn forget(&self, key: &ClusterKey) {
        self.nodes.forget(key);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        if let Some(owner) = known {
            self.applier.forget(&owner);
        }
    }

    fn remember(&self, key: ClusterKey, owner: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(former) = known.insert(key, owner.to_owned()).filter(|former| former != owner) {
            self.applier.forget(&former);
        }
    }

    fn names(&self, resource: &KvCluster) -> Names {
        Names {
            namespace: resource.namespace().unwrap_or_default(),
            cluster: resource.name_any(),
            domain: self.defaults.cluster_domain.clone(),
        }
    }

    /// Adds to the world what the nodes and ZooKeeper say.
    async fn listen(&self, names: &Names, wish: i32, world: &mut World) {
        let key = ClusterKey::of(names);
        let host = |ordinal| names.host(Component::Node, ordinal);
        let addresses = world.node_pods.keys().map(|ordinal| format!("{}:{KV_PORT}", host(*ordinal)));
        self.nodes.observe(&key, addresses.collect());
        let members: Vec<_> = world.zookeeper_pods.keys().copied().collect();
        (world.report, world.ensemble) = tokio::join!(self.nodes.settled(&key), self.ensembles.view(names, &members));
        if plan::needs_fresh_report(wish, world) {
            // Who can't be asked is as good as silent: nobody goes then.
            world.report = self.nodes.ask(&key).await.ok();
        }
    }

    async fn carry_out(
        &self,
        cluster: &ValidatedCluster,
        resource: &KvCluster,
        world: &mut World,
        live: &LiveObjects,
        decisions: &mut Decisions,
    ) -> Result<Progress, Error> {
        if cluster.managed_zookeeper().is_some() && world.super_secret.is_none() {
            world.super_secret = Some(new_secret());
        }
        let resources = build::build(cluster, decisions, world.super_secret.as_deref());
        let applying = Box::pin(apply::apply(&self.applier, &cluster.owner.uid, live, &cluster.names, resources));
        let (_, changed) = applying.await?;
        if changed {
            // What Kubernetes makes of it is seen in the next round.
            let message = "objects have been changed".into();
            decisions.progress.push(Finding { reason: "Applying", message });
        }
        let Self { client, nodes, ensembles, .. } = self;
        let actor = Actor { client, nodes, ensembles, cluster, resource, world };
        Ok(actor.act(&decisions.actions).await?)
    }
}

/// A password that nobody has to type: 192 bits.
fn new_secret() -> String {
    let bytes: [u8; 24] = rand::rng().random();
    hex::encode(bytes)
}
