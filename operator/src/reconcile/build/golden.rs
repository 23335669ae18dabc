//! The StatefulSets as they were when they were looked at last: a change of a pod's template restarts every pod of every
//! cluster when the operator is upgraded. `UPDATE_GOLDEN=1 cargo test -p kv-operator build` writes the files anew.

use std::{fs, path::PathBuf};

use k8s_openapi::api::apps::v1::StatefulSet;

use super::build;
use crate::reconcile::{
    decision::Decisions,
    fixtures::{defaults, resource},
    validate::validate,
    world::World,
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/golden")
}

/// Compares with the file, or writes it.
fn compare(name: &str, sets: &[StatefulSet]) {
    let texts: Vec<_> = sets.iter().map(|set| serde_yaml::to_string(set).expect("it can be written")).collect();
    let rendered = texts.join("---\n");
    let path = folder().join(format!("{name}.yaml"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &rendered).expect("the golden file can be written");
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    let differs = golden.lines().zip(rendered.lines()).enumerate().find(|(_, (golden, rendered))| golden != rendered);
    if let Some((at, (golden, rendered))) = differs {
        panic!("{}:{}: it was {golden:?} and is {rendered:?}: a change restarts pods", path.display(), at + 1);
    }
    assert!(golden == rendered, "{} has another length: a change restarts pods", path.display());
}

fn rendered(name: &str, nodes: u32, members: u32) -> Vec<StatefulSet> {
    let path = folder().join(format!("{name}-spec.yaml"));
    let spec = fs::read_to_string(&path).expect("the specification is there");
    let cluster = validate(&resource(&spec), &World::default(), &defaults()).expect("it is valid");
    let decisions = Decisions { node_replicas: Some(nodes), zookeeper_replicas: Some(members), ..Decisions::default() };
    let resources = build(&cluster, &decisions, Some("secret"));
    resources.node_set.into_iter().chain(resources.zookeeper.and_then(|zookeeper| zookeeper.set)).collect()
}

#[test]
fn a_minimal_cluster_has_the_pods_that_it_had() {
    let sets = rendered("minimal", 3, 3);
    assert_eq!(sets.len(), 2);
    compare("minimal", &sets);
}

#[test]
fn a_cluster_with_everything_set_has_the_pods_that_it_had() {
    let sets = rendered("production", 5, 5);
    assert_eq!(sets.len(), 2);
    compare("production", &sets);
}

#[test]
fn a_cluster_with_an_external_zookeeper_has_the_pods_that_it_had() {
    let sets = rendered("external", 3, 0);
    assert_eq!(sets.len(), 1);
    compare("external", &sets);
}
