use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, Container, PodTemplateSpec, Volume, VolumeMount};

use super::{
    super::{
        containers::{
            Timing, empty_dir, env, exec_probe, folder_mount, mount, pod_name, port, read_only, secret_env, security,
        },
        pods::{self, PodParts},
    },
    secret::SUPER_DIGEST_KEY,
    services::{CLIENT_PORT, ELECTION_PORT, PEER_PORT},
};
use crate::reconcile::{
    names::{Component, DATA},
    validated::{ManagedZooKeeper, ValidatedCluster},
};

/// User and group of the image.
const USER: i64 = 1000;
/// Seconds that a member may take to end.
const GRACE: i64 = 30;
/// Long enough to load a large database: a member answers once it has.
const STARTUP: Timing = Timing { period: 2, timeout: 5, failures: 900 };
const LIVENESS: Timing = Timing { period: 10, timeout: 5, failures: 6 };
const READINESS: Timing = Timing { period: 3, timeout: 5, failures: 2 };

/// Our program: as the nodes' image has it, where it copies itself to, and there.
const PROGRAM: &str = "/usr/local/bin/kv-zookeeper-member";
const TOOLS: &str = "/opt/kv";
const INSTALLED: &str = "/opt/kv/kv-zookeeper-member";
/// Where the init container finds who the ensemble is.
const ENSEMBLE: &str = "/ensemble";
/// Folders of the claim. Configuration and logs are on it too: a member that lost either would forget what it has promised.
const FOLDERS: [(&str, &str); 3] = [("conf", "/conf"), ("data", "/data"), ("datalog", "/datalog")];

/// The pod of a member.
pub(super) fn template(cluster: &ValidatedCluster, managed: &ManagedZooKeeper) -> PodTemplateSpec {
    let record = ConfigMapVolumeSource { name: cluster.names.zookeeper(), ..ConfigMapVolumeSource::default() };
    let parts = PodParts {
        component: Component::ZooKeeper,
        init_containers: vec![configure(cluster, managed)],
        container: zookeeper(managed),
        volumes: vec![
            Volume { name: "ensemble".into(), config_map: Some(record), ..Volume::default() },
            empty_dir("tools", "256Mi"),
            empty_dir("logs", "64Mi"),
            empty_dir("tmp", "64Mi"),
        ],
        user: USER,
        grace: GRACE,
    };
    pods::template(cluster, &managed.pods, parts)
}

/// Writes the configuration, or refuses to let ZooKeeper start.
fn configure(cluster: &ValidatedCluster, managed: &ManagedZooKeeper) -> Container {
    let names = &cluster.names;
    let host = format!("$(POD_NAME).{}", names.service_host(&names.zookeeper()));
    let mut mounts = vec![read_only(mount("ensemble", ENSEMBLE)), mount("tools", TOOLS)];
    mounts.extend(claim_mounts());
    Container {
        name: "configure".into(),
        image: Some(managed.init_image.clone()),
        command: Some(vec![PROGRAM.into()]),
        args: Some(vec![
            "configure".into(),
            "--pod-name=$(POD_NAME)".into(),
            format!("--host={host}"),
            format!("--ensemble={ENSEMBLE}"),
            format!("--install={TOOLS}"),
        ]),
        env: Some(vec![pod_name(), secret_env("ZOOKEEPER_SUPER_DIGEST", names.zookeeper(), SUPER_DIGEST_KEY)]),
        volume_mounts: Some(mounts),
        ..common(managed)
    }
}

fn zookeeper(managed: &ManagedZooKeeper) -> Container {
    let heap = managed.heap_mib;
    // Addresses change with every pod: a name is looked up again after 5 s. Half alive for want of memory is worse than restarted.
    let flags =
        format!("-Xms{heap}m -Xmx{heap}m -XX:+ExitOnOutOfMemoryError -XX:-UsePerfData -Dsun.net.inetaddr.ttl=5");
    let mut mounts = vec![read_only(mount("tools", TOOLS)), mount("logs", "/logs"), mount("tmp", "/tmp")];
    mounts.extend(claim_mounts());
    Container {
        name: "zookeeper".into(),
        image: Some(managed.pods.image.clone()),
        args: Some(vec!["zkServer.sh".into(), "start-foreground".into()]),
        env: Some(vec![env("ZOOCFGDIR", "/conf"), env("JVMFLAGS", &flags)]),
        ports: Some([CLIENT_PORT, PEER_PORT, ELECTION_PORT].map(|(name, number)| port(name, number)).into()),
        startup_probe: Some(exec_probe(&[INSTALLED, "alive"], &STARTUP)),
        liveness_probe: Some(exec_probe(&[INSTALLED, "alive"], &LIVENESS)),
        readiness_probe: Some(exec_probe(&[INSTALLED, "ready"], &READINESS)),
        volume_mounts: Some(mounts),
        ..common(managed)
    }
}

fn common(managed: &ManagedZooKeeper) -> Container {
    Container {
        image_pull_policy: managed.pods.image_pull_policy.clone(),
        // Those of the init container count for nothing beside it, and a quota may ask for them.
        resources: Some(managed.pods.resources.clone()),
        security_context: Some(security()),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    }
}

fn claim_mounts() -> impl Iterator<Item = VolumeMount> {
    FOLDERS.iter().map(|(folder, path)| folder_mount(DATA, folder, path))
}
