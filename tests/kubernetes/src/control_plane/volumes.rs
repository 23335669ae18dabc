//! The maker of volumes: folders of a machine's disk that everybody may write to, as pods without root need.

use serde_json::json;

use crate::{
    error::Result,
    kubeconfig,
    layout::{Layout, write_file},
    machine::{CONTROL_PLANE, DISK, Service},
};

/// The class of volumes, the default one.
pub const STORAGE_CLASS: &str = "local-path";

pub(super) const USER: &str = "local-path-provisioner";
const NAMESPACE: &str = "local-path-storage";

/// Its class, what it may do, and what its helpers (pods, on the machine where a volume is wanted) run.
pub(super) const MANIFEST: &str = include_str!("../../manifests/volumes.yaml");

pub(super) fn install(layout: &Layout) -> Result<()> {
    let configuration = json!({
        "nodePathMap": [{ "node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [format!("{DISK}/volumes")] }],
    });
    write_file(&layout.machine(CONTROL_PLANE).join("volumes.json"), kubeconfig::pretty(&configuration)?)
}

pub(super) fn service(layout: &Layout) -> Service {
    Service::new(layout, CONTROL_PLANE, "local-path-provisioner", layout.program("local-path-provisioner")).arguments([
        "start".to_owned(),
        format!("--kubeconfig={DISK}/volumes.kubeconfig"),
        format!("--config={DISK}/volumes.json"),
        format!("--namespace={NAMESPACE}"),
        "--service-account-name=default".into(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_helpers_run_an_image_that_every_machine_has() {
        assert!(MANIFEST.contains(&format!("image: {}\n", crate::images::TOOLS)));
        assert!(MANIFEST.contains(&format!("name: {STORAGE_CLASS}\n")));
    }
}
