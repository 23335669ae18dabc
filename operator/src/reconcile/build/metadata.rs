use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::reconcile::{names::Component, validated::ValidatedCluster};

/// Metadata of an object of the cluster. There is no version in its labels: a newer operator would change every object.
pub(super) fn metadata(cluster: &ValidatedCluster, component: Component, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(cluster.names.namespace.clone()),
        labels: Some(cluster.names.labels(component)),
        owner_references: Some(vec![cluster.owner.clone()]),
        ..ObjectMeta::default()
    }
}

/// Selects a component's pods.
pub(super) fn selector(cluster: &ValidatedCluster, component: Component) -> LabelSelector {
    matching(cluster.names.selector(component))
}

/// Selects what has these labels.
pub(super) fn matching(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

/// Nothing rather than an empty list or map: the API server would drop it, and an apply would look like a change.
pub(super) fn unless_empty<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}
