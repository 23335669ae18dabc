//! What a machine must have: Linux, root, Go, and some programs of its distribution.

use std::path::PathBuf;

use kv_local::packages;

use crate::{
    command::in_path,
    error::{Error, Result},
    progress::step,
};

/// A program, and the Debian package that has it.
const TOOLS: [(&str, &str); 13] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("buildah", "buildah"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("socat", "socat"),
    ("ethtool", "ethtool"),
    ("ip", "iproute2"),
    ("busybox", "busybox-static"),
    ("nsenter", "util-linux"),
    ("openssl", "openssl"),
    ("strip", "binutils"),
];
/// Where distributions have the plugins of the Container Network Interface.
const NETWORK_PLUGINS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];
/// Those that are used.
const USED_PLUGINS: [&str; 3] = ["ptp", "host-local", "portmap"];
const NETWORK_PLUGINS_PACKAGE: &str = "containernetworking-plugins";

/// Installs what is missing, as root on a Debian.
///
/// # Errors
/// [`Error::Unavailable`] if something is missing that can't be installed; [`Error::Packages`] if that failed.
pub fn install() -> Result<()> {
    let unavailable = |why: &str| Err(Error::Unavailable { why: why.to_owned() });
    if !cfg!(target_os = "linux") {
        return unavailable("it needs Linux");
    }
    if !rustix::process::geteuid().is_root() {
        return unavailable("it needs root");
    }
    if in_path("go").is_none() {
        return unavailable("it needs Go (1.26 or later)");
    }
    let lacking = missing();
    if lacking.is_empty() {
        return Ok(());
    }
    let names = lacking.join(" ");
    if !packages::can_install() {
        return unavailable(&format!("it needs the programs of Debian's packages {names}"));
    }
    step(&format!("installed {names}"), || packages::install(&lacking).map_err(Error::Packages))?;
    let still = missing();
    if still.is_empty() {
        Ok(())
    } else {
        unavailable(&format!("after their installation there is still no {still:?}"))
    }
}

/// The folder of the plugins that join pods to the network.
///
/// # Errors
/// [`Error::Unavailable`] if there is none.
pub(crate) fn network_plugins() -> Result<PathBuf> {
    let whole = |folder: &PathBuf| USED_PLUGINS.iter().all(|plugin| folder.join(plugin).is_file());
    let found = NETWORK_PLUGINS.iter().map(PathBuf::from).find(whole);
    found.ok_or_else(|| Error::Unavailable { why: format!("it needs Debian's {NETWORK_PLUGINS_PACKAGE}") })
}

fn missing() -> Vec<&'static str> {
    let mut packages: Vec<_> =
        TOOLS.iter().filter(|(program, _)| in_path(program).is_none()).map(|(_, package)| *package).collect();
    packages.dedup();
    if network_plugins().is_err() {
        packages.push(NETWORK_PLUGINS_PACKAGE);
    }
    packages
}
