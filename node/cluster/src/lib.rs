//! A node's place in the cluster, as ZooKeeper has it: session, membership, election, placement, and the one path by which
//! a shard's configuration changes. The node's only user of ZooKeeper.
//!
//! ```text
//! session ── one after the other, with heartbeats; its age is what fencing goes by
//!    ├─ watcher ──> view, events        what ZooKeeper holds, as last seen: a hint
//!    ├─ change                          compare-and-set of a shard: what decides
//!    └─ coordinator                     one task, one thing after the other:
//!         ├─ membership                   the entry in the line of members
//!         ├─ election                     the first in line is the master; fences its writes
//!         └─ controller <── placement     the master's loop around a pure plan
//! ```
//!
//! A request whose answer was lost counts as *unknown*: it may still be applied. Every write therefore carries the
//! version of what it replaces.

mod bootstrap;
mod change;
mod clock;
mod cluster;
mod controller;
mod coordinator;
mod document;
mod election;
mod error;
mod event;
mod force;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod layout;
mod membership;
mod options;
pub mod placement;
mod request;
mod session;
mod view;
mod watcher;

pub use change::{CasOutcome, SplitChange};
pub use clock::{BoottimeClock, Clock};
pub use cluster::Cluster;
pub use document::{ClusterInfo, Controller, MasterInfo, NodeInfo, SharedConfig};
pub use error::{Error, Result};
pub use event::ClusterEvent;
pub use force::Rebuild;
pub use options::{Bootstrap, ClusterOptions, ControlOptions};
pub use placement::{NodeState, PlacementChange, PlacementInput, PlacementNode, PlacementShard, wants_split};
pub use view::{Member, Role, Versioned, View};
