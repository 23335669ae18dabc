use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{Resource, ResourceExt};

use super::{Error, Reader, SUPER_SECRET_KEY};
use crate::reconcile::{
    live::LiveObjects,
    origin::Origin,
    world::{ClaimTemplate, StatefulSetState},
};

/// The objects of which only their version matters; and what one of them remembers.
pub(super) async fn others(reader: &Reader<'_>) -> Result<(LiveObjects, Origin), Error> {
    let (services, accounts, budgets, policies) = tokio::try_join!(
        reader.list::<Service>("Services"),
        reader.list::<ServiceAccount>("ServiceAccounts"),
        reader.list::<PodDisruptionBudget>("PodDisruptionBudgets"),
        reader.list::<NetworkPolicy>("NetworkPolicies"),
    )?;
    let mut live = LiveObjects::default();
    live.extend(&services);
    live.extend(&accounts);
    live.extend(&budgets);
    live.extend(&policies);
    let headless = format!("{}-nodes", reader.cluster);
    let headless = services.iter().find(|service| service.name_any() == headless);
    Ok((live, headless.map(|service| Origin::from_annotations(service.annotations())).unwrap_or_default()))
}

pub(super) fn stateful_set(set: &StatefulSet) -> StatefulSetState {
    let spec = set.spec.as_ref();
    let status = set.status.as_ref();
    let observed = status.and_then(|status| status.observed_generation);
    let templates = spec.and_then(|spec| spec.volume_claim_templates.as_ref()).into_iter().flatten();
    StatefulSetState {
        uid: set.uid().unwrap_or_default(),
        replicas: spec.and_then(|spec| spec.replicas).and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
        update_revision: status.and_then(|status| status.update_revision.clone()).unwrap_or_default(),
        observed: observed.is_some() && observed >= set.meta().generation,
        claim_templates: templates
            .map(|claim| {
                let spec = claim.spec.as_ref();
                let requests = spec.and_then(|spec| spec.resources.as_ref()).and_then(|it| it.requests.as_ref());
                let size = requests.and_then(|requests| requests.get("storage"));
                let template = ClaimTemplate {
                    size: size.map(|size| size.0.clone()).unwrap_or_default(),
                    storage_class: spec.and_then(|spec| spec.storage_class_name.clone()),
                };
                (claim.name_any(), template)
            })
            .collect(),
        deleting: set.meta().deletion_timestamp.is_some(),
    }
}

pub(super) fn super_secret(secret: &Secret) -> Option<String> {
    let bytes = secret.data.as_ref()?.get(SUPER_SECRET_KEY)?;
    String::from_utf8(bytes.0.clone()).ok().filter(|text| !text.is_empty())
}
