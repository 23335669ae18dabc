//! Carries out what the replication core decides, with the node's volumes, peers and ZooKeeper.
//!
//! A request goes [`Driver::submit`] → [`replica::Replica`] → core → `execute` → volume and peers; what comes back from
//! them goes through the core again and ends in `state_machine` and the request's responder. `manager` makes and drops
//! copies as ZooKeeper's view changes, `world` tells the cores what the node knows of its surroundings.

mod admin;
mod copies;
mod cut_off;
pub(crate) mod events;
mod execute;
mod expiry;
#[cfg(test)]
mod fixture;
mod flusher;
mod force;
mod left_over;
mod manager;
mod middle;
mod order;
pub mod peers;
mod reads;
mod rebuild;
pub(crate) mod replica;
pub mod request;
mod routes;
mod shared;
mod sizes;
mod snapshot;
mod splitter;
mod start;
mod state_machine;
mod syncs;
mod unapplied;
mod volumes;
mod watching;
mod world;

use std::{
    sync::{Arc, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use kv_cluster::Cluster;
use kv_types::{Limits, NodeName, ShardId};
use tokio::sync::{oneshot, watch};

#[cfg(any(test, fuzzing))]
pub use snapshot::fuzz::snapshot_chunks;
pub use start::{DriverOptions, StartError};
#[cfg(any(test, fuzzing))]
pub use state_machine::fuzz::table_value;
pub use watching::{Position, Subscription, WatchFailure};

use request::{Answer, Failure, Request, Responder, Route};
use shared::Shared;

/// The node's copies, and everything that keeps them. Cheap to clone.
#[derive(Clone)]
pub struct Driver {
    shared: Arc<Shared>,
}

impl Driver {
    /// This node's name.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        &self.shared.node
    }

    /// The bounds on requests.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// The cluster as ZooKeeper has it.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        self.shared.cluster()
    }

    /// Whether this node is cut off and has ceased to serve.
    #[must_use]
    pub fn is_ceased(&self) -> bool {
        self.shared.is_ceased()
    }

    /// Tells why the process must stop, once it must.
    #[must_use]
    pub fn fatals(&self) -> watch::Receiver<Option<String>> {
        self.shared.fatals()
    }

    /// Who serves `key`; for `None` the last shard's.
    #[must_use]
    pub fn locate(&self, key: Option<&[u8]>) -> Option<Route> {
        self.shared.routes().find(key).map(|entry| entry.route.clone())
    }

    /// Who serves the key or the end of the page that `request` is about.
    #[must_use]
    pub fn locate_request(&self, request: &Request) -> Option<Route> {
        let routes = self.shared.routes();
        let entry = match request {
            Request::Scan(page) if page.reverse => routes.find_below(page.range.end.as_ref()),
            request => routes.find(request.routing_key()),
        };
        entry.map(|entry| entry.route.clone())
    }

    /// Who serves `shard`.
    #[must_use]
    pub fn route(&self, shard: ShardId) -> Option<Route> {
        self.shared.routes().of_shard(shard).map(|entry| entry.route.clone())
    }

    /// All shards, in the order of their ranges.
    #[must_use]
    pub fn routes(&self) -> Vec<Route> {
        self.shared.routes().all().map(|entry| entry.route.clone()).collect()
    }

    /// Takes a request for a shard that this node leads; answered with [`Failure::NotHere`] if it doesn't. Never blocks.
    /// Writes go to the log and the copies with the next [`Self::flush`]. Returns whether one is due that nobody has been told of.
    pub fn submit(&self, request: Request, responder: Responder) -> bool {
        let routes = self.shared.routes();
        let entry = match &request {
            Request::Scan(page) if page.reverse => routes.find_below(page.range.end.as_ref()),
            request => routes.find(request.routing_key()),
        };
        if self.is_ceased() {
            let why = format!("{} is cut off from the cluster and has ceased to serve", self.shared.node);
            responder.answer(Err(Failure::Unavailable(why)));
            return false;
        }
        let Some(replica) = entry.and_then(|entry| entry.copies.iter().find(|copy| copy.leads())) else {
            responder.answer(Err(Failure::NotHere));
            return false;
        };
        let due = replica.submit(&self.shared, request, responder);
        if due {
            self.shared.dirty.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(replica));
        }
        due
    }

    /// Hands over what was submitted since the last call. Call it after a run of submits, without waiting in between.
    pub fn flush(&self) {
        let dirty = std::mem::take(&mut *self.shared.dirty.lock().unwrap_or_else(PoisonError::into_inner));
        let _held = self.shared.hold();
        for replica in dirty {
            replica.flush(&self.shared);
        }
    }

    /// Submits one request and waits for its answer.
    pub async fn call(&self, request: Request) -> Answer {
        let (sender, answer) = oneshot::channel();
        if self.submit(request, Responder::Once(sender)) {
            self.shared.flush_due.notify_one();
        }
        answer.await.unwrap_or_else(|_| Err(Failure::Unknown("the node is stopping".into())))
    }
}

/// The primary's wall clock, for deadlines of keys only.
fn wall_clock_millis() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
