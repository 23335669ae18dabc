use std::path::PathBuf;

use serde_json::json;

use crate::{
    certificates::{Authority, Subject},
    error::Result,
    kubeconfig,
    layout::{Layout, write_file},
    machine::{CONTROL_PLANE, DISK, Service},
    network::{self, API_SERVICE},
};

/// Of a pod on a lost machine, until it is given up.
const TOLERATION_SECONDS: u32 = 10;
/// More than a run of all suites writes: the file is never rotated away from a reader.
const AUDIT_MEGABYTES: u32 = 4096;

/// Every write to the API server, a line of JSON each (`audit.k8s.io/v1`, level `Metadata`). Events are left out.
#[must_use]
pub fn audit_log(layout: &Layout) -> PathBuf {
    layout.machine(CONTROL_PLANE).join("audit.log")
}

pub(super) fn service(layout: &Layout, authority: &Authority) -> Result<Service> {
    let names =
        "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local";
    let serves_at = format!("IP:{},IP:{API_SERVICE},IP:127.0.0.1,{names}", network::CONTROL_PLANE);
    // To the kubelets it is a client, and may do everything.
    let subject = Subject { name: "kube-apiserver", group: Some("system:masters"), serves_at: &serves_at };
    let own = authority.sign("kube-apiserver", &subject)?;
    write_file(&layout.machine(CONTROL_PLANE).join("audit-policy.json"), audit_policy()?)?;
    let file = |path: PathBuf| path.display().to_string();
    let (certificate, key) = (file(own.certificate), file(own.key));
    let (authorities, tokens) = (file(authority.certificate()), file(authority.service_accounts_key()));
    Ok(Service::new(layout, CONTROL_PLANE, "kube-apiserver", layout.program("kube-apiserver")).arguments([
        "--etcd-servers=http://127.0.0.1:2379".into(),
        format!("--advertise-address={}", network::CONTROL_PLANE),
        format!("--service-cluster-ip-range={}", network::SERVICES),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged".into(),
        format!("--tls-cert-file={certificate}"),
        format!("--tls-private-key-file={key}"),
        format!("--client-ca-file={authorities}"),
        format!("--kubelet-certificate-authority={authorities}"),
        format!("--kubelet-client-certificate={certificate}"),
        format!("--kubelet-client-key={key}"),
        "--kubelet-preferred-address-types=InternalIP".into(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        format!("--service-account-key-file={}", authority.service_accounts_public_key().display()),
        format!("--service-account-signing-key-file={tokens}"),
        format!("--default-not-ready-toleration-seconds={TOLERATION_SECONDS}"),
        format!("--default-unreachable-toleration-seconds={TOLERATION_SECONDS}"),
        format!("--audit-policy-file={DISK}/audit-policy.json"),
        format!("--audit-log-path={DISK}/audit.log"),
        format!("--audit-log-maxsize={AUDIT_MEGABYTES}"),
    ]))
}

fn audit_policy() -> Result<String> {
    let events =
        json!([{ "group": "", "resources": ["events"] }, { "group": "events.k8s.io", "resources": ["events"] }]);
    kubeconfig::pretty(&json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            { "level": "None", "resources": events },
            { "level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"] },
            { "level": "None" },
        ],
    }))
}
