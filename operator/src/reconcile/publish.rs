//! Writes the status of a resource, if it has changed, and tells of what has changed in Events.

mod changes;
mod events;
#[cfg(test)]
mod tests;

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

pub use self::{
    changes::{Change, Importance, changes},
    events::tell,
};
use crate::api::{KvCluster, KvClusterStatus};

/// The field manager of the status.
const STATUS_MANAGER: &str = "kv-operator-status";

/// The status could not be written.
#[derive(Debug, thiserror::Error)]
#[error("can't write the status of {namespace}/{name}")]
pub struct Error {
    namespace: String,
    name: String,
    #[source]
    source: kube::Error,
}

/// What has become of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It was as it is already: nothing was sent.
    Unchanged,
    /// It is written, and its changes are told.
    Written,
    /// The resource has been changed or deleted since it was read. The round that this change brings about publishes anew.
    Outdated,
}

/// Writes a status if it differs from what the resource has, and then tells of what has changed.
///
/// It is applied by the server, so that fields which are gone from it go and everybody sees whose they are, and only to the very
/// version that was read: what counts as a change is judged by what that version had, so nobody tells of it twice. An operator
/// that stops after the write leaves the change untold.
///
/// # Errors
/// [`Error`] if the API server can't be asked or refuses. Events that can't be written are logged only.
pub async fn publish(client: &Client, resource: &KvCluster, status: KvClusterStatus) -> Result<Published, Error> {
    if resource.status.as_ref() == Some(&status) {
        return Ok(Published::Unchanged);
    }
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let api: Api<KvCluster> = Api::namespaced(client.clone(), &namespace);
    let patch = json!({
        "apiVersion": KvCluster::api_version(&()),
        "kind": KvCluster::kind(&()),
        "metadata": { "name": name, "resourceVersion": resource.resource_version(), "uid": resource.uid() },
        "status": status,
    });
    let parameters = PatchParams::apply(STATUS_MANAGER).force();
    match api.patch_status(&name, &parameters, &Patch::Apply(&patch)).await {
        Ok(_) => {}
        Err(kube::Error::Api(refused)) if [404, 409].contains(&refused.code) => return Ok(Published::Outdated),
        Err(source) => return Err(Error { namespace, name, source }),
    }
    let before = resource.status.clone().unwrap_or_default();
    tell(client, resource, &changes(&before, &status)).await;
    Ok(Published::Written)
}
