use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams},
};
use kv_tests::wait;
use serde_json::json;

use super::{ApiProxy, Kubernetes, NAMESPACE};
use crate::{images, network};

/// The operator's pod, when it isn't the Deployment's.
const POD: &str = "operator";
/// A pod begins or is gone within this time.
const WITHIN: Duration = Duration::from_secs(60);

/// An operator in a pod of its own that reaches the API server through a proxy. Meanwhile the Deployment has no pods.
pub struct Lives<'c> {
    kubernetes: Kubernetes<'c>,
    /// Between the operator and the API server.
    pub proxy: ApiProxy,
}

impl<'c> Lives<'c> {
    /// Takes the operator's place.
    pub async fn take_over(kubernetes: &Kubernetes<'c>) -> Self {
        let proxy = ApiProxy::start(kubernetes.client.clone()).await;
        scale(&kubernetes.client, 0).await;
        let pods: Api<Pod> = Api::namespaced(kubernetes.client.clone(), NAMESPACE);
        wait::until("the Deployment's operator is gone", WITHIN, async || {
            let left = pods.list(&ListParams::default().labels("app.kubernetes.io/name=kv-operator")).await;
            let left = left.map_err(|error| error.to_string())?.items.len();
            if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
        })
        .await;
        let lives = Self { kubernetes: kubernetes.clone(), proxy };
        lives.end().await;
        lives
    }

    /// Begins a life. What ends it is the proxy's business.
    pub async fn begin(&self) {
        let server = format!("http://{}:{}", network::HOST, self.proxy.port);
        // The proxy speaks plainly, but a client without any certificate authority does not start.
        let authority = ["get", "configmap", "kube-root-ca.crt", "--namespace", NAMESPACE];
        let authority = self.kubernetes.kubectl(&[&authority[..], &["--output", r"jsonpath={.data.ca\.crt}"]].concat());
        let authority = STANDARD.encode(authority);
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "contexts": [{ "name": "proxy", "context": { "cluster": "proxy", "user": "proxy" } }],
            "clusters": [{ "name": "proxy", "cluster": { "server": server, "certificate-authority-data": authority } }],
            "users": [{ "name": "proxy", "user": {} }],
        });
        let config = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": POD, "namespace": NAMESPACE },
            "data": { "config": kubeconfig.to_string() },
        });
        self.kubernetes.apply(NAMESPACE, &config.to_string()).expect("the ConfigMap is made");
        // The former one had no time to give it back.
        self.kubernetes.kubectl(&["delete", "lease", "--all", "--namespace", NAMESPACE]);
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": POD, "labels": { "app.kubernetes.io/name": "kv-operator" } },
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "operator",
                    "image": images::OPERATOR,
                    "args": ["run"],
                    "env": [
                        { "name": "KUBECONFIG", "value": "/config/config" },
                        { "name": "POD_NAMESPACE", "value": NAMESPACE },
                        { "name": "KV_OPERATOR_NODE_IMAGE", "value": images::NODE },
                        { "name": "KV_OPERATOR_ZOOKEEPER_IMAGE", "value": images::ZOOKEEPER },
                    ],
                    "volumeMounts": [{ "name": "config", "mountPath": "/config" }],
                }],
                "volumes": [{ "name": "config", "configMap": { "name": POD } }],
            },
        });
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        self.pods().create(&PostParams::default(), &pod).await.expect("the pod is made");
    }

    /// Ends it, however far it is.
    pub async fn end(&self) {
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        // It may not be there.
        let _ = self.pods().delete(POD, &at_once).await;
        wait::until("the operator's pod is gone", WITHIN, async || match self.pods().get_opt(POD).await {
            Ok(None) => Ok(()),
            other => Err(format!("{:?}", other.map(|_| "it is there"))),
        })
        .await;
    }

    /// What the operator has logged last.
    pub async fn log(&self) -> String {
        let parameters = LogParams { tail_lines: Some(60), ..LogParams::default() };
        self.pods().logs(POD, &parameters).await.unwrap_or_default()
    }

    /// Gives the operator's place back to the Deployment.
    pub async fn give_back(self) {
        self.end().await;
        scale(&self.kubernetes.client, 1).await;
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.kubernetes.client.clone(), NAMESPACE)
    }
}

async fn scale(client: &Client, replicas: i32) {
    use k8s_openapi::api::apps::v1::Deployment;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
    deployments.patch("kv-operator", &PatchParams::default(), &patch).await.expect("the Deployment is scaled");
}
