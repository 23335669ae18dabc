//! A node of KvCluster: `driver` carries out what the replication core decides, `server` is its edge, `app` joins them.

pub mod app;
mod causes;
pub mod config;
pub mod driver;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod server;
pub mod telemetry;
