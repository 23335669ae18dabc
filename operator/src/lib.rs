//! The operator of `KvCluster` resources.

mod crd;
mod reference;

pub mod api;
pub mod api_server;
pub mod app;
pub mod controllers;
pub mod http;
pub mod lease;
pub mod metrics;
pub mod nodes;
pub mod options;
pub mod reconcile;
pub mod telemetry;
pub mod zookeeper;

pub use self::{crd::crd_yaml, reference::reference};
