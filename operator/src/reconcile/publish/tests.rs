use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::Request,
    http::{Method, StatusCode},
    response::IntoResponse,
};
use kube::Config;
use serde_json::Value;

use super::*;
use crate::{
    api::{ClusterPhase, Condition, ConditionKind, ConditionStatus, NodeRole, NodeStatus},
    reconcile::fixtures,
};

/// A request that an API server was sent.
#[derive(Clone, Debug)]
struct Sent {
    method: Method,
    path: String,
    query: String,
    body: Value,
}

/// Stands for an API server: it answers everything with `code` and keeps what it was sent.
async fn api_server(code: StatusCode) -> (Client, Arc<Mutex<Vec<Sent>>>) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let keep = sent.clone();
    let router = Router::new().fallback(async move |request: Request| {
        let (parts, body) = request.into_parts();
        let body: Bytes = to_bytes(body, 1 << 20).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let answer = match code {
            StatusCode::OK => body.clone(),
            refused => json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": refused.as_u16(),
                "reason": "", "message": "no" }),
        };
        let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
        let answer = match path.ends_with("/status") && code == StatusCode::OK {
            true => with_spec(answer),
            false => answer,
        };
        keep.lock().unwrap().push(Sent { method: parts.method, path, query, body });
        (code, [("content-type", "application/json")], answer.to_string()).into_response()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let config = Config::new(format!("http://{address}").parse().unwrap());
    (Client::try_from(config).unwrap(), sent)
}

/// What is applied has no specification, and the answer does.
fn with_spec(mut object: Value) -> Value {
    object["spec"] = json!({});
    object
}

fn resource(status: Option<KvClusterStatus>) -> KvCluster {
    let mut resource = fixtures::resource("{}");
    resource.meta_mut().resource_version = Some("42".into());
    resource.status = status;
    resource
}

fn status() -> KvClusterStatus {
    let node =
        |name: &str| NodeStatus { name: name.into(), ready: true, role: NodeRole::Slave, ..NodeStatus::default() };
    let condition = |kind, status, reason: &str| Condition {
        kind,
        status,
        reason: reason.into(),
        message: format!("{reason}: more"),
        last_transition_time: k8s_openapi::jiff::Timestamp::UNIX_EPOCH.into(),
        observed_generation: Some(1),
    };
    KvClusterStatus {
        phase: ClusterPhase::Running,
        ready: "2/2".into(),
        master: Some("demo-0".into()),
        nodes: vec![node("demo-0"), node("demo-1")],
        conditions: vec![
            condition(ConditionKind::Available, ConditionStatus::True, "AllShardsServed"),
            condition(ConditionKind::Progressing, ConditionStatus::False, "AsWished"),
            condition(ConditionKind::Degraded, ConditionStatus::False, "NothingMissing"),
            condition(ConditionKind::ZooKeeperQuorum, ConditionStatus::True, "MembersServe"),
            condition(ConditionKind::StorageReady, ConditionStatus::True, "VolumesBound"),
        ],
        ..KvClusterStatus::default()
    }
}

fn set(status: &mut KvClusterStatus, kind: ConditionKind, to: ConditionStatus, reason: &str) {
    let condition = status.conditions.iter_mut().find(|condition| condition.kind == kind).expect("it is there");
    (condition.status, condition.reason) = (to, reason.into());
    condition.message = format!("{reason}: more");
}

/// Reasons of what is told when `change` is made to a cluster at rest.
fn told(change: impl FnOnce(&mut KvClusterStatus)) -> Vec<String> {
    let (before, mut after) = (status(), status());
    change(&mut after);
    changes(&before, &after).into_iter().map(|change| change.reason).collect()
}

#[tokio::test]
async fn a_status_that_is_the_same_is_not_sent() {
    let (client, sent) = api_server(StatusCode::OK).await;
    let published = publish(&client, &resource(Some(status())), status()).await.unwrap();
    assert_eq!(published, Published::Unchanged);
    assert!(sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_new_status_is_applied_to_the_version_that_was_read_and_then_told() {
    let (client, sent) = api_server(StatusCode::OK).await;
    let mut after = status();
    after.master = Some("demo-1".into());
    let published = publish(&client, &resource(Some(status())), after).await.unwrap();
    assert_eq!(published, Published::Written);
    let sent = sent.lock().unwrap().clone();
    let [apply, event] = &sent[..] else { panic!("a status and an event: {sent:?}") };
    assert_eq!(
        (&apply.method, apply.path.as_str()),
        (&Method::PATCH, "/apis/kvcluster.io/v1alpha1/namespaces/default/kvclusters/demo/status")
    );
    assert!(apply.query.contains("fieldManager=kv-operator-status") && apply.query.contains("force=true"), "{apply:?}");
    assert_eq!(apply.body["metadata"]["resourceVersion"], "42");
    assert_eq!(apply.body["status"]["master"], "demo-1");
    assert_eq!(
        (&event.method, event.path.as_str()),
        (&Method::POST, "/apis/events.k8s.io/v1/namespaces/default/events")
    );
    assert_eq!(event.body["reason"], "NewMaster");
    assert_eq!(event.body["note"], "demo-1 is the master; before, demo-0 was");
    assert_eq!(event.body["regarding"]["name"], "demo");
}

#[tokio::test]
async fn a_status_made_from_an_old_version_tells_nothing() {
    let (client, sent) = api_server(StatusCode::CONFLICT).await;
    let published = publish(&client, &resource(None), status()).await.unwrap();
    assert_eq!((published, sent.lock().unwrap().len()), (Published::Outdated, 1));
}

#[tokio::test]
async fn a_status_that_is_refused_is_an_error() {
    let (client, _sent) = api_server(StatusCode::UNPROCESSABLE_ENTITY).await;
    let error = publish(&client, &resource(None), status()).await.expect_err("it was refused");
    assert_eq!(error.to_string(), "can't write the status of default/demo");
}

#[test]
fn what_stays_is_not_told_again() {
    assert!(told(|_| ()).is_empty());
    assert!(told(|after| after.message = "other words".into()).is_empty());
    let mut stopped = status();
    set(&mut stopped, ConditionKind::ZooKeeperQuorum, ConditionStatus::False, "QuorumLost");
    assert!(changes(&stopped, &stopped).is_empty());
}

#[test]
fn roles_and_nodes_that_change_are_told() {
    assert_eq!(told(|after| after.master = Some("demo-1".into())), ["NewMaster"]);
    assert_eq!(told(|after| after.sub_master = Some("demo-1".into())), ["NewSubMaster"]);
    assert_eq!(told(|after| after.master = None), [""; 0]);
    assert_eq!(told(|after| after.nodes[1].ready = false), ["NodeDown"]);
    assert_eq!(told(|after| after.nodes[1].role = NodeRole::Gone), ["NodeDown"]);
    let mut down = status();
    down.nodes[1].ready = false;
    assert_eq!(changes(&down, &status())[0].reason, "NodeUp");
}

#[test]
fn conditions_that_change_are_told_once_with_their_reason() {
    use ConditionKind::{Available, Degraded, Progressing, StorageReady, ZooKeeperQuorum};
    use ConditionStatus::{False, True};
    let one = |kind, to, reason| told(|after| set(after, kind, to, reason));
    assert_eq!(one(ZooKeeperQuorum, False, "QuorumLost"), ["QuorumLost"]);
    assert_eq!(one(Progressing, True, "RollingOut"), ["RollingOut"]);
    assert_eq!(one(Progressing, False, "NodesSilent"), ["NodesSilent"]);
    assert_eq!(one(Degraded, True, "ImagePullBackOff"), ["ImagePullBackOff"]);
    assert_eq!(one(StorageReady, False, "StorageClassMissing"), ["StorageClassMissing"]);
    assert_eq!(one(StorageReady, False, "VolumesPending"), [""; 0]);
    // The same fault shows in two conditions.
    let both = told(|after| {
        set(after, Available, False, "ShardsNotServed");
        set(after, Degraded, True, "ShardsNotServed");
    });
    assert_eq!(both, ["ShardsNotServed"]);

    let back = |kind, from, reason| {
        let mut before = status();
        set(&mut before, kind, from, reason);
        changes(&before, &status()).into_iter().map(|change| change.reason).collect::<Vec<_>>()
    };
    assert_eq!(back(ZooKeeperQuorum, False, "QuorumLost"), ["ZooKeeperQuorumBack"]);
    assert_eq!(back(Progressing, True, "ScalingOut"), ["ChangeFinished"]);
    assert_eq!(back(Available, False, "Creating"), ["Available"]);
    assert_eq!(back(Degraded, True, "NodeNotReady"), ["Recovered"]);
}
