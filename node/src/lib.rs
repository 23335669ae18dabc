//! A node of KvCluster.

pub mod driver;
