//! At rest the operator writes nothing but its Lease's renewal: the API server's audit log says so.

use std::{fs, time::Duration};

use kv_kubernetes::{
    Cluster, Image, Mark, Write, run,
    suite::{Kubernetes, NAMESPACE, Store},
};
use kv_tests::wait;
use serde_json::json;

/// All stores run within this time.
const RUNNING_WITHIN: Duration = Duration::from_secs(600);
/// The count begins when nothing was written for so long.
const QUIET_FOR: Duration = Duration::from_secs(10);
/// That comes about within this time.
const QUIET_WITHIN: Duration = Duration::from_secs(60);
/// The operator's resident memory, in KiB.
const MEMORY: u64 = 64 << 10;

/// Stores and seconds: a few by default, all that the operator is made for with `KV_KUBERNETES_FULL`.
fn extent() -> (usize, Duration) {
    if std::env::var_os("KV_KUBERNETES_FULL").is_some() {
        (20, Duration::from_secs(300))
    } else {
        (2, Duration::from_secs(30))
    }
}

#[test]
fn at_rest_nothing_is_written_but_the_lease() {
    run(&Image::OF_KV_CLUSTERS, async |cluster| {
        let (count, time) = extent();
        let kubernetes = Kubernetes::with_operator(cluster).await;
        let zookeeper =
            Store::running(&kubernetes, "kv-rest", &json!({ "nodes": 1, "zookeeper": { "nodes": 1 } })).await;
        let spec = json!({
            "nodes": 1,
            "zookeeper": { "external": { "connect": "demo-zk-client.kv-rest.svc.cluster.local:2181" } },
            "resources": { "requests": { "cpu": "10m", "memory": "32Mi" } },
        });
        let stores: Vec<_> = (0..count).map(|number| zookeeper.named(&format!("rest-{number}"))).collect();
        for store in &stores {
            store.apply(&spec).expect("it is accepted");
        }
        for store in &stores {
            store.settled(RUNNING_WITHIN).await;
        }
        until_quiet(cluster).await;
        let mark = cluster.audit_mark().expect("an audit log");
        tokio::time::sleep(time).await;
        let (leases, others) = writes_of_the_operator(cluster, mark);
        let memory = resident_memory();
        eprintln!(
            "{} stores at rest for {time:?}: {} writes of the Lease, {} others, {} MiB",
            count + 1,
            leases.len(),
            others.len(),
            memory >> 10
        );
        assert!(others.is_empty(), "{others:#?}");
        assert!(!leases.is_empty(), "it lives: its Lease is renewed");
        assert!(memory < MEMORY, "{} MiB", memory >> 10);
        kubernetes.leave_namespace("kv-rest").await;
    });
}

/// Waits until what the last start has to tell is told.
async fn until_quiet(cluster: &Cluster) {
    wait::until("the operator writes nothing", QUIET_WITHIN, async || {
        let mark = cluster.audit_mark().expect("an audit log");
        tokio::time::sleep(QUIET_FOR).await;
        let (_, others) = writes_of_the_operator(cluster, mark);
        if others.is_empty() { Ok(()) } else { Err(format!("{others:?}")) }
    })
    .await;
}

/// Renewals of its Lease, and others.
fn writes_of_the_operator(cluster: &Cluster, mark: Mark) -> (Vec<Write>, Vec<Write>) {
    let user = format!("system:serviceaccount:{NAMESPACE}:");
    let writes = cluster.writes_since(mark).expect("the audit log");
    let ours = writes.into_iter().filter(|write| write.user.username.starts_with(&user));
    ours.partition(|write| write.object_ref.resource == "leases")
}

/// In KiB, of the operator's process: pods are processes of this host.
fn resident_memory() -> u64 {
    let of = |status: &str, field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field).map(str::trim).map(str::to_owned));
        line.unwrap_or_default()
    };
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let statuses = processes.filter_map(|process| fs::read_to_string(process.path().join("status")).ok());
    let sizes = statuses
        .filter(|status| of(status, "Name:") == "kv-operator")
        .filter_map(|status| of(&status, "VmRSS:").split(' ').next()?.parse::<u64>().ok());
    sizes.max().expect("the operator is a process of this host")
}
