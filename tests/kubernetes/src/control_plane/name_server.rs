//! CoreDNS. It is where the API server is, and not on a machine: a machine that is cut off takes nobody's names along.

use crate::{
    error::Result,
    layout::{Layout, write_file},
    machine::{CONTROL_PLANE, DISK, Service},
    network,
};

pub(super) const USER: &str = "system:coredns";

/// What it may read.
pub(super) const MANIFEST: &str = include_str!("../../manifests/name-server.yaml");

pub(super) fn install(layout: &Layout) -> Result<()> {
    let address = network::CONTROL_PLANE;
    // Names live 2 s, so that a pod's new address is seen soon. Others than the cluster's there are none.
    let text = format!(
        "cluster.local in-addr.arpa {{
    bind {address}
    errors
    kubernetes {{
        kubeconfig {DISK}/name-server.kubeconfig
        pods insecure
        ttl 2
    }}
}}
. {{
    bind {address}
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"
    );
    write_file(&layout.machine(CONTROL_PLANE).join("Corefile"), text)
}

pub(super) fn service(layout: &Layout) -> Service {
    let arguments = ["-conf".to_owned(), format!("{DISK}/Corefile")];
    Service::new(layout, CONTROL_PLANE, "coredns", layout.program("coredns")).arguments(arguments)
}
