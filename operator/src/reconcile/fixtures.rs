//! Clusters for tests.

use kube::Resource;

use super::{
    validate::{Defaults, validate},
    validated::ValidatedCluster,
    world::World,
};
use crate::api::KvCluster;

/// What an operator is started with.
pub fn defaults() -> Defaults {
    Defaults {
        node_image: "kvcluster/kv-node:test".into(),
        zookeeper_image: "zookeeper:test".into(),
        cluster_domain: "cluster.local".into(),
    }
}

/// The resource `demo` in the namespace `default`, with this specification.
pub fn resource(spec: &str) -> KvCluster {
    let mut resource = KvCluster::new("demo", serde_yaml::from_str(spec).unwrap());
    let meta = resource.meta_mut();
    meta.namespace = Some("default".into());
    meta.uid = Some("0c5ff27e-0000-4000-8000-000000000001".into());
    meta.generation = Some(1);
    resource
}

/// The same, validated.
pub fn cluster(spec: &str) -> ValidatedCluster {
    validate(&resource(spec), &World::default(), &defaults()).unwrap()
}

/// The same with a ZooKeeper that somebody else looks after.
pub fn external(spec: &str) -> ValidatedCluster {
    let mut resource = resource(spec);
    let zookeeper = serde_yaml::from_str("{external: {connect: 'zk-a:2181'}}").unwrap();
    resource.spec.zookeeper = zookeeper;
    validate(&resource, &World::default(), &defaults()).unwrap()
}
