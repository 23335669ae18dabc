//! `kv-kube`: a real Kubernetes of three machines on this one.

mod demo;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kv_kubernetes::{Cluster, Image, Layout, MACHINES, Result, run_to_end};
use kv_local::chain;

#[derive(Debug, Parser)]
#[command(name = "kv-kube", version, about)]
/// A real Kubernetes of three machines on this one
struct Arguments {
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    /// Installs and builds what takes long the first time, and makes our images; starts nothing
    Prepare,
    /// Starts the cluster, if it doesn't run, and gives it our images
    Up {
        /// The cluster alone, without our images
        #[arg(long)]
        bare: bool,
    },
    /// Makes our images again and gives them to the machines
    Images,
    /// A shell with KUBECONFIG set, and kubectl and helm in PATH
    Shell,
    /// Installs the operator, creates a store, uses it and kills its master, and says what it does
    Demo,
    /// What runs
    Status,
    /// Ends the cluster, with everything in it
    Down,
}

fn main() -> ExitCode {
    match work(&Arguments::parse().job) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kv-kube: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn work(job: &Job) -> Result<ExitCode> {
    let layout = Layout::of_this_tree()?;
    match job {
        Job::Prepare => Cluster::prepare(&layout, &images())?,
        Job::Up { bare } => up(&layout, *bare)?,
        Job::Images => Cluster::open(&layout)?.load_images(&images())?,
        Job::Shell => return shell(&Cluster::open(&layout)?, &layout),
        Job::Demo => {
            let cluster = Cluster::start(&layout)?;
            cluster.load_images(&images())?;
            demo::run(&cluster, &layout)?;
        }
        Job::Status => status(&Cluster::open(&layout)?)?,
        Job::Down => Cluster::stop(&layout)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn images() -> Vec<Image> {
    [&Image::OF_THE_CLUSTER[..], &Image::OF_KV_CLUSTERS].concat()
}

fn up(layout: &Layout, bare: bool) -> Result<()> {
    let cluster = Cluster::start(layout)?;
    if !bare {
        cluster.load_images(&images())?;
    }
    let (programs, kubeconfig) = (layout.programs(), cluster.kubeconfig());
    println!("Kubernetes with the machines {} is up.\n", MACHINES.join(", "));
    println!("    export KUBECONFIG={} PATH={}:$PATH\n", kubeconfig.display(), programs.display());
    println!("    kubectl get nodes");
    if !bare {
        println!("    helm install kv charts/kv-operator --namespace kv-system --create-namespace");
        println!("    kubectl apply -f manifests/samples/minimal.yaml");
        println!("    kubectl get kvclusters --watch");
    }
    println!("\n`make kube-down` ends it.");
    Ok(())
}

fn shell(cluster: &Cluster, layout: &Layout) -> Result<ExitCode> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = std::process::Command::new(std::env::var_os("SHELL").unwrap_or_else(|| "sh".into()));
    shell.env("KUBECONFIG", cluster.kubeconfig()).env("PATH", format!("{}:{path}", layout.programs().display()));
    let started = |source| kv_kubernetes::Error::Start { program: "a shell".into(), source };
    let status = shell.status().map_err(started)?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn status(cluster: &Cluster) -> Result<()> {
    print!("{}", run_to_end(cluster.kubectl().args(["get", "nodes", "--output", "wide"]))?);
    print!("{}", run_to_end(cluster.kubectl().args(["get", "pods", "--all-namespaces", "--output", "wide"]))?);
    Ok(())
}
