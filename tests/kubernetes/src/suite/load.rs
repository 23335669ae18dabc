use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, LogParams, PostParams},
};
use kv_tests::wait;
use serde::Deserialize;
use serde_json::json;

use super::Store;
use crate::images;

/// The pod's name.
const POD: &str = "load";
/// The client's own.
const DEADLINE: Duration = Duration::from_secs(10);
/// The load runs within this time, and has judged its history within it.
const WITHIN: Duration = Duration::from_secs(60);

/// A longer silence is worth a look at what the pods have logged; requests wait for ten seconds.
const SILENCE_MAX_MILLIS: u64 = 5_000;

/// Clients in a pod that read, write, compare-and-set and delete, and what became of it.
pub struct Load<'c> {
    store: Store<'c>,
}

/// What the clients were told.
#[derive(Clone, Debug, Deserialize)]
pub struct Figures {
    /// Reads and writes.
    pub operations: u64,
    /// That certainly did not happen.
    pub failed: u64,
    /// That may have happened.
    pub unknown: u64,
    /// The longest time without an answer for one of the shards, in milliseconds.
    pub longest_silence_ms: u64,
    /// Whether an order explains all that was told.
    pub linearizable: bool,
}

impl<'c> Load<'c> {
    /// Begins, on a machine (or wherever there is room), with the client's own deadline for operations.
    pub async fn start(store: &Store<'c>, machine: Option<&str>) -> Self {
        Self::start_with(store, machine, DEADLINE).await
    }

    /// Begins with another deadline for operations.
    pub async fn start_with(store: &Store<'c>, machine: Option<&str>, deadline: Duration) -> Self {
        let load = Self { store: store.clone() };
        load.remove().await;
        let node = format!("{}:7400", store.name);
        let selector = machine.map(|machine| json!({ "kubernetes.io/hostname": machine }));
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": POD },
            "spec": {
                "restartPolicy": "Never",
                "nodeSelector": selector,
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 1,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" },
                },
                "containers": [{
                    "name": "load",
                    "image": images::TOOLS,
                    "command": ["kv-load", "--node", node, "--deadline", format!("{}s", deadline.as_secs())],
                    "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                }],
            },
        });
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        load.pods().create(&PostParams::default(), &pod).await.expect("the pod is made");
        wait::until("the load runs", WITHIN, async || match load.last_line().await {
            Some(line) if line.contains("operations") => Ok(()),
            line => Err(format!("its log ends with {line:?}")),
        })
        .await;
        load
    }

    /// Ends it, and says what became of it.
    pub async fn finish(self) -> Figures {
        let namespace = &self.store.namespace;
        self.store.kubernetes.kubectl(&["exec", "--namespace", namespace, POD, "--", "kill", "-TERM", "1"]);
        wait::until("the load has ended", WITHIN, async || {
            let pod = self.pods().get(POD).await.map_err(|error| error.to_string())?;
            let phase = pod.status.and_then(|status| status.phase).unwrap_or_default();
            if ["Succeeded", "Failed"].contains(&phase.as_str()) { Ok(()) } else { Err(phase) }
        })
        .await;
        let log = self.log(100).await;
        let line = log.lines().rev().find(|line| line.contains("linearizable"));
        let line = line.unwrap_or_else(|| panic!("the load ended without its verdict:\n{log}"));
        let figures: Figures = serde_json::from_str(line).expect("the verdict is JSON");
        eprintln!("{namespace}: {figures:?}");
        let is_odd = figures.failed + figures.unknown > 0 || figures.longest_silence_ms > SILENCE_MAX_MILLIS;
        if is_odd || !figures.linearizable {
            eprintln!("{line}\nthe logs of the pods are in {}", self.store.kubernetes.keep_logs(namespace).display());
        }
        self.remove().await;
        figures
    }

    async fn remove(&self) {
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        // It may not be there.
        let _ = self.pods().delete(POD, &at_once).await;
        wait::until("the former load is gone", WITHIN, async || match self.pods().get_opt(POD).await {
            Ok(None) => Ok(()),
            other => Err(format!("{:?}", other.map(|_| "it is there"))),
        })
        .await;
    }

    async fn last_line(&self) -> Option<String> {
        self.log(1).await.lines().last().map(str::to_owned)
    }

    async fn log(&self, lines: i64) -> String {
        let parameters = LogParams { tail_lines: Some(lines), ..LogParams::default() };
        self.pods().logs(POD, &parameters).await.unwrap_or_default()
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.store.kubernetes.client.clone(), &self.store.namespace)
    }
}

impl Figures {
    /// Every request was answered, and by what an order explains.
    pub fn assert_unharmed(&self) {
        assert!(self.linearizable, "{self:?}");
        assert!(self.operations > 1_000, "too little to say anything: {self:?}");
        assert_eq!((self.failed, self.unknown), (0, 0), "{self:?}");
    }
}
