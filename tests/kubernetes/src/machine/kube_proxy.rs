use std::path::Path;

use serde_json::json;

use crate::{
    certificates::{Authority, Subject},
    error::Result,
    kubeconfig,
    layout::{Layout, write_file},
    machine::{DISK, Machine, Service},
    network,
};

pub(super) fn install(disk: &Path, machine: &Machine, authority: &Authority) -> Result<()> {
    let user = Subject { name: "system:kube-proxy", group: None, serves_at: "" };
    let certificate = authority.sign(&format!("kube-proxy-{}", machine.name()), &user)?;
    let file = "kube-proxy.kubeconfig";
    kubeconfig::write(&disk.join(file), authority, &certificate)?;
    let configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": { "kubeconfig": format!("{DISK}/{file}") },
        "hostnameOverride": machine.name(),
        "mode": "iptables",
        "clusterCIDR": network::PODS,
        "bindAddress": machine.address(),
        "oomScoreAdj": 0,
        // Limits of the host, which a machine can't change.
        "conntrack": { "maxPerCore": 0, "min": 0 },
        // A changed service is followed soon.
        "iptables": { "minSyncPeriod": "200ms" },
    });
    write_file(&disk.join("kube-proxy.json"), kubeconfig::pretty(&configuration)?)
}

pub(super) fn service(layout: &Layout, machine: &str) -> Service {
    let arguments = [format!("--config={DISK}/kube-proxy.json")];
    Service::new(layout, machine, "kube-proxy", layout.program("kube-proxy")).arguments(arguments)
}
