//! A cluster in one thread, from one seed: replication cores on simulated disks, clocks, network and ZooKeeper, with
//! everything that can go wrong, and the protocol's invariants checked at every step. The same seed is the same run.
//!
//! - [`run`] plays one seed; [`run_range`] many, on several threads; [`soak`] goes on until a time.
//! - [`hunt`] looks for the first seed that finds a broken rule out; [`measure`] says how hard that is.

mod changes;
mod client;
mod copies;
mod coverage;
mod disk;
mod driver;
mod event;
mod faults;
mod in_flight;
mod invariants;
mod ledger;
mod mutants;
mod network;
mod node;
mod plan;
mod queue;
mod recovery;
mod requests;
mod rng;
mod seeds;
mod soak;
mod steer;
mod surroundings;
mod table;
mod workload;
mod world;
mod zookeeper;

pub use coverage::{Coverage, Situation};
pub use invariants::Invariant;
pub use kv_replication::core::Rule;
pub use mutants::{Caught, Hardness, RULES, measure, words};
pub use seeds::{Report, Violation, history, run, trace};
pub use soak::{News, Soak, hunt, run_range, soak};
