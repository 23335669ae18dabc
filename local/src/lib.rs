//! A whole cluster on this machine: a real ZooKeeper and nodes as child processes, each node behind small TCP proxies
//! that can be cut without root. What the shell `kv-local`, the demonstration and the tests run on.
//!
//! ```no_run
//! # async fn example() -> kv_local::Result<()> {
//! use std::time::Duration;
//! use kv_local::{LocalCluster, Options};
//!
//! let mut cluster = LocalCluster::start(Options::with_nodes(3)).await?;
//! cluster.wait_ready(Duration::from_secs(30)).await?;
//! cluster.kill(0)?;
//! # Ok(())
//! # }
//! ```

mod callers;
mod cluster;
mod directory;
mod error;
mod http;
mod node;
mod options;
pub mod packages;
mod ports;
mod process;
mod proxy;
pub mod zookeeper;

pub use callers::Callers;
pub use cluster::LocalCluster;
pub use directory::WorkDirectory;
pub use error::{Error, Result, chain};
pub use node::{Folder, Node, NodeState};
pub use options::{MAX_NODES, Options};
pub use ports::PortBlock;
pub use process::{Launcher, Process, in_path};
pub use proxy::{Mode, Proxy};
