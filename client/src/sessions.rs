use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard};

use crate::{range_map::RangeMap, session::Session};

/// The open sessions by the range of keys that their shard had when it opened them.
///
/// After a split both halves know the session, so its range never has to be cut for one.
#[derive(Debug)]
pub(crate) struct Sessions {
    open: RwLock<RangeMap<Arc<Session>>>,
    /// One opener at a time for each shard; the shards of other stripes don't wait for one that is unavailable.
    opening: [Mutex<()>; Sessions::STRIPES],
    hasher: RandomState,
}

impl Sessions {
    const STRIPES: usize = 64;

    pub fn new() -> Self {
        Self {
            open: RwLock::new(RangeMap::new()),
            opening: std::array::from_fn(|_| Mutex::new(())),
            hasher: RandomState::new(),
        }
    }

    pub fn get(&self, key: &[u8]) -> Option<Arc<Session>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Waits until nobody else opens a session for this shard, or for this key while its shard isn't known.
    pub async fn opening(&self, shard: Option<u64>, key: &[u8]) -> MutexGuard<'_, ()> {
        let stripe = shard.unwrap_or_else(|| self.hasher.hash_one(key));
        self.opening[stripe as usize % Self::STRIPES].lock().await
    }

    pub fn insert(&self, start: Bytes, end: Bytes, session: Arc<Session>) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(start, end, session);
    }

    /// Removes a session that a shard does not know any more.
    pub fn remove(&self, session: &Arc<Session>) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.remove_where(|known| Arc::ptr_eq(known, session));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_serves_its_whole_range_until_it_is_removed() {
        let sessions = Sessions::new();
        let (old, new) = (Session::new("old".into()), Session::new("new".into()));
        sessions.insert("a".into(), "m".into(), old.clone());
        let is = |key: &str, session: &Arc<Session>| {
            sessions.get(key.as_bytes()).is_some_and(|found| Arc::ptr_eq(&found, session))
        };
        assert!(is("a", &old) && is("l", &old) && sessions.get(b"m").is_none());
        sessions.insert("c".into(), "e".into(), new.clone());
        assert!(is("b", &old) && is("c", &new) && is("e", &old));
        sessions.remove(&old);
        assert!(sessions.get(b"b").is_none() && sessions.get(b"f").is_none() && is("d", &new));
    }
}
