use crate::Repository;

/// A name that only some files may use, or that some files may not.
struct Rule {
    /// As in a path of Rust: `tokio`, `std::time::Instant`.
    name: &'static str,
    /// Beginnings of the paths that the rule is about.
    of: &'static [&'static str],
    /// Beginnings of the paths that may use it all the same.
    but: &'static [&'static str],
    why: &'static str,
}

const EVERYWHERE: &[&str] = &[""];
const CORE: &[&str] = &["node/replication/src/", "node/types/src/"];
const SYNCHRONOUS: &[&str] =
    &["node/replication/", "node/types/", "node/storage/", "tests/simulator/", "tests/checker/"];
const NO_CLOCK: &str = "the core has no clock: time comes in with each input";
const NO_IO: &str = "the core does no I/O: it says what is to be done";

const RULES: [Rule; 13] = [
    Rule {
        name: "zookeeper_client",
        of: EVERYWHERE,
        but: &[
            "node/cluster/",
            "client/src/discovery",
            "operator/src/zookeeper/",
            "operator/tests/",
            "tests/",
            "bench/src/system/zookeeper",
        ],
        why: "only kv-cluster, the client's discovery, the operator's zookeeper/ and what measures it speak to ZooKeeper",
    },
    Rule {
        name: "kv_proto",
        of: &["node/", "local/", "operator/"],
        but: &[
            "node/src/server/",
            "node/src/driver/peers",
            "node/src/driver/snapshot",
            "node/src/driver/world",
            "node/tests/",
        ],
        why: "wire types stop at the edge, and where the driver speaks to peers",
    },
    Rule {
        name: "lsm_tree",
        of: EVERYWHERE,
        but: &["node/storage/"],
        why: "what the table is made of is its own affair",
    },
    Rule { name: "tokio", of: SYNCHRONOUS, but: &[], why: "it is synchronous" },
    Rule { name: "std::time::Instant", of: CORE, but: &[], why: NO_CLOCK },
    Rule { name: "std::time::SystemTime", of: CORE, but: &[], why: NO_CLOCK },
    Rule { name: "rand", of: CORE, but: &[], why: "the core has no randomness: a seed has to replay" },
    Rule { name: "std::fs", of: CORE, but: &[], why: NO_IO },
    Rule { name: "std::net", of: CORE, but: &[], why: NO_IO },
    Rule { name: "std::thread", of: CORE, but: &[], why: NO_IO },
    Rule {
        name: "std::collections::HashMap",
        of: &["node/replication/src/core/", "tests/simulator/src/"],
        but: &[],
        why: "its order differs from run to run: a seed has to replay",
    },
    Rule {
        name: "std::time::SystemTime",
        of: &["node/"],
        but: &["node/src/driver/mod.rs"],
        why: "wall-clock time is for deadlines of keys only",
    },
    Rule {
        name: "kv_simulator",
        of: &["node/", "client/", "local/", "proto/"],
        but: &[],
        why: "production code does not use tests",
    },
];

/// Uses of names where they must not be used.
#[must_use]
pub fn check_imports(repository: &Repository) -> Vec<String> {
    let begins = |path: &str, starts: &[&str]| starts.iter().any(|start| path.starts_with(start));
    let mut found = Vec::new();
    for Rule { name, of, but, why } in &RULES {
        let concerned = |path: &str| begins(path, of) && !begins(path, but);
        for file in repository.ending(".rs").filter(|file| concerned(&file.path)) {
            let code = code_of(&file.text);
            if uses(&code, name) {
                found.push(format!("{}: uses {name}: {why}", file.path));
            }
        }
    }
    found
}

/// Without comments and texts, which may speak of anything. The lines of an import that is spread over several are joined.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.split_once("//").map_or(line, |(code, _)| code);
        // What stands at odd places is between quotation marks. (Marks that are themselves quoted are rare enough.)
        for part in line.split('"').step_by(2) {
            code.push_str(part);
            code.push(' ');
        }
    }
    code
}

/// Whether the code names `path`: as it is, or in an import with braces.
fn uses(code: &str, path: &str) -> bool {
    if appears(code, path) {
        return true;
    }
    let Some((module, last)) = path.rsplit_once("::") else { return false };
    let (root, inner) = module.split_once("::").unwrap_or((module, ""));
    code.split("use ").skip(1).filter_map(|import| import.split(';').next()).any(|import| {
        let import: String = import.split_whitespace().collect();
        let of_root = import.starts_with(&format!("{root}::"));
        of_root && import.contains('{') && (inner.is_empty() || appears(&import, inner)) && appears(&import, last)
    })
}

/// Whether `name` stands there as a whole, used as the start of a path or imported.
fn appears(code: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + name.len()..].chars().next();
        let whole = !before.is_some_and(is_part) && !after.is_some_and(is_part);
        // A variable of that name is none of our business.
        let single = !name.contains("::") && name.chars().next().is_some_and(char::is_lowercase);
        let path = code[at + name.len()..].trim_start().starts_with("::");
        let import = code[..at].trim_end().ends_with("use") || code[at + name.len()..].trim_start().starts_with("as ");
        whole && (!single || path || import)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourceFile;

    fn violations(path: &str, text: &str) -> usize {
        let files = vec![SourceFile { path: path.into(), text: text.into() }];
        check_imports(&Repository { files, ..Repository::default() }).len()
    }

    #[test]
    fn a_forbidden_name_is_found_however_it_is_imported() {
        let core = "node/replication/src/core/mod.rs";
        for text in [
            "use tokio::time;",
            "fn a() { tokio::spawn(b) }",
            "use std::{\n    time::{Duration, Instant},\n};",
            "use std::time::{Duration, Instant};",
            "let now = std::time::Instant::now();",
            "use std::{collections::{BTreeMap, HashMap}, sync::Arc};",
        ] {
            assert_eq!(violations(core, text), 1, "{text}");
        }
    }

    #[test]
    fn what_only_sounds_like_it_is_not() {
        let core = "node/replication/src/core/mod.rs";
        for text in [
            "// tokio::spawn is the driver's",
            "use std::time::Duration;",
            "let brand = 1; let rand = 2;",
            "let why = \"tokio::spawn\";",
            "use std::{collections::BTreeMap, time::Duration};",
        ] {
            assert_eq!(violations(core, text), 0, "{text}");
        }
    }

    #[test]
    fn each_edge_has_its_own_names() {
        assert_eq!(violations("node/src/driver/replica.rs", "use kv_proto::v1;"), 1);
        assert_eq!(violations("node/src/server/kv.rs", "use kv_proto::v1;"), 0);
        assert_eq!(violations("local/src/main.rs", "use zookeeper_client as zk;"), 1);
        assert_eq!(violations("client/src/discovery.rs", "use zookeeper_client as zk;"), 0);
    }
}
