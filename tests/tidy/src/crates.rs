use crate::{Package, Repository};

/// A crate, and what of the workspace it may depend on (its tests may use more).
const DIRECTIONS: [(&str, &[&str]); 18] = [
    ("kv-proto", &[]),
    ("kv-types", &[]),
    ("kv-storage", &["kv-types"]),
    ("kv-replication", &["kv-types"]),
    ("kv-cluster", &["kv-types"]),
    ("kv-node", &["kv-types", "kv-storage", "kv-replication", "kv-cluster", "kv-proto"]),
    ("kv-client", &["kv-proto"]),
    ("kv-local", &["kv-client"]),
    ("kv-bench", &["kv-client", "kv-local"]),
    ("kv-checker", &[]),
    ("kv-corpus", &[]),
    ("kv-simulator", &["kv-types", "kv-replication", "kv-checker"]),
    ("kv-tests", &["kv-checker", "kv-client", "kv-local", "kv-proto"]),
    ("kv-chaos", &["kv-checker", "kv-client", "kv-local", "kv-tests"]),
    ("kv-zookeeper-member", &[]),
    ("kv-operator", &["kv-client", "kv-zookeeper-member"]),
    ("kv-tests-kubernetes", &["kv-checker", "kv-client", "kv-local", "kv-operator", "kv-tests"]),
    ("kv-tidy", &[]),
];

/// A crate from outside, and who may depend on it.
const OUTSIDE: [(&str, &[&str]); 8] = [
    ("zookeeper-client", &["kv-cluster", "kv-client", "kv-operator", "kv-bench"]),
    ("lsm-tree", &["kv-storage"]),
    ("tonic", &["kv-proto", "kv-node", "kv-client", "kv-tests", "kv-bench"]),
    ("axum", &["kv-node", "kv-operator", "kv-tests-kubernetes"]),
    ("kube", &["kv-operator", "kv-tests-kubernetes"]),
    ("k8s-openapi", &["kv-operator", "kv-tests-kubernetes"]),
    (
        "clap",
        &[
            "kv-node",
            "kv-client",
            "kv-local",
            "kv-bench",
            "kv-operator",
            "kv-zookeeper-member",
            "kv-simulator",
            "kv-tests",
            "kv-chaos",
            "kv-tests-kubernetes",
        ],
    ),
    (
        "tokio",
        &[
            "kv-cluster",
            "kv-node",
            "kv-client",
            "kv-local",
            "kv-bench",
            "kv-operator",
            "kv-tests",
            "kv-chaos",
            "kv-tests-kubernetes",
        ],
    ),
];

/// Switches that break rules: in the simulator only.
const MUTANTS: (&str, &str) = ("kv-replication/mutants", "kv-simulator");

/// Dependencies against the direction.
#[must_use]
pub fn check_directions(repository: &Repository) -> Vec<String> {
    let mut found = Vec::new();
    for package in &repository.packages {
        let Package { name, manifest, dependencies, test_dependencies: _, features } = package;
        let Some((_, allowed)) = DIRECTIONS.iter().find(|(of, _)| of == name) else {
            found.push(format!("{manifest}: {name} has no place: add it to DIRECTIONS in tests/tidy/src/crates.rs"));
            continue;
        };
        for dependency in dependencies {
            if dependency.starts_with("kv-") && !allowed.contains(&dependency.as_str()) {
                found.push(format!("{manifest}: {name} must not depend on {dependency}, only on {allowed:?}"));
            }
            let users = OUTSIDE.iter().find(|(of, _)| of == dependency).map(|(_, users)| *users);
            if users.is_some_and(|users| !users.contains(&name.as_str())) {
                found.push(format!("{manifest}: {name} must not depend on {dependency}"));
            }
        }
        if features.iter().any(|feature| feature == MUTANTS.0) && name != MUTANTS.1 {
            found.push(format!("{manifest}: {name} must not ask for {}", MUTANTS.0));
        }
    }
    found
}

/// Members that don't take the workspace's lints.
#[must_use]
pub fn check_lints(repository: &Repository) -> Vec<String> {
    let takes = |package: &&Package| {
        let lines: Vec<_> = repository.text(&package.manifest).lines().map(str::trim).collect();
        lines.windows(2).any(|pair| pair == ["[lints]", "workspace = true"])
    };
    let without = repository.packages.iter().filter(|package| !takes(package));
    without.map(|package| format!("{}: write [lints] and workspace = true", package.manifest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourceFile;

    fn repository(name: &str, dependencies: &[&str], features: &[&str]) -> Repository {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let package = Package {
            name: name.into(),
            manifest: "Cargo.toml".into(),
            dependencies: owned(dependencies),
            features: owned(features),
            ..Package::default()
        };
        Repository { packages: vec![package], ..Repository::default() }
    }

    #[test]
    fn dependencies_go_one_way() {
        let violations = |name, dependencies: &[&str]| check_directions(&repository(name, dependencies, &[])).len();
        assert_eq!(violations("kv-storage", &["kv-types", "bytes"]), 0);
        assert_eq!(violations("kv-storage", &["kv-replication"]), 1);
        assert_eq!(violations("kv-node", &["kv-client"]), 1);
        assert_eq!(violations("kv-types", &["tokio"]), 1);
        assert_eq!(violations("kv-unplaced", &[]), 1);
    }

    #[test]
    fn no_node_can_break_its_rules() {
        let violations = |name| check_directions(&repository(name, &[], &["kv-replication/mutants"])).len();
        assert_eq!((violations("kv-node"), violations("kv-simulator")), (1, 0));
    }

    #[test]
    fn every_member_takes_the_lints() {
        let mut repository = repository("kv-types", &[], &[]);
        assert_eq!(check_lints(&repository).len(), 1);
        repository.files.push(SourceFile { path: "Cargo.toml".into(), text: "[lints]\nworkspace = true\n".into() });
        assert!(check_lints(&repository).is_empty());
    }
}
