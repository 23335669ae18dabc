use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use kv_tests::wait;
use serde_json::json;

use crate::{Cluster, Layout, command::run_with_input, images, run_to_end};

/// Where the suites install the operator.
pub const NAMESPACE: &str = "kv-system";
/// The label of suites' namespaces.
const LEFT: &str = "kvcluster.io/suite";
/// A namespace is gone within this time, whatever was in it.
const GONE_WITHIN: Duration = Duration::from_secs(90);

/// A Kubernetes cluster that the operator is installed on.
#[derive(Clone)]
pub struct Kubernetes<'c> {
    /// The cluster.
    pub cluster: &'c Cluster,
    /// The administrator.
    pub client: Client,
}

impl<'c> Kubernetes<'c> {
    /// The cluster with the operator as it was built last.
    pub async fn with_operator(cluster: &'c Cluster) -> Self {
        let client = cluster.client().await.expect("the API server's client");
        let kubernetes = Self { cluster, client };
        kubernetes.kubectl(&["delete", "namespaces", "--selector", LEFT, "--wait=false"]);
        kubernetes.install_operator(&[]);
        // Whatever a former suite has done to it: this one begins with an operator that has never failed.
        kubernetes.restart_operator();
        kubernetes.until_left_pods_are_gone().await;
        kubernetes
    }

    /// The same for suites that run beside each other: whoever else uses the operator and the namespaces goes on.
    pub async fn beside_others(cluster: &'c Cluster) -> Self {
        static ONE_BY_ONE: Mutex<()> = Mutex::new(());
        let client = cluster.client().await.expect("the API server's client");
        let kubernetes = Self { cluster, client };
        let one = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
        kubernetes.install_operator(&[]);
        drop(one);
        kubernetes
    }

    /// What former suites have left would take the processors from this one. (Namespaces themselves go later: Kubernetes looks at them
    /// again only after half of their pods' grace periods.)
    async fn until_left_pods_are_gone(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        wait::until("the pods of former suites are gone", GONE_WITHIN, async || {
            let left = namespaces.list(&ListParams::default().labels(LEFT)).await.map_err(|error| error.to_string())?;
            for namespace in left {
                let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace.name_any());
                let pods = pods.list(&ListParams::default().limit(1)).await.map_err(|error| error.to_string())?;
                if let Some(pod) = pods.items.first() {
                    return Err(format!("{}/{}", namespace.name_any(), pod.name_any()));
                }
            }
            Ok(())
        })
        .await;
    }

    /// Its pod is made anew, on another machine than this one.
    pub fn keep_operator_off(&self, machine: &str) {
        self.kubectl(&["cordon", machine]);
        self.restart_operator();
        self.kubectl(&["uncordon", machine]);
    }

    fn restart_operator(&self) {
        let deployment = ["deployment/kv-operator", "--namespace", NAMESPACE];
        self.kubectl(&[&["rollout", "restart"], &deployment[..]].concat());
        self.kubectl(&[&["rollout", "status", "--timeout=90s"], &deployment[..]].concat());
    }

    /// As README says, with the images that were made here.
    pub fn install_operator(&self, more: &[&str]) {
        let tree = Layout::of_this_tree().expect("the source tree");
        let chart = tree.tree().join("charts/kv-operator");
        let chart = chart.to_string_lossy();
        let (operator, tag) = images::OPERATOR.rsplit_once(':').expect("a tag");
        let values = [
            format!("image.repository={operator}"),
            format!("image.tag={tag}"),
            format!("nodeImage={}", images::NODE),
            format!("zookeeperImage={}", images::ZOOKEEPER),
            // The image's name is always the same: the pod is another one when the program is.
            format!("podAnnotations.built=at-{}", built_at()),
        ];
        let mut arguments =
            vec!["upgrade", "--install", "kv", &chart, "--namespace", NAMESPACE, "--create-namespace", "--wait"];
        for value in &values {
            arguments.extend(["--set", value]);
        }
        arguments.extend(more);
        self.helm(&arguments);
    }

    /// Runs helm; what it says is returned.
    pub fn helm(&self, arguments: &[&str]) -> String {
        run(&mut self.cluster.helm(), arguments).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs kubectl; what it says is returned.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same for what may fail: the error is what it said.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        run(&mut self.cluster.kubectl(), arguments)
    }

    /// Writes down what all pods of a namespace have logged. Returns the folder.
    pub fn keep_logs(&self, namespace: &str) -> PathBuf {
        let folder = Layout::of_this_tree().expect("the source tree").logs().join(namespace);
        fs::create_dir_all(&folder).expect("the folder is made");
        let names = ["get", "pods", "--namespace", namespace, "--output", "name"];
        for pod in self.kubectl(&names).lines() {
            let logs = ["logs", "--namespace", namespace, "--timestamps", "--all-containers", pod];
            // One that has not started has none.
            let text = self.try_kubectl(&logs).unwrap_or_else(|error| error);
            fs::write(folder.join(pod.replace('/', "-")), text).expect("the log is written");
        }
        folder
    }

    /// Applies a manifest, as it is typed. Errors are the API server's words.
    pub fn apply(&self, namespace: &str, manifest: &str) -> Result<String, String> {
        let mut kubectl = self.cluster.kubectl();
        kubectl.args(["apply", "--namespace", namespace, "--filename", "-"]);
        run_with_input(&mut kubectl, manifest).map_err(|error| error.to_string())
    }

    /// A namespace of the strictest kind, empty.
    pub async fn fresh_namespace(&self, name: &str) {
        self.delete_namespace(name).await;
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": name, "labels": {
                LEFT: name,
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/enforce-version": "latest",
            }},
        });
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let applied = namespaces.patch(name, &PatchParams::apply("kv-suites"), &Patch::Apply(namespace)).await;
        applied.expect("the namespace is made");
    }

    /// Begins to delete a namespace: the next suite waits for its pods only.
    pub async fn leave_namespace(&self, name: &str) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        // It may not be there.
        let _ = namespaces.delete(name, &DeleteParams::default()).await;
    }

    /// Deletes a namespace with all that is in it. Returns how long that took.
    pub async fn delete_namespace(&self, name: &str) -> Duration {
        self.leave_namespace(name).await;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        wait::until(&format!("the namespace {name} is gone"), GONE_WITHIN, async || {
            match namespaces.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(namespace)) => Err(format!("{:?}", namespace.status)),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }
}

fn run(program: &mut Command, arguments: &[&str]) -> Result<String, String> {
    run_to_end(program.args(arguments)).map_err(|error| error.to_string())
}

/// When the operator was built last, in seconds.
fn built_at() -> u64 {
    let here = std::env::current_exe().expect("a test is a program");
    let program = here.ancestors().nth(2).expect("target/debug").join("kv-operator");
    let built = program.metadata().and_then(|file| file.modified()).ok();
    built.and_then(|built| built.duration_since(std::time::UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
}
