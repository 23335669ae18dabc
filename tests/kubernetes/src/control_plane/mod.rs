//! What a cluster is steered by: etcd, the API server, the controllers and the scheduler, and beside them the name server and
//! the maker of volumes. All are processes of one pseudo-machine.

mod api_server;
mod name_server;
mod volumes;

use std::time::Duration;

pub use api_server::audit_log;
pub use volumes::STORAGE_CLASS;

use crate::{
    certificates::{Authority, Subject},
    command::{run, run_with_input},
    error::{Error, Result},
    kubeconfig,
    layout::Layout,
    machine::{CONTROL_PLANE, DISK, MACHINES, Namespaces, Service},
    network,
    wait::until,
};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// The control plane of a tree's cluster.
#[derive(Clone, Debug)]
pub(crate) struct ControlPlane {
    layout: Layout,
}

impl ControlPlane {
    pub(crate) fn of(layout: &Layout) -> Self {
        Self { layout: layout.clone() }
    }

    /// Makes the network and starts etcd and the API server.
    pub(crate) fn start(&self, authority: &Authority) -> Result<()> {
        let namespaces = self.namespaces();
        namespaces.start()?;
        network::build(&namespaces, MACHINES.len())?;
        self.etcd().start()?;
        api_server::service(&self.layout, authority)?.start()?;
        self.administrator(authority)
    }

    /// Once the API server is ready (the others end when it isn't there for a while): starts the rest.
    pub(crate) fn furnish(&self, authority: &Authority) -> Result<()> {
        let users = [
            ("system:kube-controller-manager", "controller-manager"),
            ("system:kube-scheduler", "scheduler"),
            (name_server::USER, "name-server"),
            (volumes::USER, "volumes"),
        ];
        for (user, name) in users {
            self.user(authority, user, name)?;
        }
        self.controller_manager(authority).start()?;
        self.scheduler().start()?;
        name_server::install(&self.layout)?;
        volumes::install(&self.layout)?;
        self.apply(&format!("{}\n---\n{}", name_server::MANIFEST, volumes::MANIFEST))?;
        name_server::service(&self.layout).start()?;
        volumes::service(&self.layout).start()
    }

    /// Until the API server is ready.
    pub(crate) fn wait_ready(&self) -> Result<()> {
        until("the API server's readiness", READY_WITHIN, || {
            for name in ["etcd", "kube-apiserver"] {
                self.existing(name).check().map_err(Err)?;
            }
            match self.kubectl(&["get", "--raw", "/readyz"]) {
                Ok(_) => Ok(()),
                Err(Error::Command { output, .. }) => Err(Ok(output)),
                Err(error) => Err(Err(error)),
            }
        })
    }

    pub(crate) fn stop_api_server(&self) -> Result<()> {
        self.existing("kube-apiserver").stop()
    }

    pub(crate) fn start_api_server(&self) -> Result<()> {
        if self.existing("kube-apiserver").is_running() {
            return Ok(());
        }
        let authority = Authority::of(&self.layout.secrets());
        api_server::service(&self.layout, &authority)?.start()?;
        self.wait_ready()
    }

    pub(crate) fn namespaces(&self) -> Namespaces {
        Namespaces::of(&self.layout, CONTROL_PLANE)
    }

    /// `kubectl` with what it prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        run(std::process::Command::new(self.layout.program("kubectl"))
            .arg("--kubeconfig")
            .arg(self.layout.kubeconfig())
            .arg("--request-timeout=10s")
            .args(arguments))
    }

    pub(crate) fn apply(&self, manifest: &str) -> Result<()> {
        let mut kubectl = std::process::Command::new(self.layout.program("kubectl"));
        kubectl.arg("--kubeconfig").arg(self.layout.kubeconfig()).args(["apply", "--server-side", "-f", "-"]);
        run_with_input(&mut kubectl, manifest).map(drop)
    }

    fn administrator(&self, authority: &Authority) -> Result<()> {
        let user = Subject { name: "administrator", group: Some("system:masters"), serves_at: "" };
        kubeconfig::write(&self.layout.kubeconfig(), authority, &authority.sign("administrator", &user)?)
    }

    fn user(&self, authority: &Authority, user: &str, name: &str) -> Result<()> {
        let subject = Subject { name: user, group: None, serves_at: "" };
        let certificate = authority.sign(name, &subject)?;
        kubeconfig::write(
            &self.layout.machine(CONTROL_PLANE).join(format!("{name}.kubeconfig")),
            authority,
            &certificate,
        )
    }

    fn etcd(&self) -> Service {
        self.existing("etcd").arguments([
            format!("--data-dir={DISK}/etcd"),
            // It lives no longer than the machine is up.
            "--unsafe-no-fsync".into(),
            "--log-level=warn".into(),
        ])
    }

    fn controller_manager(&self, authority: &Authority) -> Service {
        self.existing("kube-controller-manager").arguments([
            format!("--kubeconfig={DISK}/controller-manager.kubeconfig"),
            "--bind-address=127.0.0.1".into(),
            "--leader-elect=false".into(),
            "--use-service-account-credentials".into(),
            format!("--service-account-private-key-file={}", authority.service_accounts_key().display()),
            format!("--root-ca-file={}", authority.certificate().display()),
            "--kube-api-qps=100".into(),
            "--kube-api-burst=200".into(),
            // A lost machine is noticed in seconds.
            "--node-monitor-grace-period=12s".into(),
            "--node-monitor-period=2s".into(),
        ])
    }

    fn scheduler(&self) -> Service {
        self.existing("kube-scheduler").arguments([
            format!("--kubeconfig={DISK}/scheduler.kubeconfig"),
            "--bind-address=127.0.0.1".into(),
            "--leader-elect=false".into(),
        ])
    }

    fn existing(&self, name: &'static str) -> Service {
        Service::new(&self.layout, CONTROL_PLANE, name, self.layout.program(name))
    }
}
