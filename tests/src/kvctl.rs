//! `kvctl`, as a person or a script runs it.

use std::path::PathBuf;

use serde_json::Value;

use crate::programs::{Ended, program, run_to_end};

/// The program, and how it finds the cluster.
#[derive(Clone, Debug)]
pub struct Kvctl {
    program: PathBuf,
    target: [String; 2],
}

impl Kvctl {
    /// Finds the cluster by ZooKeeper: `host:port,…/root`.
    ///
    /// # Panics
    /// If it has not been built.
    #[must_use]
    pub fn of_zookeeper(zookeeper: &str) -> Self {
        Self { program: program("kvctl"), target: ["--zookeeper", zookeeper].map(str::to_owned) }
    }

    /// Asks a node.
    ///
    /// # Panics
    /// If it has not been built.
    #[must_use]
    pub fn of_node(address: impl ToString) -> Self {
        Self { program: program("kvctl"), target: ["--node".to_owned(), address.to_string()] }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        let target = self.target.iter().map(String::as_str);
        let arguments: Vec<_> = target.chain(arguments.iter().copied()).collect();
        run_to_end(&self.program, &arguments).await
    }

    /// That it ends with this code; what it printed on standard output.
    ///
    /// # Panics
    /// If it ends otherwise.
    pub async fn ends(&self, code: i32, arguments: &[&str]) -> String {
        let ended = self.run(arguments).await;
        assert_eq!(ended.code, Some(code), "kvctl {arguments:?}: {}", ended.text);
        assert!(!ended.text.contains("panicked"), "{}", ended.text);
        if code != 0 {
            eprintln!("{}", ended.text.trim_end());
        }
        ended.output
    }

    /// What it prints as a table, when all is well.
    ///
    /// # Panics
    /// If it fails.
    pub async fn prints(&self, arguments: &[&str]) -> String {
        self.ends(0, arguments).await
    }

    /// What it prints with `--output json`.
    ///
    /// # Panics
    /// If it fails, or prints anything else.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ends(0, &[&["--output", "json"], arguments].concat()).await;
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("kvctl {arguments:?}: {error}: {output}"))
    }
}
