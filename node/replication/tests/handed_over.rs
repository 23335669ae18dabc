//! A primary that has handed its shard over is a member that has granted the next primary nothing yet.

#![allow(clippy::expect_used, reason = "helpers of tests are tests")]

use std::{sync::Arc, time::Duration};

use kv_replication::core::{Core, Effect, Input, Recovered, RoleReport, Rules, Settings, Surroundings, Ticket, Time};
use kv_types::{Epoch, KeyRange, Lineage, ShardConfig, VolumeId};

const ME: VolumeId = VolumeId(uuid::Uuid::from_u128(1));
const NEXT: VolumeId = VolumeId(uuid::Uuid::from_u128(2));
const LEASE: Duration = Duration::from_millis(800);
const NOW: Time = Time(10_000_000);

fn step(core: &mut Core, now: Time, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    core.step(now, input, &mut effects);
    effects
}

fn config(epoch: u64, primary: VolumeId) -> Input {
    let (epoch, lineage, isr) = (Epoch(epoch), Lineage(1), vec![ME, NEXT]);
    let config = ShardConfig { epoch, lineage, range: KeyRange::all(), primary, isr };
    Input::Config { config, quorum: true }
}

/// Whether the copy begins to take over at a tick.
fn takes_over(core: &mut Core, now: Time) -> bool {
    step(core, now, Input::Tick).iter().any(|effect| matches!(effect, Effect::Promise { epoch: Epoch(5), .. }))
}

/// It took the shard back at the next tick, and the primary that it had chosen out of the ISR: one of fourteen handovers under load took
/// up to 100 ms, and left the shard with a single copy in sync.
#[test]
fn the_next_primary_has_a_lease_of_time_to_be_heard_in() {
    let recovered = Recovered { promised: Epoch(2), lineage: Lineage(1), ..Recovered::empty() };
    let mut core = Core::new(ME, 1, Settings::new(LEASE), Rules::all(), recovered, Time(0));
    let surroundings = Surroundings { zookeeper: true, reachable: true, ..Surroundings::default() };
    step(&mut core, NOW, Input::Surroundings(Arc::new(surroundings)));
    step(&mut core, NOW, config(3, ME));
    step(&mut core, NOW, Input::Durable(Ticket(1)));
    assert!(matches!(core.report(NOW).role, RoleReport::Primary { .. }), "it leads before");
    step(&mut core, NOW, config(4, NEXT));
    assert!(!takes_over(&mut core, NOW + LEASE / 20));
    assert!(!takes_over(&mut core, NOW + (LEASE - Duration::from_millis(1))));
    assert!(takes_over(&mut core, NOW + LEASE), "one that is never heard is replaced");
}
