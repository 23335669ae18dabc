use k8s_openapi::api::core::v1::ConfigMap;

use super::super::metadata::{metadata, unless_empty};
use crate::reconcile::{decision::Decisions, names::Component, validated::ValidatedCluster};

/// Who the ensemble is. Pods read it when they start, and are not restarted when it changes.
pub(super) fn record(cluster: &ValidatedCluster, decisions: &Decisions) -> ConfigMap {
    ConfigMap {
        metadata: metadata(cluster, Component::ZooKeeper, cluster.names.zookeeper()),
        data: unless_empty(decisions.ensemble_record.clone()),
        ..ConfigMap::default()
    }
}
