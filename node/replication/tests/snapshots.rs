//! A copy that waits for a snapshot, and what may come first.

use std::time::Duration;

use kv_replication::core::{Body, Core, Effect, Input, Message, Recovered, Rules, Settings, Time};
use kv_types::{EntryId, Epoch, EpochHistory, KeyRange, Lineage, Seq, ShardConfig, VolumeId};

const ME: VolumeId = VolumeId(uuid::Uuid::from_u128(3));
const OLD_PRIMARY: VolumeId = VolumeId(uuid::Uuid::from_u128(1));
const PROMOTED: VolumeId = VolumeId(uuid::Uuid::from_u128(2));

fn config(epoch: u64, lineage: u64, primary: VolumeId) -> Input {
    let (epoch, lineage, isr) = (Epoch(epoch), Lineage(lineage), vec![primary]);
    let config = ShardConfig { epoch, lineage, range: KeyRange::all(), primary, isr };
    Input::Config { config, quorum: true }
}

/// That a copy of `incarnation` needs one to get the entry at `needed`.
fn snapshot_needed(from: VolumeId, epoch: u64, lineage: u64, incarnation: u64, needed: u64) -> Input {
    let body = Body::SnapshotNeeded { incarnation, needed: Seq(needed) };
    let (epoch, lineage) = (Epoch(epoch), Lineage(lineage));
    Input::Message(Message { from, incarnation: 1, to: ME, epoch, lineage, body })
}

fn step(core: &mut Core, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    core.step(Time(1_000_000), input, &mut effects);
    effects
}

/// A learner of epoch 3 and lineage 1 that waits for its primary's snapshot.
fn waiting() -> Core {
    let settings = Settings::new(Duration::from_millis(800));
    let mut core = Core::new(ME, 1, settings, Rules::all(), Recovered::empty(), Time(0));
    step(&mut core, config(3, 1, OLD_PRIMARY));
    let effects = step(&mut core, snapshot_needed(OLD_PRIMARY, 3, 1, 1, 1));
    assert!(effects.contains(&Effect::FetchSnapshot { from: OLD_PRIMARY, epoch: Epoch(3) }), "{effects:?}");
    core
}

fn installed(epoch: u64) -> Input {
    let mut history = EpochHistory::default();
    let base = EntryId { epoch: Epoch(epoch), seq: Seq(1) };
    history.push(base);
    Input::SnapshotInstalled { epoch: Epoch(epoch), base, history }
}

#[test]
fn a_snapshot_becomes_the_start_of_the_log() {
    let mut core = waiting();
    step(&mut core, installed(3));
    assert_eq!(core.last(), EntryId { epoch: Epoch(3), seq: Seq(1) });
}

/// Simulator seed 30712, before a copy's snapshot was forgotten with its lineage: the copy kept entries that were lost by the
/// force-promote, below seqs at which the new lineage has others.
#[test]
fn a_snapshot_of_an_older_lineage_is_not_taken() {
    let mut core = waiting();
    step(&mut core, config(4, 2, PROMOTED));
    step(&mut core, installed(3));
    assert_eq!(core.last(), EntryId::ZERO, "entries of lineage 1 are in a copy of lineage 2");
}

#[test]
fn an_older_snapshot_does_not_end_the_wait_for_another_one() {
    let mut core = waiting();
    step(&mut core, config(4, 2, PROMOTED));
    let effects = step(&mut core, snapshot_needed(PROMOTED, 4, 2, 2, 1));
    assert!(effects.contains(&Effect::FetchSnapshot { from: PROMOTED, epoch: Epoch(4) }), "{effects:?}");
    step(&mut core, installed(3));
    assert!(core.awaits_snapshot());
    step(&mut core, installed(4));
    assert_eq!(core.last(), EntryId { epoch: Epoch(4), seq: Seq(1) });
}

/// Its primary counts nothing any more that it says in the incarnation in which it was asked: it may have been emptied.
#[test]
fn who_is_asked_to_start_over_begins_another_incarnation_emptied_or_not() {
    let mut core = waiting();
    assert_eq!(core.incarnation(), 2);
    step(&mut core, installed(3));
    let sent = step(&mut core, snapshot_needed(OLD_PRIMARY, 3, 1, 2, 0));
    assert_eq!((core.incarnation(), core.last().seq), (3, Seq(1)), "it has what is needed");
    let tells = |effect: &Effect| matches!(effect, Effect::Send(Message { incarnation: 3, body: Body::Follow { history, .. }, .. }) if history.last().seq == Seq(1));
    assert!(sent.iter().any(tells), "{sent:?}");
    step(&mut core, snapshot_needed(OLD_PRIMARY, 3, 1, 2, 9));
    assert_eq!((core.incarnation(), core.last().seq), (3, Seq(1)), "that was of an earlier one");
}
