//! What is seen on a real Kubernetes. Each test has the cluster for itself, but those of `side_by_side`.

#![allow(clippy::expect_used, clippy::panic, reason = "these are tests")]

mod cluster;
mod crash;
mod drains;
mod faults;
mod lifecycle;
mod rest;
mod side_by_side;
