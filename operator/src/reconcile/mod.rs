//! From a `KvCluster` to what is done about it: one folder or file per step, and [`driver`] is their table of contents.

pub mod act;
pub mod applier;
pub mod apply;
pub mod build;
pub mod decision;
pub mod dereference;
pub mod driver;
#[cfg(test)]
mod fixtures;
pub mod live;
pub mod names;
pub mod object;
pub mod origin;
pub mod plan;
pub mod publish;
pub mod quantity;
pub mod status;
pub mod validate;
pub mod validated;
pub mod world;
