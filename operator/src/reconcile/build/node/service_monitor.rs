use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::json;

use super::super::{
    metadata::metadata,
    services::{HEADLESS, SERVICE_LABEL},
};
use crate::reconcile::{names::Component, validated::ValidatedCluster};

/// The kind of the Prometheus operator, which is not part of Kubernetes.
#[must_use]
pub fn service_monitor_kind() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("monitoring.coreos.com", "v1", "ServiceMonitor"))
}

/// Has Prometheus read every node, ready or not.
pub(in super::super) fn service_monitor(cluster: &ValidatedCluster) -> Option<DynamicObject> {
    cluster.monitoring.service_monitor.then(|| {
        let mut selected = cluster.names.selector(Component::Node);
        selected.insert(SERVICE_LABEL.into(), HEADLESS.into());
        let spec = json!({
            "selector": { "matchLabels": selected },
            "endpoints": [{ "port": "http", "path": "/metrics" }],
        });
        let name = cluster.names.nodes();
        let mut object = DynamicObject::new(&name, &service_monitor_kind()).data(json!({ "spec": spec }));
        object.metadata = metadata(cluster, Component::Node, name);
        let mut labels = cluster.monitoring.labels.clone();
        labels.extend(object.metadata.labels.take().unwrap_or_default());
        object.metadata.labels = Some(labels);
        object
    })
}
