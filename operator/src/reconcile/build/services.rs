use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::metadata::metadata;
use crate::reconcile::{names::Component, validated::ValidatedCluster};

/// A port's name and number.
pub(super) type NamedPort = (&'static str, u16);

/// Tells the two Services of a component apart.
pub(super) const SERVICE_LABEL: &str = "kvcluster.io/service";
/// Value of [`SERVICE_LABEL`] on the one that knows every pod.
pub(super) const HEADLESS: &str = "headless";
/// Value of [`SERVICE_LABEL`] on the one that knows those that serve.
pub(super) const CLIENT: &str = "client";

/// Gives each pod a name, ready or not: pods find each other in order to become ready.
pub(super) fn headless(cluster: &ValidatedCluster, component: Component, name: String, ports: &[NamedPort]) -> Service {
    let spec = ServiceSpec {
        cluster_ip: Some("None".into()),
        publish_not_ready_addresses: Some(true),
        ..spec(cluster, component, ports)
    };
    service(cluster, component, name, HEADLESS, spec)
}

/// Leads clients to pods that are ready.
pub(super) fn client(cluster: &ValidatedCluster, component: Component, name: String, ports: &[NamedPort]) -> Service {
    service(cluster, component, name, CLIENT, spec(cluster, component, ports))
}

fn service(cluster: &ValidatedCluster, component: Component, name: String, kind: &str, spec: ServiceSpec) -> Service {
    let mut metadata = metadata(cluster, component, name);
    metadata.labels.get_or_insert_default().insert(SERVICE_LABEL.into(), kind.into());
    Service { metadata, spec: Some(spec), status: None }
}

fn spec(cluster: &ValidatedCluster, component: Component, ports: &[NamedPort]) -> ServiceSpec {
    let port = |(name, number): &NamedPort| ServicePort {
        name: Some((*name).into()),
        port: (*number).into(),
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::String((*name).into())),
        ..ServicePort::default()
    };
    ServiceSpec {
        ports: Some(ports.iter().map(port).collect()),
        selector: Some(cluster.names.selector(component)),
        type_: Some("ClusterIP".into()),
        ..ServiceSpec::default()
    }
}
