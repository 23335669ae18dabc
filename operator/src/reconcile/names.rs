//! What the objects of a cluster are called, and how they find each other.

use std::collections::BTreeMap;

/// Port of the nodes for clients and other nodes.
pub const KV_PORT: u16 = 7400;
/// Port of the nodes for probes and metrics.
pub const HTTP_PORT: u16 = 7480;
/// Port of ZooKeeper for clients.
pub const ZOOKEEPER_CLIENT_PORT: u16 = 2181;
/// Port on which ZooKeeper's followers reach the leader.
pub const ZOOKEEPER_PEER_PORT: u16 = 2888;
/// Port on which ZooKeeper's members elect.
pub const ZOOKEEPER_ELECTION_PORT: u16 = 3888;

/// Claim templates of the nodes.
pub const DATA: &str = "data";
/// See [`DATA`].
pub const BKPDATA: &str = "bkpdata";

/// The label that says which cluster an object belongs to.
pub const CLUSTER_LABEL: &str = "app.kubernetes.io/instance";
/// The label that says what an object is part of: `node` or `zookeeper`.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// The value of `app.kubernetes.io/name` on a cluster's objects.
pub const APP_NAME: &str = "kvcluster";
/// The value of `app.kubernetes.io/managed-by`, and the field manager of everything but the status.
pub const MANAGER: &str = "kv-operator";

/// On a member's claim: the ensemble has been made, and this was part of it.
pub const ENSEMBLE_MARK: &str = "kvcluster.io/ensemble";
/// On a member's claim: the UID of the pod that has served from it as one who votes. What that pod said at its start of the claim is out of
/// date since.
pub const SERVED_BY: &str = "kvcluster.io/served-by";
/// In the ensemble's record: `true` once it has served.
pub const BOOTSTRAPPED: &str = "bootstrapped";

/// What an object is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The KV nodes.
    Node,
    /// The ensemble.
    ZooKeeper,
}

impl Component {
    /// As the label has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::ZooKeeper => "zookeeper",
        }
    }
}

/// The names of one cluster's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The cluster's namespace.
    pub namespace: String,
    /// The cluster's name.
    pub cluster: String,
    /// The Kubernetes cluster's domain, such as `cluster.local`.
    pub domain: String,
}

impl Names {
    /// The StatefulSet, client Service, budget, ServiceAccount and policy of the nodes.
    #[must_use]
    pub fn nodes(&self) -> String {
        self.cluster.clone()
    }

    /// The headless Service of the nodes.
    #[must_use]
    pub fn nodes_headless(&self) -> String {
        format!("{}-nodes", self.cluster)
    }

    /// The StatefulSet, headless Service, ConfigMap, Secret, budget and policy of ZooKeeper.
    #[must_use]
    pub fn zookeeper(&self) -> String {
        format!("{}-zk", self.cluster)
    }

    /// The Service by which ZooKeeper's clients reach members that serve.
    #[must_use]
    pub fn zookeeper_client(&self) -> String {
        format!("{}-zk-client", self.cluster)
    }

    /// The StatefulSet of a component.
    #[must_use]
    pub fn stateful_set(&self, component: Component) -> String {
        match component {
            Component::Node => self.nodes(),
            Component::ZooKeeper => self.zookeeper(),
        }
    }

    /// A pod.
    #[must_use]
    pub fn pod(&self, component: Component, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.stateful_set(component))
    }

    /// A claim of a pod.
    #[must_use]
    pub fn claim(&self, template: &str, component: Component, ordinal: u32) -> String {
        format!("{template}-{}", self.pod(component, ordinal))
    }

    /// The ordinal of a pod or claim of a component; none if the name is not one of its names.
    #[must_use]
    pub fn ordinal(&self, component: Component, pod: &str) -> Option<u32> {
        let ordinal = pod.strip_prefix(&self.stateful_set(component))?.strip_prefix('-')?;
        ordinal.parse().ok().filter(|parsed: &u32| parsed.to_string() == ordinal)
    }

    /// The name under which a pod is found by others, ready or not.
    #[must_use]
    pub fn host(&self, component: Component, ordinal: u32) -> String {
        let service = match component {
            Component::Node => self.nodes_headless(),
            Component::ZooKeeper => self.zookeeper(),
        };
        format!("{}.{service}.{}.svc.{}", self.pod(component, ordinal), self.namespace, self.domain)
    }

    /// The name of a Service of this namespace.
    #[must_use]
    pub fn service_host(&self, service: &str) -> String {
        format!("{service}.{}.svc.{}", self.namespace, self.domain)
    }

    /// What selects a component's pods; never changed, since a StatefulSet's selector can't be.
    #[must_use]
    pub fn selector(&self, component: Component) -> BTreeMap<String, String> {
        [("app.kubernetes.io/name", APP_NAME), (CLUSTER_LABEL, &self.cluster), (COMPONENT_LABEL, component.as_str())]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    /// The labels of a component's objects.
    #[must_use]
    pub fn labels(&self, component: Component) -> BTreeMap<String, String> {
        let mut labels = self.selector(component);
        labels.insert("app.kubernetes.io/managed-by".into(), MANAGER.into());
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_recognized_by_its_name_and_others_are_not() {
        let names = Names { namespace: "ns".into(), cluster: "demo".into(), domain: "cluster.local".into() };
        assert_eq!(names.ordinal(Component::Node, "demo-2"), Some(2));
        for other in ["demo-zk-2", "demo-02", "demo-", "demo", "demo-2-1", "other-2"] {
            assert_eq!(names.ordinal(Component::Node, other), None, "{other}");
        }
        assert_eq!(names.ordinal(Component::ZooKeeper, "demo-zk-10"), Some(10));
        assert_eq!(names.host(Component::ZooKeeper, 0), "demo-zk-0.demo-zk.ns.svc.cluster.local");
    }
}
