//! What the suites do to a cluster.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::{
    cluster::Cluster,
    command::run,
    control_plane::ControlPlane,
    error::{Error, Result},
    layout::Layout,
    machine::Machine,
};

impl Cluster {
    /// The machines that pods run on.
    ///
    /// # Errors
    /// [`Error::Foreign`]
    pub fn machines(&self) -> Result<Vec<Machine>> {
        Ok(Machine::all(self.layout("a fault of a machine")?).collect())
    }

    /// The machine (the node) of that name.
    ///
    /// # Errors
    /// [`Error::Foreign`], [`Error::Missing`].
    pub fn machine(&self, name: &str) -> Result<Machine> {
        let found = self.machines()?.into_iter().find(|machine| machine.name() == name);
        found.ok_or_else(|| Error::Missing { kind: "machine", name: name.to_owned() })
    }

    /// Kills the API server. Pods go on.
    ///
    /// # Errors
    /// [`Error::Foreign`]; else if it doesn't end.
    pub fn stop_api_server(&self) -> Result<()> {
        ControlPlane::of(self.layout("a stop of the API server")?).stop_api_server()
    }

    /// Starts the API server, if it doesn't run, and waits until it is ready.
    ///
    /// # Errors
    /// [`Error::Foreign`]; else if it doesn't start.
    pub fn start_api_server(&self) -> Result<()> {
        ControlPlane::of(self.layout("a start of the API server")?).start_api_server()
    }

    /// Kills (SIGKILL) all processes of a pod's container. Its kubelet starts it again.
    ///
    /// # Errors
    /// [`Error::Foreign`]; [`Error::Missing`] if there is no such container or it doesn't run.
    pub fn kill_container(&self, namespace: &str, pod: &str, container: &str) -> Result<()> {
        self.layout("the kill of a container")?;
        let missing = || Error::Missing { kind: "container", name: format!("{namespace}/{pod}/{container}") };
        let found: Pod = self.get(namespace, "pod", pod)?;
        let status = found.status.unwrap_or_default();
        let mut containers =
            [status.container_statuses, status.init_container_statuses].into_iter().flatten().flatten();
        let id = containers.find(|status| status.name == container).and_then(|status| status.container_id);
        // `containerd://ID`
        let id = id.as_deref().and_then(|id| id.rsplit('/').next()).ok_or_else(missing)?.to_owned();
        let machine = self.machine(&found.spec.and_then(|spec| spec.node_name).ok_or_else(missing)?)?;
        for process in machine.container_processes(&id)? {
            if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
                // One that ends by itself in between is as good.
                let _ = kill_process(process, Signal::KILL);
            }
        }
        Ok(())
    }

    /// The folder on this host that a bound claim's volume is.
    ///
    /// # Errors
    /// [`Error::Foreign`]; [`Error::Missing`] if there is no such claim or it has no volume yet.
    pub fn volume_folder(&self, namespace: &str, claim: &str) -> Result<PathBuf> {
        self.layout("a volume's folder")?;
        let missing = || Error::Missing { kind: "bound claim", name: format!("{namespace}/{claim}") };
        let bound: PersistentVolumeClaim = self.get(namespace, "persistentvolumeclaim", claim)?;
        let name = bound.spec.and_then(|spec| spec.volume_name).ok_or_else(missing)?;
        let volume: PersistentVolume = self.get("", "persistentvolume", &name)?;
        let spec = volume.spec.ok_or_else(missing)?;
        let terms = spec.node_affinity.and_then(|affinity| affinity.required).map(|wanted| wanted.node_selector_terms);
        let expressions = terms.into_iter().flatten().filter_map(|term| term.match_expressions).flatten();
        let machine = expressions.filter_map(|expression| expression.values).flatten().next().ok_or_else(missing)?;
        let machine = self.machine(&machine)?;
        let path = spec.host_path.map(|path| path.path).or(spec.local.map(|local| local.path)).ok_or_else(missing)?;
        Ok(machine.on_disk(&path))
    }

    /// Empties a claim's volume, whether a pod uses it or not.
    ///
    /// # Errors
    /// As [`Self::volume_folder`]; [`Error::File`] if something can't be removed.
    pub fn wipe_volume(&self, namespace: &str, claim: &str) -> Result<()> {
        let folder = self.volume_folder(namespace, claim)?;
        for entry in std::fs::read_dir(&folder).map_err(Error::file("read", &folder))?.flatten() {
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_folder { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.map_err(Error::file("remove", &path))?;
        }
        Ok(())
    }

    pub(crate) fn layout(&self, what: &'static str) -> Result<&Layout> {
        self.own.as_ref().ok_or(Error::Foreign { what })
    }

    fn get<T: for<'a> Deserialize<'a>>(&self, namespace: &str, kind: &str, name: &str) -> Result<T> {
        let mut kubectl = self.kubectl();
        kubectl.args(["get", kind, name, "--output", "json", "--namespace", namespace]);
        let text = run(&mut kubectl)?;
        serde_json::from_str(&text)
            .map_err(|source| Error::Unreadable { from: format!("kubectl of {kind} {name}"), source })
    }
}
