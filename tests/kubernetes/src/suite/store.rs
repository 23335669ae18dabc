use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use kv_operator::api::{ClusterPhase, ConditionKind, ConditionStatus, KvCluster, KvClusterStatus};
use kv_tests::wait;
use serde_json::{Value, json};

use super::Kubernetes;

/// What the issue of the operator promises for a new cluster whose images are there.
pub const RUNNING_WITHIN: Duration = Duration::from_secs(90);

/// A `KvCluster`.
#[derive(Clone)]
pub struct Store<'c> {
    /// Where it runs.
    pub kubernetes: Kubernetes<'c>,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl<'c> Store<'c> {
    /// A store in a fresh namespace; waits until it runs.
    pub async fn running(kubernetes: &Kubernetes<'c>, namespace: &str, spec: &Value) -> Self {
        kubernetes.fresh_namespace(namespace).await;
        let store = Self { kubernetes: kubernetes.clone(), namespace: namespace.into(), name: "demo".into() };
        store.apply(spec).expect("the resource is accepted");
        let took = store.settled(RUNNING_WITHIN).await;
        eprintln!("{namespace}: running after {took:.1?}");
        store
    }

    /// Another store of a namespace that exists; nothing is made yet.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self { name: name.into(), ..self.clone() }
    }

    /// Applies the resource with this specification. The error is what the API server said.
    pub fn apply(&self, spec: &Value) -> Result<String, String> {
        let resource = json!({
            "apiVersion": "kvcluster.io/v1alpha1",
            "kind": "KvCluster",
            "metadata": { "name": self.name },
            "spec": spec,
        });
        self.kubernetes.apply(&self.namespace, &resource.to_string())
    }

    /// Changes parts of the specification.
    pub async fn change(&self, spec: &Value) {
        let patch = json!({ "spec": spec });
        self.resources()
            .patch(&self.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .expect("it is accepted");
    }

    /// The resource.
    pub async fn get(&self) -> KvCluster {
        self.resources().get(&self.name).await.expect("the resource is there")
    }

    /// Its status.
    pub async fn status(&self) -> KvClusterStatus {
        self.get().await.status.unwrap_or_default()
    }

    /// Waits until the status is as asked for. Returns how long that took.
    pub async fn until(
        &self,
        what: &str,
        within: Duration,
        mut holds: impl FnMut(&KvClusterStatus) -> bool,
    ) -> Duration {
        let what = format!("{}/{}: {what}", self.namespace, self.name);
        wait::until(&what, within, async || {
            let resource = self.resources().get(&self.name).await.map_err(|error| error.to_string())?;
            let status = resource.status.clone().unwrap_or_default();
            let current = status.observed_generation == resource.metadata.generation;
            let told = || serde_json::to_string(&status).unwrap_or_default();
            if current && holds(&status) { Ok(()) } else { Err(told()) }
        })
        .await
    }

    /// Waits until it is `Running` as the resource says it should be, and nothing is under way.
    pub async fn settled(&self, within: Duration) -> Duration {
        self.until("it runs, and nothing is under way", within, is_settled).await
    }

    /// Whether it is so now.
    pub async fn is_settled(&self) -> bool {
        let resource = self.get().await;
        let status = resource.status.unwrap_or_default();
        status.observed_generation == resource.metadata.generation && is_settled(&status)
    }

    /// Waits until its homes serve all shards, with all copies and no others: homes that move do so while it is running.
    pub async fn at_home(&self, within: Duration) -> Duration {
        wait::until("every shard is served by its home", within, async || {
            let told = self.kvctl(&format!("{}-0", self.name), &["--output", "json", "shards"])?;
            let told: Value = serde_json::from_str(&told).map_err(|error| format!("{error}: {told}"))?;
            let shards = told["shards"].as_array().ok_or("there are no shards")?;
            match shards.iter().find(|shard| !is_at_home(shard)) {
                Some(shard) => Err(shard.to_string()),
                None => Ok(()),
            }
        })
        .await
    }

    /// Waits until a condition says all these words, in its reason or its message. Returns the message.
    pub async fn told(&self, kind: ConditionKind, status: ConditionStatus, words: &[&str], within: Duration) -> String {
        let mut message = String::new();
        self.until(&format!("{kind:?} is {status:?} and speaks of {words:?}"), within, |current| {
            let found = current.conditions.iter().find(|it| it.kind == kind && it.status == status);
            let said = found.map(|it| format!("{}: {}", it.reason, it.message)).unwrap_or_default();
            message.clone_from(&said);
            words.iter().all(|word| said.contains(word)) && found.is_some()
        })
        .await;
        eprintln!("{}/{}: {message}", self.namespace, self.name);
        message
    }

    /// The pods of a component (`node`, `zookeeper`), by name.
    pub async fn pods(&self, component: &str) -> BTreeMap<String, Pod> {
        let pods: Api<Pod> = Api::namespaced(self.kubernetes.client.clone(), &self.namespace);
        let labels = format!("app.kubernetes.io/instance={},app.kubernetes.io/component={component}", self.name);
        let pods = pods.list(&ListParams::default().labels(&labels)).await.expect("pods are listed");
        pods.into_iter().map(|pod| (pod.name_any(), pod)).collect()
    }

    /// The UIDs of all pods, by name: another one for each pod that was made anew.
    pub async fn uids(&self) -> BTreeMap<String, String> {
        let mut pods = self.pods("node").await;
        pods.extend(self.pods("zookeeper").await);
        pods.into_iter().map(|(name, pod)| (name, pod.uid().unwrap_or_default())).collect()
    }

    /// Runs kvctl in the pod of a node. The error is what it said.
    pub fn kvctl(&self, pod: &str, arguments: &[&str]) -> Result<String, String> {
        let node = format!("{}:7400", self.name);
        let kvctl = ["exec", "--namespace", &self.namespace, pod, "--", "kvctl", "--node", &node];
        self.kubernetes.try_kubectl(&[&kvctl, arguments].concat())
    }

    /// Annotates the resource, as a person does.
    pub fn annotate(&self, annotation: &str) {
        let resource = format!("kvcluster/{}", self.name);
        let annotate = ["annotate", &resource, annotation, "--overwrite", "--namespace", &self.namespace];
        self.kubernetes.kubectl(&annotate);
    }

    /// Deletes the resource and waits until its pods are gone.
    pub async fn delete(&self) {
        self.kubernetes.kubectl(&["delete", "kvcluster", &self.name, "--namespace", &self.namespace, "--wait=true"]);
        wait::until("its pods are gone", Duration::from_secs(90), async || {
            let left = self.uids().await;
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }

    /// The resources of its namespace.
    #[must_use]
    pub fn resources(&self) -> Api<KvCluster> {
        Api::namespaced(self.kubernetes.client.clone(), &self.namespace)
    }
}

fn is_settled(status: &KvClusterStatus) -> bool {
    let progressing = condition(status, ConditionKind::Progressing);
    status.phase == ClusterPhase::Running && progressing == Some(ConditionStatus::False)
}

fn condition(status: &KvClusterStatus, kind: ConditionKind) -> Option<ConditionStatus> {
    status.conditions.iter().find(|condition| condition.kind == kind).map(|condition| condition.status)
}

/// Of a shard as kvctl tells of it.
fn is_at_home(shard: &Value) -> bool {
    let whole = shard["fully_replicated"] == true && shard["served_from"] == "data";
    let copies = shard["replicas"].as_array().is_some_and(|copies| copies.iter().all(|copy| copy["placed"] == true));
    whole && copies && shard["primary"] == shard["home"]
}
