//! What the suites of real processes share: a cluster for a test, load on it, what its clients were told, and how long they
//! waited.
//!
//! A suite is a file of `tests/`. Each of its tests calls [`run`], which lets one test of the binary run at a time.

#![allow(clippy::expect_used, clippy::panic, clippy::missing_panics_doc, reason = "this crate is tests")]

pub mod claims;
mod cluster;
pub mod failing;
pub mod grpcurl;
pub mod history;
pub mod journal;
pub mod kvctl;
pub mod ledger;
pub mod outage;
pub mod programs;
mod requirements;
pub mod wait;
pub mod wire;
pub mod workload;

pub use cluster::{START_WITHIN, TestCluster, options};
pub use requirements::run;
