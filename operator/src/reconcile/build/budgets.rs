use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::metadata::{metadata, selector};
use crate::reconcile::{names::Component, validated::ValidatedCluster};

/// Machines may be drained of one pod of a component at a time. None for a single pod: it could never be moved.
pub(super) fn budget(cluster: &ValidatedCluster, component: Component, wished: u32) -> Option<PodDisruptionBudget> {
    (wished > 1).then(|| PodDisruptionBudget {
        metadata: metadata(cluster, component, cluster.names.stateful_set(component)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(cluster, component)),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}
