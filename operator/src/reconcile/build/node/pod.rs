use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};

use super::super::{
    containers::{Timing, env, http_probe, literal, mount, pod_name, port, security},
    pods::{self, PodParts},
};
use crate::reconcile::{
    names::{BKPDATA, Component, DATA, HTTP_PORT, KV_PORT},
    validated::ValidatedCluster,
};

/// User and group of the image.
const USER: i64 = 65_532;
/// Seconds that a node may take to end: it hands over what it serves, for up to 17 s, and then closes its volumes.
const GRACE: i64 = 60;
/// A node answers `/livez` from its first moment, however long it recovers.
const STARTUP: Timing = Timing { period: 1, timeout: 5, failures: 600 };
const LIVENESS: Timing = Timing { period: 10, timeout: 5, failures: 6 };
const READINESS: Timing = Timing { period: 2, timeout: 2, failures: 2 };

/// The pod of a node. Its zone is not given: reading a machine's labels takes a right that nodes don't have.
pub(super) fn template(cluster: &ValidatedCluster) -> PodTemplateSpec {
    let pods = &cluster.nodes.pods;
    let container = Container {
        name: "kv-node".into(),
        image: Some(pods.image.clone()),
        image_pull_policy: pods.image_pull_policy.clone(),
        command: Some(vec!["/usr/local/bin/kv-node".into()]),
        args: Some(arguments(cluster)),
        env: Some(vec![pod_name(), env("KV_LOG", &cluster.nodes.log_filter)]),
        ports: Some(vec![port("grpc", KV_PORT), port("http", HTTP_PORT)]),
        resources: Some(pods.resources.clone()),
        security_context: Some(security()),
        startup_probe: Some(http_probe("/livez", "http", &STARTUP)),
        liveness_probe: Some(http_probe("/livez", "http", &LIVENESS)),
        readiness_probe: Some(http_probe("/readyz", "http", &READINESS)),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some([DATA, BKPDATA].map(|volume| mount(volume, &mounted_at(volume))).into()),
        ..Container::default()
    };
    let parts = PodParts {
        component: Component::Node,
        init_containers: Vec::new(),
        container,
        volumes: Vec::new(),
        user: USER,
        grace: GRACE,
    };
    pods::template(cluster, pods, parts)
}

fn mounted_at(volume: &str) -> String {
    format!("/var/lib/kv/{volume}")
}

fn arguments(cluster: &ValidatedCluster) -> Vec<String> {
    let names = &cluster.names;
    let host = format!("$(POD_NAME).{}", names.service_host(&names.nodes_headless()));
    let mut arguments = vec![
        "run".to_owned(),
        "--name=$(POD_NAME)".to_owned(),
        format!("--advertise={host}:{KV_PORT}"),
        format!("--zookeeper={}", literal(&cluster.zookeeper_connect())),
    ];
    // Not the volume's own root: file systems have folders there, such as `lost+found`.
    arguments.extend([DATA, BKPDATA].map(|volume| format!("--{volume}={}/node", mounted_at(volume))));
    arguments.extend(cluster.nodes.flags.iter().map(|(flag, value)| format!("--{flag}={}", literal(value))));
    arguments
}
