use std::{path::Path, time::Duration};

use crate::{
    command::{in_path, run},
    error::{Error, Result},
    images::PAUSE,
    layout::{Layout, write_file},
    machine::{DISK, Namespaces, Service},
    tools::network_plugins,
    wait::until,
};

/// Its socket, below the machine's own `/run`.
const SOCKET: &str = "/run/containerd/containerd.sock";
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// Where Kubernetes looks for images.
const NAMESPACE: &str = "k8s.io";

pub(super) fn endpoint() -> String {
    format!("unix://{SOCKET}")
}

pub(super) fn install(disk: &Path) -> Result<()> {
    let plugins = network_plugins()?;
    let text = format!(
        r#"version = 2
root = "{DISK}/containerd"
state = "/run/containerd"
# It makes a folder in /opt.
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
  address = "{SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Root without CAP_SYS_RESOURCE can't lower a score.
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_tcp_service = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{DISK}/network"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"#,
        plugins = plugins.display()
    );
    write_file(&disk.join("containerd.toml"), text)
}

pub(super) fn service(layout: &Layout, machine: &str) -> Service {
    let program = in_path("containerd").unwrap_or_else(|| "containerd".into());
    Service::new(layout, machine, "containerd", program)
        .arguments(["--config".to_owned(), format!("{DISK}/containerd.toml")])
}

/// Until its part for Kubernetes answers.
pub(super) fn wait(layout: &Layout, machine: &str) -> Result<()> {
    let service = service(layout, machine);
    until(&format!("containerd of {machine}"), ANSWERS_WITHIN, || {
        service.check().map_err(Err)?;
        match run(ctr(layout, machine).args(["plugins", "ls", "-q"])) {
            Ok(_) => Ok(()),
            Err(Error::Command { output, .. }) => Err(Ok(output)),
            Err(error) => Err(Err(error)),
        }
    })
}

pub(super) fn import(layout: &Layout, machine: &str, archive: &Path) -> Result<()> {
    run(ctr(layout, machine).args(["images", "import"]).arg(archive)).map(drop)
}

/// Gives an image a second name.
pub(super) fn name_image(layout: &Layout, machine: &str, image: &str, name: &str) -> Result<()> {
    run(ctr(layout, machine).args(["images", "tag", "--force", image, name])).map(drop)
}

fn ctr(layout: &Layout, machine: &str) -> std::process::Command {
    let mut command = Namespaces::of(layout, machine).command("ctr");
    command.args(["--address", SOCKET, "--namespace", NAMESPACE]);
    command
}
