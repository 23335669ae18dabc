use std::{net::TcpStream, path::Path, time::Duration};

use serde_json::json;

use crate::{
    certificates::{Authority, Subject},
    error::Result,
    kubeconfig,
    layout::{Layout, write_file},
    machine::{DISK, Machine, Service, containerd, control_groups::control_group},
    network,
    wait::until,
};

const PORT: u16 = 10250;
const SERVES_WITHIN: Duration = Duration::from_secs(60);
const CONNECTS_WITHIN: Duration = Duration::from_secs(1);
/// The domain of all services' names.
const CLUSTER_DOMAIN: &str = "cluster.local";

pub(super) fn install(disk: &Path, machine: &Machine, authority: &Authority) -> Result<()> {
    let name = machine.name();
    let user = Subject {
        name: &format!("system:node:{name}"),
        group: Some("system:nodes"),
        serves_at: &format!("IP:{},DNS:{name}", machine.address()),
    };
    let certificate = authority.sign(name, &user)?;
    kubeconfig::write(&disk.join("kubelet.kubeconfig"), authority, &certificate)?;
    let configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "tlsCertFile": certificate.certificate,
        "tlsPrivateKeyFile": certificate.key,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": authority.certificate() },
        },
        "authorization": { "mode": "Webhook" },
        "containerRuntimeEndpoint": containerd::endpoint(),
        "podLogsDir": format!("{DISK}/pod-logs"),
        "volumePluginDir": format!("{DISK}/volume-plugins"),
        "clusterDNS": [network::CONTROL_PLANE],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": format!("{DISK}/resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", control_group(name)),
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "oomScoreAdj": 0,
        // A disk that is nearly full is the host's affair.
        "evictionHard": { "memory.available": "1%", "nodefs.available": "1%", "imagefs.available": "1%" },
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": false,
        // A lost machine is noticed, and a changed ConfigMap seen, within seconds.
        "nodeStatusUpdateFrequency": "2s",
        "nodeLeaseDurationSeconds": 8,
        "syncFrequency": "5s",
        // What is killed again and again comes back soon.
        "featureGates": { "KubeletCrashLoopBackOffMax": true },
        "crashLoopBackOff": { "maxContainerRestartPeriod": "5s" },
    });
    write_file(&disk.join("kubelet.json"), kubeconfig::pretty(&configuration)?)
}

pub(super) fn service(layout: &Layout, machine: &Machine) -> Service {
    let name = machine.name();
    let zone = name.rsplit('-').next().unwrap_or(name);
    Service::new(layout, name, "kubelet", layout.program("kubelet")).arguments([
        format!("--config={DISK}/kubelet.json"),
        format!("--kubeconfig={DISK}/kubelet.kubeconfig"),
        format!("--root-dir={DISK}/kubelet"),
        format!("--cert-dir={DISK}/kubelet/pki"),
        format!("--hostname-override={name}"),
        format!("--node-ip={}", machine.address()),
        format!("--node-labels=topology.kubernetes.io/region=local,topology.kubernetes.io/zone=zone-{zone}"),
    ])
}

pub(super) fn wait(layout: &Layout, machine: &Machine) -> Result<()> {
    let service = service(layout, machine);
    let address = format!("{}:{PORT}", machine.address());
    until(&format!("kubelet of {}", machine.name()), SERVES_WITHIN, || {
        service.start().map_err(Err)?;
        let address = address.parse().map_err(|_| Ok(format!("{address} is no address")))?;
        TcpStream::connect_timeout(&address, CONNECTS_WITHIN).map(drop).map_err(|error| Ok(error.to_string()))
    })
}
