//! What the suites share: the cluster with the operator installed, a store on it, load on the store.

#![allow(clippy::expect_used, clippy::panic, clippy::missing_panics_doc, reason = "only tests use it")]

mod api_proxy;
mod kubernetes;
mod lives;
mod load;
mod store;

pub use self::{
    api_proxy::{ApiProxy, Death},
    kubernetes::{Kubernetes, NAMESPACE},
    lives::Lives,
    load::{Figures, Load},
    store::{RUNNING_WITHIN, Store},
};
