//! What is written by `make manifests` is what the program says today, and what is written by hand agrees with it.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kv_operator::api::KvCluster;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn file(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str, text: &str) -> Value {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first line in which a file differs from what the program prints.
fn assert_current(path: &str, wanted: &str) {
    let there = file(path);
    let differs = there.lines().zip(wanted.lines()).position(|(there, wanted)| there != wanted);
    let at = differs.unwrap_or_else(|| there.lines().count().min(wanted.lines().count()));
    assert!(there == wanted, "{path} is stale from line {} on: type `make manifests`", at + 1);
}

#[test]
fn the_definition_and_the_reference_are_those_of_the_program() {
    let definition = kv_operator::crd_yaml();
    assert!(definition.contains("name: kvclusters.kvcluster.io"), "{definition}");
    assert_current("manifests/crd.yaml", &definition);
    assert_current("charts/kv-operator/files/crd.yaml", &definition);
    assert_current("docs/resource-reference.md", &kv_operator::reference());
}

/// Fields of a sample that the resource does not have, or has with another value.
fn lost(path: &str, written: &Value, understood: &Value, found: &mut Vec<String>) {
    match (written, understood) {
        (Value::Object(written), Value::Object(understood)) => {
            for (name, value) in written {
                lost(&format!("{path}.{name}"), value, understood.get(name).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(written), Value::Array(understood)) if written.len() == understood.len() => {
            for (at, (written, understood)) in written.iter().zip(understood).enumerate() {
                lost(&format!("{path}[{at}]"), written, understood, found);
            }
        }
        _ if written == understood => {}
        _ => found.push(format!("{path}: written {written}, understood {understood}")),
    }
}

#[test]
fn every_field_of_the_samples_is_understood() {
    let samples = fs::read_dir(root().join("manifests/samples")).expect("there are samples");
    let mut names = BTreeSet::new();
    for sample in samples {
        let name = sample.expect("it can be read").file_name().to_string_lossy().into_owned();
        let path = format!("manifests/samples/{name}");
        let text = file(&path);
        let cluster: KvCluster = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let understood = serde_json::to_value(&cluster).expect("it can be written");
        let mut found = Vec::new();
        lost("", &yaml(&path, &text), &understood, &mut found);
        assert!(found.is_empty(), "{path}:\n{}", found.join("\n"));
        names.insert(name);
    }
    let wanted = ["external-zookeeper.yaml", "minimal.yaml", "production.yaml", "small.yaml"];
    assert_eq!(names, wanted.map(str::to_owned).into(), "the guide names these");
}

#[test]
fn the_chart_is_of_this_version_and_install_yaml_was_rendered_from_it() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = yaml("Chart.yaml", &file("charts/kv-operator/Chart.yaml"));
    assert_eq!([&chart["version"], &chart["appVersion"]], [version, version]);
    let install = file("manifests/install.yaml");
    assert!(install.starts_with(&file("manifests/namespace.yaml")), "type `make manifests`");
    for image in
        [format!("image: kvcluster/kv-operator:{version}"), format!("--node-image=kvcluster/kv-node:{version}")]
    {
        assert!(install.contains(&image), "install.yaml has no {image:?}: type `make manifests`");
    }
    let definitions = install.split("\n---\n").filter(|text| text.contains("kind: CustomResourceDefinition"));
    // Typed, since Helm writes 1 for 1.0.
    let parsed = |text: &str| serde_yaml::from_str::<CustomResourceDefinition>(text).expect("it is a definition");
    let definitions: Vec<_> = definitions.map(parsed).collect();
    let generated = parsed(&file("manifests/crd.yaml"));
    assert!(
        matches!(&definitions[..], [only] if only.spec == generated.spec),
        "the definition in install.yaml is not that of crd.yaml: type `make manifests`"
    );
}

/// All text of source files below a folder.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).expect("it can be read").map(|entry| entry.expect("it can be read").path());
    let texts = entries.map(|path| match path.extension() {
        Some(end) if end == "rs" => fs::read_to_string(&path).expect("it can be read"),
        None if path.is_dir() => sources(&path),
        _ => String::new(),
    });
    texts.collect()
}

/// Names of metrics in an expression: what is selected, compared or has our operator's prefix.
fn metrics(expression: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let name = &rest[start..];
        let (name, after) = name.split_at(name.find(|c| !is_name(c)).unwrap_or(name.len()));
        let is_metric = ["{", "[", " ==", " >"].iter().any(|next| after.starts_with(next));
        if is_metric || name.starts_with("kv_operator_") {
            found.push(name);
        }
        rest = after;
    }
    found
}

#[test]
fn alerts_and_dashboard_name_metrics_that_there_are() {
    let sources = sources(&root().join("node/src")) + &sources(&root().join("operator/src"));
    let dashboard: Value = serde_json::from_str(&file("charts/kv-operator/files/dashboard.json")).expect("it is JSON");
    let alerts = yaml("alerts.yaml", &file("charts/kv-operator/files/alerts.yaml"));
    let list = |value: &Value, field: &str| value[field].as_array().cloned().unwrap_or_default();
    let targets = list(&dashboard, "panels").into_iter().flat_map(|panel| list(&panel, "targets"));
    let rules = list(&alerts, "groups").into_iter().flat_map(|group| list(&group, "rules"));
    let expressions: Vec<String> =
        targets.chain(rules).map(|holder| holder["expr"].as_str().unwrap_or_default().to_owned()).collect();
    assert!(expressions.len() > 20, "hardly anything was found to look at");
    let names: BTreeSet<&str> = expressions.iter().flat_map(|expression| metrics(expression)).collect();
    assert!(names.contains("kv_operator_leading") && names.contains("copy_in_sync"), "{names:?}");
    for name in names {
        // The exporter adds units and `_total`, and the operator its prefix.
        let stem = ["_total", "_bucket", "_seconds"].iter().fold(name, |name, end| name.trim_end_matches(end));
        let known =
            [stem, stem.trim_start_matches("kv_operator_")].iter().any(|name| sources.contains(&format!("\"{name}\"")));
        assert!(known, "no program has a metric {name}");
    }
}
