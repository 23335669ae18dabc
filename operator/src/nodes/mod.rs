//! What the nodes say of themselves, and what they are asked to do: the operator's only way to them is the client library.
//!
//! [`NodeObservers`] keeps one observer for each cluster. It follows one node (`observer`), turns what that says into a
//! [`ClusterReport`] (`convert`), and keeps a node that was only slow once from looking like a lost one (`steady`).

mod convert;
mod node;
mod observer;
mod observers;
mod report;
mod steady;

pub use self::{
    observers::{ClusterKey, Error, NodeObservers},
    report::{ClusterReport, NodeReport, ShardReport},
};
