//! A machine of the cluster: namespaces (network, processes, mounts, name) with a disk, and in them `containerd`, `kubelet`
//! and `kube-proxy`. The control plane has namespaces too, and its programs in them.

mod containerd;
mod control_groups;
mod kube_proxy;
mod kubelet;
mod namespaces;
mod service;

pub(crate) use namespaces::Namespaces;
pub(crate) use service::Service;

use std::{fs, path::PathBuf};

use crate::{
    certificates::Authority,
    error::Result,
    images::{Archive, Image},
    layout::{Layout, make_folder, write_file},
    network,
};

/// Machines of a cluster. Machine N is in a zone of its own, `zone-a` and so on.
pub const MACHINES: [&str; 3] = ["worker-a", "worker-b", "worker-c"];
/// The pseudo-machine of the API server.
pub(crate) const CONTROL_PLANE: &str = "control-plane";
/// Where a machine finds its disk.
pub(crate) const DISK: &str = "/run/machine";

/// One machine that pods run on.
#[derive(Clone, Debug)]
pub struct Machine {
    layout: Layout,
    number: usize,
}

impl Machine {
    /// All of them.
    pub(crate) fn all(layout: &Layout) -> impl Iterator<Item = Self> {
        (0..MACHINES.len()).map(|number| Self { layout: layout.clone(), number })
    }

    /// Its name, which is the node's.
    #[must_use]
    pub fn name(&self) -> &'static str {
        MACHINES[self.number]
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> String {
        network::machine_address(self.number)
    }

    pub(crate) fn namespaces(&self) -> Namespaces {
        Namespaces::of(&self.layout, self.name())
    }

    /// The file on this host that the machine's pods and volumes have at `path`.
    pub(crate) fn on_disk(&self, path: &str) -> PathBuf {
        let within = path.strip_prefix(DISK).unwrap_or(path).trim_start_matches('/');
        self.layout.machine(self.name()).join(within)
    }

    /// Puts what stays the same from start to start on its disk.
    pub(crate) fn install(&self, authority: &Authority) -> Result<()> {
        let disk = self.layout.machine(self.name());
        make_folder(&disk)?;
        let pods = network::configuration(&network::pod_range(self.number));
        write_file(&disk.join("network/pods.conflist"), crate::kubeconfig::pretty(&pods)?)?;
        write_file(&disk.join("resolv.conf"), "")?;
        containerd::install(&disk)?;
        kubelet::install(&disk, self, authority)?;
        kube_proxy::install(&disk, self, authority)
    }

    /// Switches it on.
    ///
    /// # Errors
    /// If something can't be started.
    pub fn start(&self) -> Result<()> {
        let namespaces = self.namespaces();
        control_groups::remove(self.name())?;
        control_groups::make(self.name())?;
        namespaces.start()?;
        let control_plane = Namespaces::of(&self.layout, CONTROL_PLANE);
        network::connect(&control_plane, &namespaces, self.name(), self.number, MACHINES.len())?;
        containerd::service(&self.layout, self.name()).start()
    }

    /// Starts `kubelet` and `kube-proxy`, and waits until they work.
    ///
    /// # Errors
    /// If they can't be started, or the machine is not reached.
    pub fn start_agents(&self) -> Result<()> {
        self.launch_agents()?;
        self.wait_for_agents()
    }

    /// Starts `kubelet` and `kube-proxy`.
    pub(crate) fn launch_agents(&self) -> Result<()> {
        kubelet::service(&self.layout, self).start()?;
        kube_proxy::service(&self.layout, self.name()).start()
    }

    /// Until the kubelet serves. It ends when its container runtime isn't ready, and is started again, as a real machine does.
    pub(crate) fn wait_for_agents(&self) -> Result<()> {
        kubelet::wait(&self.layout, self)
    }

    /// Kills `kubelet` and `kube-proxy`. The pods go on.
    ///
    /// # Errors
    /// If they don't end.
    pub fn stop_agents(&self) -> Result<()> {
        kubelet::service(&self.layout, self).stop()?;
        kube_proxy::service(&self.layout, self.name()).stop()
    }

    /// Pulls its plug: every process is gone at once, its pods' too. The disk stays.
    ///
    /// # Errors
    /// If processes don't end.
    pub fn power_off(&self) -> Result<()> {
        self.namespaces().kill()?;
        control_groups::remove(self.name())
    }

    /// Boots it after [`Self::power_off`].
    ///
    /// # Errors
    /// As [`Self::start`], and if the container runtime doesn't answer.
    pub fn power_on(&self) -> Result<()> {
        self.start()?;
        self.wait_for_runtime()?;
        self.start_agents()
    }

    /// Cuts it off the network: from the other machines, the API server and this host. Its pods go on.
    ///
    /// # Errors
    /// If the link can't be changed.
    pub fn cut(&self) -> Result<()> {
        network::set_cut(&Namespaces::of(&self.layout, CONTROL_PLANE), self.name(), true)
    }

    /// Undoes [`Self::cut`].
    ///
    /// # Errors
    /// If the link can't be changed.
    pub fn heal(&self) -> Result<()> {
        network::set_cut(&Namespaces::of(&self.layout, CONTROL_PLANE), self.name(), false)
    }

    /// Until its container runtime takes images.
    pub(crate) fn wait_for_runtime(&self) -> Result<()> {
        containerd::wait(&self.layout, self.name())
    }

    /// Gives it an image, unless it has it.
    pub(crate) fn load_image(&self, image: Image, archive: &Archive) -> Result<()> {
        let stamp = self.on_disk("images").join(image.name().replace('/', "-"));
        if fs::read_to_string(&stamp).is_ok_and(|there| there == archive.fingerprint) {
            return Ok(());
        }
        containerd::import(&self.layout, self.name(), &archive.path)?;
        if let Some(name) = image.default_name() {
            containerd::name_image(&self.layout, self.name(), image.name(), &name)?;
        }
        write_file(&stamp, &archive.fingerprint)
    }

    /// The processes of one container, as this host counts them.
    pub(crate) fn container_processes(&self, container: &str) -> Result<Vec<u32>> {
        control_groups::processes(self.name(), container)
    }
}
