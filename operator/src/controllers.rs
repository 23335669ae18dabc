//! Wakes the reconciliation of a cluster whenever something of it changes.

use std::{sync::Arc, time::Duration};

use futures::{
    StreamExt,
    channel::mpsc,
    future::{BoxFuture, join_all},
    stream::BoxStream,
};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        controller::{self, Action, Config, Controller},
        reflector::ObjectRef,
        watcher,
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::KvCluster,
    api_server::WATCH_SECONDS,
    metrics::Metrics,
    nodes::ClusterKey,
    reconcile::{
        driver::{Error, Reconciler, Round},
        names::{APP_NAME, CLUSTER_LABEL, MANAGER},
    },
    telemetry::causes,
};

/// Rounds that run at the same time, of different clusters.
const CONCURRENT_ROUNDS: u16 = 8;
/// What changes within this time is looked at once.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// A round that takes longer is given up, and begun anew later.
const LONGEST_ROUND: Duration = Duration::from_secs(60);
/// After a round that failed, the next one waits this long, doubled each time…
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// …and at most this long.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// Wakes that may wait for the controller; one more is dropped, since a round at rest follows within a minute anyway.
pub const WAITING_WAKES: usize = 1024;

/// What wakes a cluster's reconciliation from outside Kubernetes.
pub type Wakes = mpsc::Receiver<ObjectRef<KvCluster>>;

struct Context {
    reconciler: Arc<Reconciler>,
    metrics: Metrics,
    failures: Failures,
}

impl Context {
    fn forget(&self, name: &str, namespace: Option<&str>) {
        let key = ClusterKey { namespace: namespace.unwrap_or_default().to_owned(), name: name.to_owned() };
        self.reconciler.forget(&key);
        self.metrics.cluster(&key.namespace, &key.name, None);
        self.failures.forget(&(key.namespace, key.name));
    }
}

/// Runs until `shutdown`, then ends when the rounds that run have ended.
pub async fn run(
    client: Client,
    namespaces: &[String],
    reconciler: Arc<Reconciler>,
    metrics: Metrics,
    wakes: Wakes,
    shutdown: CancellationToken,
) {
    let context = Arc::new(Context { reconciler, metrics, failures: Failures::default() });
    if namespaces.is_empty() {
        of_namespace(client, None, context, wakes.boxed(), shutdown).await;
        return;
    }
    let (controllers, mut senders) = namespaces
        .iter()
        .map(|namespace| {
            let (sender, receiver) = mpsc::channel(WAITING_WAKES);
            let running =
                of_namespace(client.clone(), Some(namespace), context.clone(), receiver.boxed(), shutdown.clone());
            (running, (namespace.clone(), sender))
        })
        .unzip::<_, _, Vec<_>, Vec<_>>();
    let sort = wakes.for_each(move |wake| {
        for (namespace, sender) in &mut senders {
            if wake.namespace.as_ref() == Some(namespace) {
                // A full queue has this one's kind in it already: see WAITING_WAKES.
                let _ = sender.try_send(wake.clone());
            }
        }
        async {}
    });
    tokio::select! {
        _ = join_all(controllers) => {}
        () = sort => {}
    }
}

async fn of_namespace(
    client: Client,
    namespace: Option<&String>,
    context: Arc<Context>,
    wakes: BoxStream<'static, ObjectRef<KvCluster>>,
    shutdown: CancellationToken,
) {
    let ours = watched().labels(&format!("app.kubernetes.io/managed-by={MANAGER}"));
    let parts = watched().labels(&format!("app.kubernetes.io/name={APP_NAME}"));
    let config = Config::default().debounce(DEBOUNCE).concurrency(CONCURRENT_ROUNDS);
    Controller::new(api::<KvCluster>(&client, namespace), watched())
        .with_config(config)
        .owns(api::<StatefulSet>(&client, namespace), ours.clone())
        .owns(api::<Service>(&client, namespace), ours.clone())
        .owns(api::<ServiceAccount>(&client, namespace), ours.clone())
        .owns(api::<ConfigMap>(&client, namespace), ours.clone())
        .owns(api::<Secret>(&client, namespace), ours.clone())
        .owns(api::<PodDisruptionBudget>(&client, namespace), ours.clone())
        .owns(api::<NetworkPolicy>(&client, namespace), ours)
        .watches(api::<Pod>(&client, namespace), parts.clone(), |pod| cluster_of(&pod))
        .watches(api::<PersistentVolumeClaim>(&client, namespace), parts, |claim| cluster_of(&claim))
        .reconcile_on(wakes)
        .graceful_shutdown_on(async move { shutdown.cancelled().await })
        .run(round, failed, context.clone())
        .for_each(|outcome| {
            match outcome {
                // Its parts go after it, and wake it once more.
                Err(controller::Error::ObjectNotFound(gone)) => context.forget(&gone.name, gone.namespace.as_deref()),
                // The errors of rounds are logged by `failed`; what is left is a watch that is opened anew.
                Err(error) => tracing::debug!(%error, "controller"),
                Ok(_) => {}
            }
            async {}
        })
        .await;
}

/// A watch whose connection has died without a word is opened anew within a minute.
fn watched() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

async fn round(cluster: Arc<KvCluster>, context: Arc<Context>) -> Result<Action, RoundError> {
    let key = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let timer = context.metrics.round();
    let reconciler = context.reconciler.clone();
    // Boxed: the compiler can't see through all of it that it may be sent between threads.
    let reconciling: BoxFuture<'static, Result<Round, Error>> =
        Box::pin(async move { Box::pin(reconciler.reconcile(cluster)).await });
    let outcome = tokio::time::timeout(LONGEST_ROUND, reconciling).await;
    timer.finish(matches!(outcome, Ok(Ok(_))));
    let Round { next, phase } = outcome.map_err(|_| RoundError::TooLong)?.map_err(Box::new)?;
    context.metrics.cluster(&key.0, &key.1, phase);
    context.failures.forget(&key);
    Ok(Action::requeue(next))
}

/// What ended a round.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Failed(#[from] Box<Error>),
    #[error("the round took longer than {LONGEST_ROUND:?}")]
    TooLong,
}

#[allow(clippy::needless_pass_by_value, reason = "the controller gives it so")]
fn failed(cluster: Arc<KvCluster>, error: &RoundError, context: Arc<Context>) -> Action {
    let key = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let retry = context.failures.next(&key);
    tracing::warn!(namespace = key.0, cluster = key.1, error = causes(error), ?retry, "a round failed");
    Action::requeue(retry)
}

fn api<K>(client: &Client, namespace: Option<&String>) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn cluster_of<K: ResourceExt>(part: &K) -> Option<ObjectRef<KvCluster>> {
    let cluster = part.labels().get(CLUSTER_LABEL)?;
    Some(ObjectRef::new(cluster).within(&part.namespace()?))
}

/// How often in a row rounds of a cluster have failed.
#[derive(Debug, Default)]
struct Failures(std::sync::Mutex<std::collections::HashMap<(String, String), u32>>);

impl Failures {
    fn next(&self, key: &(String, String)) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = failures.entry(key.clone()).or_default();
        let retry = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(*count)).min(LONGEST_RETRY);
        *count += 1;
        retry
    }

    fn forget(&self, key: &(String, String)) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(key);
    }
}
