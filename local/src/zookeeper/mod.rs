//! A real ZooKeeper on this machine: its jars, its servers, the ensemble that they form.

mod ensemble;
mod jars;
mod server;

pub use ensemble::Ensemble;
pub use jars::Jars;
pub use server::{Server, ServerMode};
