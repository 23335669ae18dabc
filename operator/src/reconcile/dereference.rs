//! Reads what there is: the first of the steps that do I/O.

mod claims;
mod objects;
mod pods;

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret},
    storage::v1::StorageClass,
};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{
    live::LiveObjects,
    names::{APP_NAME, CLUSTER_LABEL, Component, Names},
    object::Object,
    world::{StorageClassState, World},
};
use crate::api::{KvCluster, RECOVER_ZOOKEEPER};

/// The key of the ensemble's password in its Secret.
pub const SUPER_SECRET_KEY: &str = "super-secret";
/// Marks the class that claims get which name none.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// What could not be read.
#[derive(Debug, thiserror::Error)]
#[error("can't read {what} of namespace {namespace}")]
pub struct Error {
    what: &'static str,
    namespace: String,
    #[source]
    source: kube::Error,
}

/// Reads the Kubernetes objects of a cluster. What the nodes and ZooKeeper say is added by the driver.
///
/// # Errors
/// If the API server can't be asked or refuses.
pub async fn dereference(client: &Client, cluster: &KvCluster, names: &Names) -> Result<(World, LiveObjects), Error> {
    let reader = Reader { client, namespace: &names.namespace, cluster: &names.cluster };
    let (sets, pods, claims, records, secrets, classes, others) = tokio::try_join!(
        reader.list::<StatefulSet>("StatefulSets"),
        reader.list::<Pod>("pods"),
        reader.list::<PersistentVolumeClaim>("claims"),
        reader.list::<ConfigMap>("ConfigMaps"),
        reader.list::<Secret>("Secrets"),
        reader.classes(),
        objects::others(&reader),
    )?;
    let (others, origin) = others;
    let mut live = others;
    live.extend(&sets);
    live.extend(&records);
    live.extend(&secrets);

    let mut world = World {
        origin,
        claims: claims.iter().map(|claim| (claim.name_any(), claims::state(claim))).collect(),
        storage_classes: classes,
        recover_zookeeper: cluster.annotations().get(RECOVER_ZOOKEEPER).cloned(),
        ..World::default()
    };
    for set in &sets {
        let slot = match set.name_any() {
            name if name == names.nodes() => &mut world.node_set,
            name if name == names.zookeeper() => &mut world.zookeeper_set,
            _ => continue,
        };
        *slot = Some(objects::stateful_set(set));
    }
    for pod in &pods {
        let name = pod.name_any();
        if let Some(ordinal) = names.ordinal(Component::Node, &name) {
            world.node_pods.insert(ordinal, pods::state(pod));
        } else if let Some(ordinal) = names.ordinal(Component::ZooKeeper, &name) {
            world.zookeeper_pods.insert(ordinal, pods::state(pod));
        }
    }
    let zookeeper = names.zookeeper();
    let record = records.iter().find(|record| record.name_any() == zookeeper);
    world.ensemble_record = record.map(|record| record.data.clone().unwrap_or_default());
    let secret = secrets.iter().find(|secret| secret.name_any() == zookeeper);
    world.super_secret = secret.and_then(objects::super_secret);
    Ok((world, live))
}

struct Reader<'a> {
    client: &'a Client,
    namespace: &'a str,
    cluster: &'a str,
}

impl Reader<'_> {
    fn selection(&self) -> ListParams {
        ListParams::default().labels(&format!("app.kubernetes.io/name={APP_NAME},{CLUSTER_LABEL}={}", self.cluster))
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(kube::Error) -> Error {
        let namespace = self.namespace.to_owned();
        move |source| Error { what, namespace, source }
    }

    async fn list<K: Object>(&self, what: &'static str) -> Result<Vec<K>, Error> {
        let api: Api<K> = Api::namespaced(self.client.clone(), self.namespace);
        Ok(api.list(&self.selection()).await.map_err(self.failed(what))?.items)
    }

    /// None if the operator may not read them: in a Kubernetes cluster that it does not own it may have no right to.
    async fn classes(&self) -> Result<Option<BTreeMap<String, StorageClassState>>, Error> {
        let api: Api<StorageClass> = Api::all(self.client.clone());
        let classes = match api.list(&ListParams::default()).await {
            Ok(classes) => classes,
            Err(kube::Error::Api(status)) if status.code == 403 => return Ok(None),
            Err(error) => return Err(self.failed("storage classes")(error)),
        };
        let state = |class: &StorageClass| StorageClassState {
            expandable: class.allow_volume_expansion == Some(true),
            default: class.annotations().get(DEFAULT_CLASS).is_some_and(|value| value == "true"),
        };
        Ok(Some(classes.iter().map(|class| (class.name_any(), state(class))).collect()))
    }
}
