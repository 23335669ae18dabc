//! Nodes that are started to fail.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use crate::programs::{Ended, program, run_to_end};

/// An address that nobody listens on.
pub const NOWHERE: &str = "127.0.0.1:1";

/// The arguments of a node, each of which a test can spoil.
#[derive(Clone, Debug)]
pub struct Arguments(Vec<(String, String)>);

impl Arguments {
    /// Those of a node that would start, with its volumes under `directory`.
    #[must_use]
    pub fn good(directory: &Path) -> Self {
        let path = |name: &str| directory.join(name).display().to_string();
        let flags = [
            ("--name", "kv-0".to_owned()),
            ("--zookeeper", format!("{NOWHERE}/kvclusters/bad-input")),
            ("--listen", free_address()),
            ("--advertise", "127.0.0.1:7400".to_owned()),
            ("--http", free_address()),
            ("--data", path("data")),
            ("--bkpdata", path("bkpdata")),
        ];
        Self(flags.map(|(flag, value)| (flag.to_owned(), value)).into())
    }

    /// With this flag, or with another value of it.
    #[must_use]
    pub fn with(mut self, flag: &str, value: impl ToString) -> Self {
        self = self.without(flag);
        self.0.push((flag.to_owned(), value.to_string()));
        self
    }

    /// Without this flag.
    #[must_use]
    pub fn without(mut self, flag: &str) -> Self {
        self.0.retain(|(given, _)| given != flag);
        self
    }

    /// As they are typed.
    #[must_use]
    pub fn typed(&self) -> Vec<&str> {
        let flags = self.0.iter().flat_map(|(flag, value)| [flag.as_str(), value.as_str()]);
        ["run"].into_iter().chain(flags).collect()
    }

    /// Runs the node, which ends by itself.
    ///
    /// # Panics
    /// If it does not.
    pub async fn run(&self) -> Ended {
        run_to_end(&program("kv-node"), &self.typed()).await
    }

    /// That the node ends with this exit code, and that its last line has all of `words` in it.
    ///
    /// # Panics
    /// If not.
    pub async fn refused(&self, code: i32, words: &[&str]) {
        says(&self.run().await, code, words);
    }
}

/// Nobody listens there just now.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    listener.local_addr().expect("it listens").to_string()
}

/// That a program ended with this exit code, and that its last line has all of `words` in it.
///
/// # Panics
/// If not.
pub fn says(ended: &Ended, code: i32, words: &[&str]) {
    let last = ended.text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    let missing: Vec<_> = words.iter().filter(|word| !last.contains(**word)).collect();
    assert!(missing.is_empty(), "{missing:?} is missing in the last line of: {}", ended.text);
    assert_eq!(ended.code, Some(code), "{}", ended.text);
    assert!(!ended.text.contains("panicked"), "{}", ended.text);
    eprintln!("{last}");
}

/// Writes a field of a volume's identity as another version, or another cluster, would have it.
///
/// # Panics
/// If it is no volume.
pub fn edit_identity(volume: &Path, field: &str, value: impl Into<serde_json::Value>) {
    let path: PathBuf = volume.join("identity.json");
    let text = fs::read(&path).expect("it is a volume");
    let mut identity: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
    assert!(identity.get(field).is_some(), "{field} is no field of {identity}");
    identity[field] = value.into();
    fs::write(&path, identity.to_string()).expect("it can be written");
}
