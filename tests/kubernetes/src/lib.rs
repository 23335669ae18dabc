//! A real Kubernetes of three machines on this one: etcd, API server, controllers and scheduler, and per machine a container
//! runtime, a kubelet and a proxy, all built from Go modules or of the distribution. It needs Linux and root, no network
//! but package registries, and no virtual machines: a machine is a set of namespaces with a folder as its disk.
//!
//! A suite takes [`Cluster::of_a_suite`], gives it the images that it needs, and works on it by [`Cluster::client`] and by faults
//! (`Machine::cut`, `Cluster::kill_container` and so on). [`run`] and [`run_beside`] do that and skip where there can be none.
//! `kv-kube` is the same at the command line.

mod audit;
mod certificates;
mod cluster;
mod command;
mod control_plane;
mod error;
mod faults;
pub mod images;
mod kubeconfig;
mod layout;
mod machine;
pub mod network;
mod process;
mod programs;
mod progress;
mod requirements;
#[cfg(feature = "suites")]
pub mod suite;
mod tools;
mod wait;

pub use audit::{Mark, ObjectReference, User, Write};
pub use cluster::{Cluster, Company};
pub use command::{run as run_to_end, run_with_input};
pub use control_plane::STORAGE_CLASS;
pub use error::{Error, Result};
pub use images::Image;
pub use layout::Layout;
pub use machine::{MACHINES, Machine};
pub use requirements::{run, run_beside};
