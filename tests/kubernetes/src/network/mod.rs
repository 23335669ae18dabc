//! The network of a cluster: one bridge that machines and this host are joined to, and nothing else. Its addresses are of
//! 198.18.0.0/15, which is set apart for tests of networks and never leaves a machine.
//!
//! | addresses | whose |
//! |---|---|
//! | 198.18.0.1 | this host |
//! | 198.18.0.10 | the control plane: API server and name server |
//! | 198.18.0.11 … | the machines |
//! | 198.19.1.0/24 … | the pods of each machine |
//! | 198.19.128.0/20 | services |

mod pods;
mod switch;

pub(crate) use pods::configuration;
pub(crate) use switch::{build, connect, set_cut};

/// Where the API server is.
pub const API_SERVER: &str = "198.18.0.10:6443";
/// The control plane's address: name server too.
pub const CONTROL_PLANE: &str = "198.18.0.10";
/// This host's address.
pub const HOST: &str = "198.18.0.1";
/// All pods' addresses.
pub const PODS: &str = "198.19.0.0/17";
/// Services' addresses.
pub const SERVICES: &str = "198.19.128.0/20";
/// The API server's address as a service.
pub const API_SERVICE: &str = "198.19.128.1";

/// The address of the machine of that number, counted from 0.
pub(crate) fn machine_address(number: usize) -> String {
    format!("198.18.0.{}", 11 + number)
}

/// The addresses of its pods.
pub(crate) fn pod_range(number: usize) -> String {
    format!("198.19.{}.0/24", 1 + number)
}
