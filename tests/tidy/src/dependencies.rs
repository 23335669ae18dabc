use std::collections::{BTreeMap, BTreeSet};

use crate::{Dependency, Repository};

/// Licences that what we distribute may be under.
const LICENCES: [&str; 10] =
    ["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "ISC", "MIT", "Unicode-3.0", "Unlicense", "Zlib"];

/// Exceptions to licences that somebody has looked at: they only permit more.
const EXCEPTIONS: [&str; 1] = ["LLVM-exception"];

/// Crates of which the tree has several versions, since crates from outside ask for different ones. Each makes the build
/// longer: take those out that are gone.
const SEVERAL_VERSIONS: [&str; 10] = [
    "ahash",
    "base64",
    "foldhash",
    "getrandom",
    "hashbrown",
    "heck",
    "syn",
    "thiserror",
    "thiserror-impl",
    "unicode-width",
];

/// Dependencies whose licence is not one of ours, or unknown.
#[must_use]
pub fn check_licences(repository: &Repository) -> Vec<String> {
    let foreign = repository.dependencies.iter().filter(|dependency| !is_allowed(&dependency.licence));
    foreign
        .map(|Dependency { name, version, licence, .. }| {
            format!("{name} {version}: its licence {licence:?} is not among those of tests/tidy/src/dependencies.rs")
        })
        .collect()
}

/// Dependencies from elsewhere than a registry.
#[must_use]
pub fn check_sources(repository: &Repository) -> Vec<String> {
    let foreign = repository.dependencies.iter().filter(|dependency| !dependency.source.starts_with("registry+"));
    foreign.map(|Dependency { name, source, .. }| format!("{name}: it comes from {source}: take a release")).collect()
}

/// Crates that have come to be in the tree more than once, and those that are not any more.
#[must_use]
pub fn check_versions(repository: &Repository) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for Dependency { name, version, .. } in &repository.dependencies {
        versions.entry(name).or_default().insert(version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let new = versions.iter().filter(|(name, _)| !SEVERAL_VERSIONS.contains(name));
    let new = new.map(|(name, versions)| format!("{name} is there in several versions, {versions:?}: agree on one"));
    let gone = SEVERAL_VERSIONS.iter().filter(|name| !versions.contains_key(*name));
    new.chain(gone.map(|name| format!("{name} is there once: take it out of SEVERAL_VERSIONS"))).collect()
}

/// Whether an expression of licences can be fulfilled with ours.
fn is_allowed(expression: &str) -> bool {
    // What joins licences in older manifests means a choice too.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    choice(&mut rest) && rest.is_empty()
}

fn choice(rest: &mut &[&str]) -> bool {
    let mut allowed = all(rest);
    while take(rest, "OR") {
        // Both sides are read, whatever the first one came to.
        let other = all(rest);
        allowed |= other;
    }
    allowed
}

fn all(rest: &mut &[&str]) -> bool {
    let mut allowed = one(rest);
    while take(rest, "AND") {
        let other = one(rest);
        allowed &= other;
    }
    allowed
}

fn one(rest: &mut &[&str]) -> bool {
    if take(rest, "(") {
        let allowed = choice(rest);
        return take(rest, ")") && allowed;
    }
    let Some((name, others)) = rest.split_first() else { return false };
    *rest = others;
    if take(rest, "WITH") {
        let exception = rest.first().is_some_and(|exception| EXCEPTIONS.contains(exception));
        *rest = rest.get(1..).unwrap_or_default();
        return exception && LICENCES.contains(name);
    }
    LICENCES.contains(name)
}

fn take(rest: &mut &[&str], word: &str) -> bool {
    let found = rest.first() == Some(&word);
    if found {
        *rest = &rest[1..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(crates: &[(&str, &str)]) -> Repository {
        let dependency = |(name, version): &(&str, &str)| Dependency {
            name: (*name).into(),
            version: (*version).into(),
            licence: "MIT".into(),
            source: "registry+x".into(),
        };
        Repository { dependencies: crates.iter().map(dependency).collect(), ..Repository::default() }
    }

    #[test]
    fn a_licence_may_be_chosen_and_all_of_several_must_be_ours() {
        for ours in
            ["MIT", "MIT/Apache-2.0", "Apache-2.0 OR GPL-2.0-only", "(MIT OR X) AND Unicode-3.0", "X WITH Y OR MIT"]
        {
            assert!(is_allowed(ours), "{ours}");
        }
        for foreign in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND X", "(MIT", "MIT)"] {
            assert!(!is_allowed(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_second_version_is_found_and_so_is_a_listed_one_that_has_gone() {
        let known: Vec<_> = SEVERAL_VERSIONS.iter().flat_map(|name| [(*name, "1.0.0"), (*name, "2.0.0")]).collect();
        assert!(check_versions(&tree(&known)).is_empty());
        let with = |more: &[(&'static str, &'static str)]| check_versions(&tree(&[&known, more].concat())).len();
        assert_eq!(with(&[("bytes", "1.0.0")]), 0);
        assert_eq!(with(&[("bytes", "1.0.0"), ("bytes", "2.0.0")]), 1);
        assert_eq!(check_versions(&tree(&known[1..])).len(), 1);
    }

    #[test]
    fn crates_come_from_registries() {
        let mut repository = tree(&[("bytes", "1.0.0")]);
        assert!(check_sources(&repository).is_empty());
        repository.dependencies[0].source = "git+https://example.net/bytes".into();
        assert_eq!(check_sources(&repository).len(), 1);
    }
}
