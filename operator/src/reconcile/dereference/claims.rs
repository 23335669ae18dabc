use k8s_openapi::{api::core::v1::PersistentVolumeClaim, apimachinery::pkg::api::resource::Quantity};
use kube::{Resource, ResourceExt};

use crate::{
    api::GROUP,
    reconcile::{
        quantity,
        world::{ClaimState, Trouble},
    },
};

/// Conditions of a claim that complain: the resizer could not do what was asked for.
const COMPLAINTS: [&str; 2] = ["ControllerResizeError", "NodeResizeError"];

pub(super) fn state(claim: &PersistentVolumeClaim) -> ClaimState {
    let spec = claim.spec.as_ref();
    let status = claim.status.as_ref();
    let requests = spec.and_then(|spec| spec.resources.as_ref()).and_then(|resources| resources.requests.as_ref());
    let conditions = || status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let ours = |(key, _): &(&String, &String)| key.starts_with(GROUP);
    ClaimState {
        name: claim.name_any(),
        uid: claim.uid().unwrap_or_default(),
        requested_bytes: bytes(requests.and_then(|requests| requests.get("storage"))),
        capacity_bytes: bytes(status.and_then(|status| status.capacity.as_ref()?.get("storage"))),
        storage_class: spec.and_then(|spec| spec.storage_class_name.clone()).filter(|class| !class.is_empty()),
        bound: status.and_then(|status| status.phase.as_deref()) == Some("Bound"),
        deleting: claim.meta().deletion_timestamp.is_some(),
        resize_needs_restart: conditions()
            .any(|condition| condition.type_ == "FileSystemResizePending" && condition.status == "True"),
        annotations: claim.annotations().iter().filter(ours).map(|(k, v)| (k.clone(), v.clone())).collect(),
        trouble: conditions()
            .find(|condition| COMPLAINTS.contains(&condition.type_.as_str()) && condition.status == "True")
            .map(|condition| Trouble {
                reason: condition.type_.clone(),
                message: condition.message.clone().unwrap_or_default(),
            }),
    }
}

/// What can't be read as a size counts as none: the API server has accepted it, so that there is none like it.
fn bytes(quantity: Option<&Quantity>) -> u64 {
    quantity.and_then(|quantity| quantity::bytes(&quantity.0).ok()).unwrap_or(0)
}
