//! Which copies wait for the log of their volume: a sync wakes those, and not every copy that there is on the volume.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kv_storage::Ticket;
use kv_types::ShardId;
use tokio::sync::Notify;

/// Of one volume.
#[derive(Default)]
pub(crate) struct Syncs {
    state: Mutex<State>,
    /// There may be somebody to wake.
    due: Notify,
}

#[derive(Default)]
struct State {
    durable: Ticket,
    waiting: BTreeSet<(Ticket, ShardId)>,
}

impl Syncs {
    /// The copy of `shard` is to hear when the log is durable up to `ticket`, which may be so already.
    pub(super) fn wait(&self, ticket: Ticket, shard: ShardId) {
        let mut state = self.state();
        state.waiting.insert((ticket, shard));
        if ticket <= state.durable {
            self.due.notify_one();
        }
    }

    /// The log is durable up to `ticket`.
    pub(super) fn durable(&self, ticket: Ticket) {
        let mut state = self.state();
        state.durable = state.durable.max(ticket);
        drop(state);
        self.due.notify_one();
    }

    /// The shards whose copies are to hear now that the log is durable up to a ticket, each once; waits until there are some.
    pub(super) async fn next(&self) -> (Ticket, Vec<ShardId>) {
        loop {
            let (durable, shards) = self.take();
            if !shards.is_empty() {
                return (durable, shards);
            }
            self.due.notified().await;
        }
    }

    fn take(&self) -> (Ticket, Vec<ShardId>) {
        let mut state = self.state();
        let durable = state.durable;
        let later = state.waiting.split_off(&(Ticket(durable.0 + 1), ShardId(0)));
        let due = std::mem::replace(&mut state.waiting, later);
        drop(state);
        let mut shards: Vec<_> = due.into_iter().map(|(_, shard)| shard).collect();
        shards.sort_unstable();
        shards.dedup();
        (durable, shards)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn who_waits_hears_once_when_its_ticket_is_durable_or_was_before_it_waited() {
        let syncs = Syncs::default();
        let next = || syncs.next().now_or_never();
        syncs.wait(Ticket(1), ShardId(7));
        syncs.wait(Ticket(2), ShardId(7));
        syncs.wait(Ticket(3), ShardId(5));
        assert_eq!(next(), None);
        syncs.durable(Ticket(2));
        assert_eq!(next(), Some((Ticket(2), vec![ShardId(7)])));
        assert_eq!(next(), None);
        syncs.durable(Ticket(4));
        assert_eq!(next(), Some((Ticket(4), vec![ShardId(5)])));
        syncs.wait(Ticket(4), ShardId(6));
        syncs.durable(Ticket(3));
        assert_eq!(next(), Some((Ticket(4), vec![ShardId(6)])));
    }

    #[tokio::test]
    async fn who_comes_after_its_ticket_was_durable_wakes_whoever_listens() {
        let syncs = std::sync::Arc::new(Syncs::default());
        syncs.durable(Ticket(1));
        let listening = tokio::spawn({
            let syncs = std::sync::Arc::clone(&syncs);
            async move { syncs.next().await }
        });
        tokio::task::yield_now().await;
        syncs.wait(Ticket(1), ShardId(3));
        assert_eq!(listening.await.expect("ends"), (Ticket(1), vec![ShardId(3)]));
    }
}
