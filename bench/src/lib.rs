//! This store, etcd and ZooKeeper side by side: three nodes each on one machine, one system at a time, the same disk, every
//! write synced. [`run`] makes a [`report::Report`], of which [`table`] and [`page`] are views.

mod error;
mod http;
mod keys;
mod limits;
mod load;
mod machine;
mod processor;
mod run;
mod system;

pub mod page;
pub mod report;
pub mod table;
pub mod workload;

pub use error::{Error, Result};
pub use run::{Options, run};
pub use system::{NODES, SystemName};
