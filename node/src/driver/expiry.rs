//! Keys whose deadline has passed are deleted by the primary's clock, through the log: copies never disagree.

use std::{sync::Arc, time::Duration};

use kv_replication::core::Input;
use kv_storage::{Direction, rows};
use kv_types::{Command, Expiry};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    replica::{Pending, Replica},
    shared::Shared,
    wall_clock_millis,
};

/// How often a primary looks for keys whose deadline has passed.
const EVERY: Duration = Duration::from_millis(200);
/// Keys that one entry deletes at most.
const KEYS: usize = 512;

pub(super) async fn run(shared: Arc<Shared>) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for replica in shared.replicas().values().filter(|replica| replica.leads()) {
            expire(&shared, replica);
        }
    }
}

fn expire(shared: &Arc<Shared>, replica: &Arc<Replica>) {
    let mut state = replica.lock();
    let Some(range) = state.core.config().map(|config| config.range.clone()) else { return };
    if state.expiring || !replica.leads() {
        return;
    }
    let due = rows::ttl_range(state.space, wall_clock_millis());
    let table = replica.volume.volume.table();
    let keys: Vec<Expiry> = table
        .scan(&due, Direction::Forward)
        .map_while(Result::ok)
        .filter_map(|(row, _)| rows::parse_ttl_key(&row))
        .filter(|(_, key)| range.contains(key))
        .map(|(expires_at_millis, key)| Expiry { key, expires_at_millis })
        .take(KEYS)
        .collect();
    if keys.is_empty() {
        return;
    }
    state.expiring = true;
    let token = state.token();
    state.pending.insert(token, Pending::Expiry);
    state.step(shared, replica, Input::Propose { token, payload: Command::Expire(keys).encode() });
    state.step(shared, replica, Input::Flush);
}
