use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{
            StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec, VolumeResourceRequirements},
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use super::metadata::{metadata, selector};
use crate::{
    api::OnDelete,
    reconcile::{decision::Decisions, names::Component, validated::ValidatedCluster, world::ClaimTemplate},
};

/// Revisions that are kept besides those that pods have.
const OLD_REVISIONS: i32 = 5;

/// The StatefulSet of a component, with one claim for each template. The operator alone makes pods anew, in an order that depends
/// on their roles: hence `OnDelete`. All start at once: hence `Parallel`.
pub(super) fn stateful_set(
    cluster: &ValidatedCluster,
    decisions: &Decisions,
    component: Component,
    service: String,
    replicas: u32,
    template: PodTemplateSpec,
) -> StatefulSet {
    let claims = cluster.volumes().into_iter().filter(|((of, _), _)| *of == component);
    let claims = claims.map(|(key, volume)| match decisions.claim_templates.get(&key) {
        Some(template) => claim(key.1, template.clone()),
        None => {
            let (size, storage_class) = (volume.size.clone(), volume.storage_class.clone());
            claim(key.1, ClaimTemplate { size, storage_class })
        }
    });
    StatefulSet {
        metadata: metadata(cluster, component, cluster.names.stateful_set(component)),
        spec: Some(StatefulSetSpec {
            persistent_volume_claim_retention_policy: Some(retention(cluster.on_delete)),
            pod_management_policy: Some("Parallel".into()),
            replicas: i32::try_from(replicas).ok(),
            revision_history_limit: Some(OLD_REVISIONS),
            selector: selector(cluster, component),
            service_name: Some(service),
            template,
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".into()),
                ..StatefulSetUpdateStrategy::default()
            }),
            volume_claim_templates: Some(claims.collect()),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

fn retention(on_delete: OnDelete) -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    let policy = match on_delete {
        OnDelete::Retain => "Retain",
        OnDelete::Delete => "Delete",
    };
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some(policy.into()),
        when_scaled: Some(policy.into()),
    }
}

/// Kubernetes adds the labels of the StatefulSet's selector to the claims.
fn claim(name: &str, ClaimTemplate { size, storage_class }: ClaimTemplate) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(size))])),
                limits: None,
            }),
            storage_class_name: storage_class,
            volume_mode: Some("Filesystem".into()),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
