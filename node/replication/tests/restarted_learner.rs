//! A learner that restarts while its primary's change adds it to the ISR.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kv_replication::core::{
    Body, Core, Effect, Grant, Input, Message, Recovered, Rules, Settings, Surroundings, Ticket, Time,
};
use kv_types::{
    Entry, EntryId, Epoch, EpochHistory, KeyRange, Lineage, NodeName, Placement, Seq, ShardConfig, VolumeId,
};

const ME: VolumeId = VolumeId(uuid::Uuid::from_u128(1));
const LEARNER: VolumeId = VolumeId(uuid::Uuid::from_u128(2));
const LEASE: Duration = Duration::from_millis(800);
const NOW: Time = Time(10_000_000);

fn history(last: u64) -> EpochHistory {
    EpochHistory::new(vec![EntryId::new(1, 1)], Seq(last)).expect("ascends")
}

fn step(core: &mut Core, input: Input) -> Vec<Effect> {
    step_at(core, NOW, input)
}

fn step_at(core: &mut Core, now: Time, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    core.step(now, input, &mut effects);
    effects
}

fn from_learner(core: &mut Core, incarnation: u64, body: Body) -> Vec<Effect> {
    let (epoch, lineage) = (Epoch(3), Lineage(1));
    step(core, Input::Message(Message { from: LEARNER, incarnation, to: ME, epoch, lineage, body }))
}

fn follow(core: &mut Core, incarnation: u64, last: u64) -> Vec<Effect> {
    from_learner(core, incarnation, Body::Follow { history: history(last), void: false })
}

/// The seqs from which entries for the learner are read from the log.
fn fetched(effects: &[Effect]) -> Vec<Seq> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::FetchEntries { from, .. } = effect { Some(*from) } else { None })
        .collect()
}

fn bodies(effects: Vec<Effect>) -> Vec<Body> {
    effects
        .into_iter()
        .filter_map(|effect| if let Effect::Send(message) = effect { Some(message.body) } else { None })
        .collect()
}

/// A primary with 40 entries, none of them in memory, that leads alone.
fn primary() -> Core {
    let recovered = Recovered {
        promised: Epoch(2),
        lineage: Lineage(1),
        history: history(40),
        applied: Seq(40),
        ..Recovered::empty()
    };
    let mut core = Core::new(ME, 1, Settings::new(LEASE), Rules::all(), recovered, Time(0));
    let replicas = vec![ME, LEARNER];
    let placement = Placement { home: NodeName::new("node-0").expect("a name"), replicas, copies: 2 };
    let surroundings = Surroundings {
        zookeeper: true,
        reachable: true,
        registered: [ME, LEARNER].into(),
        placement: Some(placement),
        ..Surroundings::default()
    };
    step(&mut core, Input::Surroundings(Arc::new(surroundings)));
    let (epoch, lineage, isr) = (Epoch(3), Lineage(1), vec![ME]);
    let config = ShardConfig { epoch, lineage, range: KeyRange::all(), primary: ME, isr };
    step(&mut core, Input::Config { config, quorum: true });
    // Its promise, then its barrier, which is entry 41.
    for ticket in 1..=3 {
        step(&mut core, Input::Durable(Ticket(ticket)));
    }
    assert_eq!(core.last(), EntryId::new(3, 41));
    core
}

/// Simulator seed 80029004205: the learner had acknowledged all, was being added, and restarted with all of it. Its answer to a heartbeat
/// came before it had told of its log, and the primary, which went on where the former incarnation had begun, had it emptied.
#[test]
fn nobody_is_emptied_for_what_a_former_incarnation_lacked() {
    let mut core = primary();
    // Its second word is of a known incarnation.
    follow(&mut core, 2, 13);
    assert_eq!(fetched(&follow(&mut core, 2, 13)), [Seq(14)]);
    from_learner(&mut core, 2, Body::AppendAck { matched: Seq(40) });
    let stamp = bodies(step(&mut core, Input::Tick)).into_iter().find_map(|body| match body {
        Body::Heartbeat { stamp, .. } => Some(stamp),
        _ => None,
    });
    let stamp = stamp.unwrap_or(NOW);
    let grant = Grant { stamp, round: 0, received: Seq(0), matched: Seq(0), void: false, leaving: false };
    let effects = from_learner(&mut core, 3, Body::HeartbeatAck(grant));
    let from = *fetched(&effects).first().expect("it goes on somewhere");
    let sent = bodies(step(&mut core, Input::Fetched { to: LEARNER, from, entries: None }));
    assert!(matches!(sent[..], [Body::Append { previous: EntryId { seq: Seq(40..), .. }, .. }]), "{sent:?}");

    let sent = bodies(follow(&mut core, 3, 40));
    assert!(!sent.iter().any(|body| matches!(body, Body::SnapshotNeeded { .. })), "it has everything: {sent:?}");
}

#[test]
fn a_learner_that_has_told_of_its_log_gets_the_snapshot_that_it_needs() {
    let mut core = primary();
    follow(&mut core, 2, 13);
    follow(&mut core, 2, 13);
    let sent = bodies(step(&mut core, Input::Fetched { to: LEARNER, from: Seq(14), entries: None }));
    assert_eq!(sent, [Body::SnapshotNeeded { incarnation: 2, needed: Seq(14) }]);
}

/// Simulator seed 120000129189: it had told of all in its present incarnation, and the connection was lost. The primary, to which it had not
/// acknowledged anything yet, began anew at the first entry.
#[test]
fn what_was_told_is_remembered_when_the_connection_is_lost() {
    let mut core = primary();
    follow(&mut core, 2, 40);
    follow(&mut core, 2, 40);
    step(&mut core, Input::LinkLost(LEARNER));
    // The next heartbeat is due, and what was lost is sent again.
    assert_eq!(fetched(&step_at(&mut core, NOW + LEASE / 10, Input::Tick)), [Seq(41)]);
}

/// What the same seed showed as well: the change that added the learner was decided and not sent yet.
#[test]
fn nobody_is_emptied_whom_a_change_in_flight_adds() {
    let mut core = primary();
    let last = Entry { id: core.last(), payload: Bytes::new() };
    assert_eq!(fetched(&follow(&mut core, 2, 40)), [last.id.seq]);
    step(&mut core, Input::Fetched { to: LEARNER, from: last.id.seq, entries: Some(vec![last]) });
    from_learner(&mut core, 2, Body::AppendAck { matched: Seq(41) });
    // The promise of the epoch that adds the learner is not durable yet, so the change is not sent.
    let sent = step(&mut core, Input::Tick);
    let [Effect::Promise { ticket: promised, .. }] = sent[..] else { panic!("no change is begun: {sent:?}") };
    follow(&mut core, 3, 13);
    let from = *fetched(&follow(&mut core, 3, 13)).first().expect("it goes on where it says");
    let sent = bodies(step(&mut core, Input::Fetched { to: LEARNER, from, entries: None }));
    assert!(!sent.iter().any(|body| matches!(body, Body::SnapshotNeeded { .. })), "it counts: {sent:?}");
    // The change is sent as soon as the promise is durable.
    let sent = step(&mut core, Input::Durable(promised));
    let adds = |effect: &Effect| matches!(effect, Effect::CompareAndSet { new, .. } if new.is_in_sync(LEARNER));
    assert!(sent.iter().any(adds), "{sent:?}");
}

/// Simulator seed 130000925282: a late word of the time when it was void had it asked to empty its log, and what it had acknowledged before
/// was counted afterwards.
#[test]
fn nothing_counts_of_an_incarnation_that_was_asked_to_empty_its_log() {
    let mut core = primary();
    follow(&mut core, 2, 13);
    follow(&mut core, 2, 13);
    let sent = bodies(step(&mut core, Input::Fetched { to: LEARNER, from: Seq(14), entries: None }));
    assert_eq!(sent, [Body::SnapshotNeeded { incarnation: 2, needed: Seq(14) }]);
    let changes = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Promise { .. }));
    let late =
        [from_learner(&mut core, 2, Body::AppendAck { matched: Seq(41) }), step(&mut core, Input::Tick)].concat();
    assert!(!changes(&late), "it may be empty by now: {late:?}");
    // It has not heard of that: it is asked to begin another incarnation, and need not be empty for it.
    let again = [Body::SnapshotNeeded { incarnation: 2, needed: Seq(0) }];
    assert_eq!(bodies(follow(&mut core, 2, 41)), again);
    let grant = Grant { stamp: NOW, round: 0, received: Seq(41), matched: Seq(41), void: false, leaving: false };
    assert_eq!(bodies(from_learner(&mut core, 2, Body::HeartbeatAck(grant))), again, "simulator seed 150000086685");

    let last = Entry { id: core.last(), payload: Bytes::new() };
    follow(&mut core, 3, 40);
    step(&mut core, Input::Fetched { to: LEARNER, from: last.id.seq, entries: Some(vec![last]) });
    let counted =
        [from_learner(&mut core, 3, Body::AppendAck { matched: Seq(41) }), step(&mut core, Input::Tick)].concat();
    assert!(changes(&counted), "it is added: {counted:?}");
}
