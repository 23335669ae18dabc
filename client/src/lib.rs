//! The client library of KvCluster: typed requests, routed by key range, retried only where a retry is free or applied
//! at most once.
//!
//! The way of a request: [`Client`] gives it a session number (`session`), finds the node that serves its key
//! (`routing`, `nodes`), sends it down that node's pipelined stream (`connection`), and judges a failure (`retry`).

mod admin;
mod answer;
mod backoff;
mod call;
mod client;
mod connection;
mod discovery;
mod error;
mod failure;
mod nodes;
mod options;
mod range_map;
mod request;
mod retry;
mod routing;
mod scan;
mod session;
mod sessions;
mod watch;

pub mod keys;

/// How the cluster describes itself, as on the wire.
pub mod description {
    pub use kv_proto::v1::{ClusterDescription, NodeDescription, ReplicaDescription, ShardDescription};
}

pub use admin::{DescriptionWatch, ForcePromotion, Handover, Split, ZooKeeperRebuild};
pub use answer::{BatchAnswer, DeleteAnswer, Entry, PutAnswer};
pub use client::Client;
pub use discovery::{ClusterState, Master, Member, look_up};
pub use error::Error;
pub use options::{ClientOptions, Discovery, Transport};
pub use request::{Batch, Delete, Get, Put};
pub use scan::{Page, Scan, ScanPages};
pub use watch::{Change, ChangeKind, Changes, Watch, WatchStream};

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The guide's example has to build.
#[cfg(doctest)]
#[doc = include_str!("../../docs/client-api.md")]
struct Guide;
