//! This store, etcd and ZooKeeper side by side: three nodes each on one machine, one system at a time, the same disk, every
//! write synced. [`run`] makes a [`report::Report`], of which [`table`] and [`page`] are views.

mod disk;
mod error;
mod fill;
mod http;
mod limits;
mod load;
mod machine;
mod memory;
mod processor;
mod profile;
mod run;
mod system;
mod trial;

pub mod goals;
pub mod page;
pub mod report;
pub mod table;
pub mod workload;

pub use error::{Error, Result};
pub use limits::relay;
pub use profile::{ProfileOptions, profile};
pub use run::{Options, run};
pub use system::{NODES, SystemName};
pub use trial::Extent;
