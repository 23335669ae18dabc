//! Which flows the policies let through: those that a cluster needs, and no others.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::build;
use crate::reconcile::{
    decision::Decisions,
    fixtures::cluster,
    names::{Component, Names},
};

type Labels = BTreeMap<String, String>;

/// A pod, as policies see it.
struct Pod {
    namespace: &'static str,
    namespace_labels: Labels,
    labels: Labels,
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn pod(namespace: &'static str, pairs: &[(&str, &str)]) -> Pod {
    let namespace_labels = labels(&[("kubernetes.io/metadata.name", namespace)]);
    Pod { namespace, namespace_labels, labels: labels(pairs) }
}

fn of_cluster(name: &str, component: Component) -> Pod {
    let names = Names { namespace: "default".into(), cluster: name.into(), domain: "cluster.local".into() };
    Pod { labels: names.labels(component), ..pod("default", &[]) }
}

/// What Kubernetes does for the parts of a selector that policies here use.
fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    assert_eq!(selector.match_expressions, None, "the evaluator knows labels only");
    selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
}

fn is_peer(peer: &NetworkPolicyPeer, from: &Pod, policy_namespace: &str) -> bool {
    assert_eq!(peer.ip_block, None, "the evaluator knows pods only");
    let in_namespace = match &peer.namespace_selector {
        Some(selector) => selects(selector, &from.namespace_labels),
        None => from.namespace == policy_namespace,
    };
    in_namespace && peer.pod_selector.as_ref().is_none_or(|selector| selects(selector, &from.labels))
}

fn lets_in(rule: &NetworkPolicyIngressRule, from: &Pod, port: u16, policy_namespace: &str) -> bool {
    let ports = rule.ports.as_ref();
    let open = ports.is_none_or(|ports| ports.iter().any(|open| open.port == Some(IntOrString::Int(port.into()))));
    let peers = rule.from.as_ref();
    open && peers.is_none_or(|peers| peers.iter().any(|peer| is_peer(peer, from, policy_namespace)))
}

/// A pod that no policy selects is open to all; one that some do, to what any of them lets in.
fn passes(policies: &[NetworkPolicy], from: &Pod, to: &Pod, port: u16) -> bool {
    let mut selecting = policies
        .iter()
        .filter(|policy| policy.metadata.namespace.as_deref() == Some(to.namespace))
        .filter_map(|policy| policy.spec.as_ref())
        .filter(|spec| spec.pod_selector.as_ref().is_none_or(|selector| selects(selector, &to.labels)))
        .peekable();
    selecting.peek().is_none()
        || selecting.any(|spec| spec.ingress.iter().flatten().any(|rule| lets_in(rule, from, port, to.namespace)))
}

fn policies(spec: &str) -> Vec<NetworkPolicy> {
    let resources = build(&cluster(spec), &Decisions::default(), Some("secret"));
    resources.node_policy.into_iter().chain(resources.zookeeper.and_then(|zookeeper| zookeeper.policy)).collect()
}

const OPERATOR: &[(&str, &str)] = &[("app.kubernetes.io/name", "kv-operator"), ("app.kubernetes.io/instance", "kv")];

#[test]
fn the_flows_that_a_cluster_needs_pass() {
    let (node, member) = (of_cluster("demo", Component::Node), of_cluster("demo", Component::ZooKeeper));
    let operator = pod("kv-system", OPERATOR);
    let client = pod("default", &[("app", "shop")]);
    let prometheus = pod("monitoring", &[("app", "prometheus")]);
    let policies = policies("{}");
    let needed = [
        ("node to node", &node, &node, 7400),
        ("client to node", &client, &node, 7400),
        ("operator to node", &operator, &node, 7400),
        ("Prometheus to node", &prometheus, &node, 7480),
        ("node to ZooKeeper", &node, &member, 2181),
        ("operator to ZooKeeper", &operator, &member, 2181),
        ("client to ZooKeeper, to find nodes", &client, &member, 2181),
        ("follower to leader", &member, &member, 2888),
        ("election", &member, &member, 3888),
    ];
    for (what, from, to, port) in needed {
        assert!(passes(&policies, from, to, port), "{what} does not pass");
    }
}

#[test]
fn other_flows_do_not_pass() {
    let (node, member) = (of_cluster("demo", Component::Node), of_cluster("demo", Component::ZooKeeper));
    let operator = pod("kv-system", OPERATOR);
    let client = pod("default", &[("app", "shop")]);
    let stranger = pod("other", &[("app", "shop")]);
    let likeness = Pod { namespace: "other", ..of_cluster("demo", Component::ZooKeeper) };
    let other_cluster = of_cluster("demo2", Component::ZooKeeper);
    let policies = policies("{}");
    let forbidden = [
        ("another namespace to node", &stranger, &node, 7400),
        ("another namespace to ZooKeeper", &stranger, &member, 2181),
        ("another namespace to ZooKeeper's peers", &likeness, &member, 2888),
        ("a client to ZooKeeper's elections", &client, &member, 3888),
        ("a node to ZooKeeper's peers", &node, &member, 2888),
        ("the operator to ZooKeeper's elections", &operator, &member, 3888),
        ("another cluster's members to these", &other_cluster, &member, 2888),
        ("anything to a port that is none of ours", &client, &node, 22),
        ("anything to another port of a member", &client, &member, 8080),
    ];
    for (what, from, to, port) in forbidden {
        assert!(!passes(&policies, from, to, port), "{what} passes");
    }
}

#[test]
fn named_clients_take_the_place_of_the_namespaces_pods() {
    let (node, member) = (of_cluster("demo", Component::Node), of_cluster("demo", Component::ZooKeeper));
    let client = pod("default", &[("app", "shop")]);
    let mut named = pod("shop", &[("app", "shop")]);
    named.namespace_labels.insert("uses-kv".into(), "true".into());
    let peers = "[{namespaceSelector: {matchLabels: {uses-kv: 'true'}}}]";
    let policies = policies(&format!("{{networkPolicy: {{clients: {peers}}}}}"));
    for (to, port) in [(&node, 7400), (&member, 2181)] {
        assert!(passes(&policies, &named, to, port) && !passes(&policies, &client, to, port), "{port}");
    }
    assert!(passes(&policies, &node, &member, 2181) && passes(&policies, &node, &node, 7400));
    assert!(passes(&policies, &pod("kv-system", OPERATOR), &node, 7400));
}

#[test]
fn without_policies_everything_passes() {
    assert!(policies("{networkPolicy: {enabled: false}}").is_empty());
}
