use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use kv_proto::v1::Location;

use crate::range_map::RangeMap;

/// Who served a range of keys when an answer last said so. Only a hint: a wrong one costs a hop, since every node passes
/// requests on.
#[derive(Debug)]
pub(crate) struct Routing {
    routes: RwLock<RangeMap<Arc<Route>>>,
}

/// One shard as it was last seen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub shard: u64,
    pub epoch: u64,
    pub address: Arc<str>,
    pub start: Bytes,
    pub end: Bytes,
}

impl Routing {
    pub fn new() -> Self {
        Self { routes: RwLock::new(RangeMap::new()) }
    }

    pub fn get(&self, key: &[u8]) -> Option<Arc<Route>> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Learns a location, unless a later epoch of the same shard is known. Returns whether it was learned.
    pub fn learn(&self, location: Location) -> bool {
        let Location { shard, start, end, epoch, node: _, address } = location;
        if address.is_empty() {
            return false;
        }
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        if routes.overlapping(&start, &end).any(|known| known.shard == shard && known.epoch > epoch) {
            return false;
        }
        let route = Route { shard, epoch, address: address.into(), start: start.clone(), end: end.clone() };
        routes.insert(start, end, Arc::new(route));
        true
    }

    /// Forgets a route that led nowhere; one learned since is kept.
    pub fn forget(&self, route: &Arc<Route>) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.remove_where(|known| Arc::ptr_eq(known, route));
    }

    /// Forgets all routes to a node that can't be reached.
    pub fn forget_address(&self, address: &str) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.remove_where(|known| known.address.as_ref() == address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(shard: u64, start: &'static str, end: &'static str, epoch: u64, address: &str) -> Location {
        let (start, end) = (Bytes::from(start), Bytes::from(end));
        Location { shard, start, end, epoch, node: "n".into(), address: address.into() }
    }

    fn address(routing: &Routing, key: &str) -> Option<String> {
        routing.get(key.as_bytes()).map(|route| route.address.to_string())
    }

    #[test]
    fn a_later_epoch_replaces_and_an_earlier_one_does_not() {
        let routing = Routing::new();
        assert!(routing.learn(location(1, "", "", 5, "a:1")));
        assert!(!routing.learn(location(1, "", "", 4, "b:1")));
        assert_eq!(address(&routing, "k").as_deref(), Some("a:1"));
        assert!(routing.learn(location(1, "", "", 6, "b:1")));
        assert_eq!(address(&routing, "k").as_deref(), Some("b:1"));
        assert!(!routing.learn(location(2, "", "", 9, "")));
    }

    #[test]
    fn a_split_leaves_the_parent_the_rest() {
        let routing = Routing::new();
        routing.learn(location(1, "", "", 5, "a:1"));
        routing.learn(location(2, "m", "", 1, "b:1"));
        assert_eq!(address(&routing, "a").as_deref(), Some("a:1"));
        assert_eq!(address(&routing, "z").as_deref(), Some("b:1"));
    }

    #[test]
    fn forgetting_a_route_spares_the_one_learned_since() {
        let routing = Routing::new();
        routing.learn(location(1, "", "", 5, "a:1"));
        let old = routing.get(b"k").expect("learned");
        routing.learn(location(1, "", "", 6, "b:1"));
        routing.forget(&old);
        assert_eq!(address(&routing, "k").as_deref(), Some("b:1"));
        routing.forget_address("b:1");
        assert_eq!(address(&routing, "k"), None);
    }
}
