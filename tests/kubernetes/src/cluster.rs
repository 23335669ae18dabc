use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    certificates::Authority,
    command::in_path,
    control_plane::ControlPlane,
    error::{Error, Result},
    images::Image,
    layout::{Layout, make_folder, remove_folder, write_file},
    machine::{MACHINES, Machine},
    programs,
    progress::{say, step},
    tools,
    wait::until,
};

/// Names the tree that has its cluster on this machine. Gone after a reboot, as the cluster is.
const HOLDER: &str = "/run/kv-kubernetes";
/// Names a cluster that is there, instead of one of this machine.
const KUBECONFIG: &str = "KUBECONFIG";
const NODES_READY_WITHIN: Duration = Duration::from_secs(60);
const READY_NODES: &str = r#"jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}"#;

/// Whether a suite shares the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// No other suite has it meanwhile.
    Alone,
    /// Those may use it too that say the same.
    Others,
}

/// A Kubernetes cluster: the one of this source tree on this machine, or the one that `KUBECONFIG` names.
///
/// That of this machine goes on when the program ends that has started it, until [`Self::stop`].
#[derive(Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    /// `None`: it is another one's.
    pub(crate) own: Option<Layout>,
    /// Nobody starts or stops it meanwhile.
    _lock: Option<File>,
}

impl Cluster {
    /// For a suite: the cluster that `KUBECONFIG` names, or that of this machine, started if it doesn't run.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where there is none and none can be made; else if it can't be started.
    pub fn of_a_suite(company: Company) -> Result<Self> {
        let layout = Layout::of_this_tree()?;
        if let Some(kubeconfig) = std::env::var_os(KUBECONFIG).filter(|file| !file.is_empty()) {
            let lock = Some(if company == Company::Alone { alone(&layout)? } else { beside_others(&layout)? });
            return Ok(Self { kubeconfig: kubeconfig.into(), own: None, _lock: lock });
        }
        if company == Company::Alone {
            return Self::start(&layout);
        }
        let lock = beside_others(&layout)?;
        check_holder(&layout)?;
        if is_running(&layout) {
            return Ok(Self { _lock: Some(lock), ..Self::of(&layout) });
        }
        drop(lock);
        drop(Self::start(&layout)?);
        Ok(Self { _lock: Some(beside_others(&layout)?), ..Self::of(&layout) })
    }

    /// That of a tree, started if it doesn't run. Nobody else uses it until this is dropped.
    ///
    /// # Errors
    /// [`Error::HeldElsewhere`], or as [`Self::of_a_suite`].
    pub fn start(layout: &Layout) -> Result<Self> {
        tools::install()?;
        let lock = alone(layout)?;
        check_holder(layout)?;
        if is_running(layout) {
            undo_faults(layout)?;
            load_images(layout, &Image::OF_THE_CLUSTER)?;
        } else {
            prepare(layout)?;
            tear_down(layout)?;
            write_file(Path::new(HOLDER), layout.tree().as_os_str().as_encoded_bytes())?;
            step("Kubernetes is up", || start_everything(layout))?;
        }
        Ok(Self { _lock: Some(lock), ..Self::of(layout) })
    }

    /// That of a tree, which runs already. Others may use it too.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::HeldElsewhere`].
    pub fn open(layout: &Layout) -> Result<Self> {
        check_holder(layout)?;
        if is_running(layout) { Ok(Self::of(layout)) } else { Err(Error::NotRunning) }
    }

    /// Makes what takes long: installs, builds, and makes these images beside those that every cluster has.
    ///
    /// # Errors
    /// If something can't be installed or built.
    pub fn prepare(layout: &Layout, images: &[Image]) -> Result<()> {
        tools::install()?;
        let _lock = alone(layout)?;
        prepare(layout)?;
        make(layout, images)
    }

    /// Ends a tree's cluster, whole or in parts. Nothing of it is left but logs.
    ///
    /// # Errors
    /// [`Error::HeldElsewhere`]; else if processes don't end or files can't be removed.
    pub fn stop(layout: &Layout) -> Result<()> {
        let _lock = alone(layout)?;
        check_holder(layout)?;
        tear_down(layout)?;
        let _ = fs::remove_file(HOLDER);
        Ok(())
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client that may do everything.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`], [`Error::Client`].
    pub async fn client(&self) -> Result<kube::Client> {
        let bad = |source| Error::Kubeconfig { path: self.kubeconfig.clone(), source };
        let kubeconfig = kube::config::Kubeconfig::read_from(&self.kubeconfig).map_err(bad)?;
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(bad)?;
        kube::Client::try_from(config).map_err(Error::Client)
    }

    /// `kubectl` with this cluster's kubeconfig: ours, or that in PATH.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        self.program("kubectl")
    }

    /// `helm` with this cluster's kubeconfig: ours, or that in PATH.
    #[must_use]
    pub fn helm(&self) -> Command {
        self.program("helm")
    }

    /// Makes images and gives them to all machines, where they have changed. A foreign cluster has them already.
    ///
    /// # Errors
    /// [`Error::NotBuilt`] for programs that are not there; else if an image can't be made or taken.
    pub fn load_images(&self, images: &[Image]) -> Result<()> {
        let Some(layout) = &self.own else { return Ok(()) };
        load_images(layout, images)
    }

    fn of(layout: &Layout) -> Self {
        Self { kubeconfig: layout.kubeconfig(), own: Some(layout.clone()), _lock: None }
    }

    fn program(&self, name: &str) -> Command {
        let ours = self.own.as_ref().map(|layout| layout.program(name));
        let mut command = Command::new(ours.or_else(|| in_path(name)).unwrap_or_else(|| name.into()));
        command.env(KUBECONFIG, &self.kubeconfig);
        command
    }
}

fn prepare(layout: &Layout) -> Result<()> {
    programs::build(layout)?;
    make(layout, &Image::OF_THE_CLUSTER)
}

fn make(layout: &Layout, images: &[Image]) -> Result<()> {
    images.iter().try_for_each(|image| image.archive(layout).map(drop))
}

/// The certificates, the control plane and the machines side by side, and then what needs all of them.
fn start_everything(layout: &Layout) -> Result<()> {
    remove_folder(&layout.logs())?;
    let authority = Authority::make(&layout.secrets())?;
    let control_plane = ControlPlane::of(layout);
    control_plane.start(&authority)?;
    for machine in Machine::all(layout) {
        machine.install(&authority)?;
        machine.start()?;
    }
    for machine in Machine::all(layout) {
        machine.wait_for_runtime()?;
    }
    load_images(layout, &Image::OF_THE_CLUSTER)?;
    control_plane.wait_ready()?;
    for machine in Machine::all(layout) {
        machine.launch_agents()?;
    }
    control_plane.furnish(&authority)?;
    for machine in Machine::all(layout) {
        machine.wait_for_agents()?;
    }
    until("the nodes' readiness", NODES_READY_WITHIN, || {
        let ready = control_plane.kubectl(&["get", "nodes", "--output", READY_NODES]).map_err(Err)?;
        let count = ready.lines().filter(|line| *line == "True").count();
        if count == MACHINES.len() { Ok(()) } else { Err(Ok(format!("{count} of {} are ready", MACHINES.len()))) }
    })?;
    write_file(&complete(layout), "")
}

/// All at once: each image goes to all machines side by side.
fn load_images(layout: &Layout, images: &[Image]) -> Result<()> {
    /// One makes an archive, and the next finds it made.
    static ONE_BY_ONE: Mutex<()> = Mutex::new(());
    let _one = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for image in images {
        let archive = &image.archive(layout)?;
        step(&format!("gave {} to the machines", image.name()), || {
            std::thread::scope(|scope| {
                let imports: Vec<_> = Machine::all(layout)
                    .map(|machine| scope.spawn(move || machine.load_image(*image, archive)))
                    .collect();
                let mut ends = imports.into_iter().map(std::thread::ScopedJoinHandle::join);
                ends.try_for_each(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            })
        })?;
    }
    Ok(())
}

/// What a suite that has failed may have left undone.
fn undo_faults(layout: &Layout) -> Result<()> {
    ControlPlane::of(layout).start_api_server()?;
    for machine in Machine::all(layout) {
        if machine.namespaces().are_there() {
            machine.heal()?;
            machine.start_agents()?;
        } else {
            machine.power_on()?;
        }
    }
    Ok(())
}

/// Whether it has once been up, and still is, but for faults.
fn is_running(layout: &Layout) -> bool {
    complete(layout).is_file() && ControlPlane::of(layout).namespaces().are_there()
}

/// Written last.
fn complete(layout: &Layout) -> PathBuf {
    layout.run().join("complete")
}

/// Of a cluster that is whole, half made, half gone, or of before a reboot.
fn tear_down(layout: &Layout) -> Result<()> {
    for machine in Machine::all(layout) {
        machine.power_off()?;
    }
    ControlPlane::of(layout).namespaces().kill()?;
    remove_folder(&layout.run())
}

/// The lock of those who use a tree's cluster, for one of them.
fn alone(layout: &Layout) -> Result<File> {
    locked(layout, File::try_lock, File::lock)
}

/// The same for those who may use it at the same time.
fn beside_others(layout: &Layout) -> Result<File> {
    locked(layout, File::try_lock_shared, File::lock_shared)
}

fn locked(
    layout: &Layout,
    try_lock: impl Fn(&File) -> std::result::Result<(), TryLockError>,
    lock: impl Fn(&File) -> io::Result<()>,
) -> Result<File> {
    make_folder(&layout.cache())?;
    let path = layout.cache().join("lock");
    let file = File::create(&path).map_err(Error::file("make", &path))?;
    if matches!(try_lock(&file), Err(TryLockError::WouldBlock)) {
        say("waiting for others who use the cluster");
        lock(&file).map_err(Error::file("lock", &path))?;
    }
    Ok(file)
}

fn check_holder(layout: &Layout) -> Result<()> {
    let Ok(holder) = fs::read_to_string(HOLDER) else { return Ok(()) };
    let tree = PathBuf::from(holder);
    // A tree that has been removed can't stop anything any more.
    if tree == layout.tree() || !tree.is_dir() { Ok(()) } else { Err(Error::HeldElsewhere { tree }) }
}
