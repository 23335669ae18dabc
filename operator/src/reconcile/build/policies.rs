//! Who may reach the pods. What they reach themselves is not restricted: they need DNS, and an external ZooKeeper may be
//! anywhere, neither of which a policy can name in a way that holds in every Kubernetes cluster.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::metadata::{matching, metadata, selector};
use crate::reconcile::{
    names::{Component, MANAGER},
    validated::ValidatedCluster,
};

/// Lets in what the rules say, and nothing else.
pub(super) fn policy(
    cluster: &ValidatedCluster,
    component: Component,
    rules: Vec<NetworkPolicyIngressRule>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: metadata(cluster, component, cluster.names.stateful_set(component)),
        spec: Some(NetworkPolicySpec {
            ingress: Some(rules),
            pod_selector: Some(selector(cluster, component)),
            policy_types: Some(vec!["Ingress".into()]),
            ..NetworkPolicySpec::default()
        }),
    }
}

/// Opens ports to peers.
pub(super) fn rule(ports: &[u16], peers: Vec<NetworkPolicyPeer>) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: Some(peers), ..to_everybody(ports) }
}

/// Opens ports to everybody.
pub(super) fn to_everybody(ports: &[u16]) -> NetworkPolicyIngressRule {
    let port = |port: &u16| NetworkPolicyPort {
        port: Some(IntOrString::Int((*port).into())),
        protocol: Some("TCP".into()),
        ..NetworkPolicyPort::default()
    };
    NetworkPolicyIngressRule { ports: Some(ports.iter().map(port).collect()), from: None }
}

/// The pods of a component of this cluster.
pub(super) fn pods_of(cluster: &ValidatedCluster, component: Component) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(selector(cluster, component)), ..NetworkPolicyPeer::default() }
}

/// The operator, whatever namespace it runs in.
pub(super) fn operator() -> NetworkPolicyPeer {
    let labels = BTreeMap::from([("app.kubernetes.io/name".to_owned(), MANAGER.to_owned())]);
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: Some(matching(labels)),
        ip_block: None,
    }
}

/// Those that the resource names, or else the pods of the namespace.
pub(super) fn clients(named: &[NetworkPolicyPeer]) -> Vec<NetworkPolicyPeer> {
    if named.is_empty() {
        let anyone = LabelSelector::default();
        return vec![NetworkPolicyPeer { pod_selector: Some(anyone), ..NetworkPolicyPeer::default() }];
    }
    named.to_vec()
}
