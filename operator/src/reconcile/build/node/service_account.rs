use k8s_openapi::api::core::v1::ServiceAccount;

use super::super::metadata::metadata;
use crate::reconcile::{names::Component, validated::ValidatedCluster};

/// The account of nodes and members. It has no rights, and its token is mounted nowhere.
pub(in super::super) fn service_account(cluster: &ValidatedCluster) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(cluster, Component::Node, cluster.names.nodes()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
