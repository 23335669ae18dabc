//! What must hold of a volume after a fault.

use std::{collections::BTreeSet, path::Path};

use kv_storage::{Direction, Recovered, RecoveredReplica, Space, TableError, Volume, rows};
use kv_types::{EntryId, KeyRange};

use crate::{
    plan::{Copies, Copy, Plan},
    replay::Item,
    workload::{CLUSTER, open, rows_of},
};

/// What the process said up to some moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) identity: Option<String>,
    pub(crate) bound: bool,
    /// The state that was durable.
    pub(crate) durable: usize,
    /// The last that it has begun to bring about.
    pub(crate) tried: usize,
    pub(crate) told: Option<String>,
    pub(crate) wrong: Option<String>,
}

impl Said {
    pub(crate) fn hear(&mut self, item: &Item) {
        let text = String::from_utf8_lossy(&item.data);
        let Some((word, rest)) = text.split_once(' ') else {
            self.bound |= text == "bound";
            return;
        };
        match word {
            "identity" => self.identity = Some(rest.to_owned()),
            "durable" => self.durable = rest.parse().unwrap(),
            "tried" => self.tried = rest.parse().unwrap(),
            "told" => self.told = Some(rest.to_owned()),
            _ => self.wrong = Some(rest.to_owned()),
        }
    }
}

/// What a start has made of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// All is there that must be.
    Whole,
    /// It is said that something is lost, and of what is not all is there.
    Told,
    /// The volume can't be opened, and says why.
    Refused,
}

/// Opens what lies in `root` and compares it with what was promised. `damaged`: something may be lost if that is told.
pub(crate) fn check(root: &Path, plan: &Plan, said: &Said, damaged: bool) -> Result<Outcome, String> {
    let (volume, recovered) = match open(root) {
        Ok(opened) => opened,
        Err(_) if damaged => return Ok(Outcome::Refused),
        Err(error) => return Err(format!("it can't be opened: {error:?}")),
    };
    let identity = volume.identity();
    if said.identity.as_ref().is_some_and(|id| *id != identity.volume.to_string()) {
        return Err(format!("identity {}, and it was {:?}", identity.volume, said.identity));
    }
    if damaged && identity.cluster.is_some() && volume.bind_cluster(CLUSTER).is_err() {
        return Ok(Outcome::Refused);
    }
    if said.bound && identity.cluster != Some(CLUSTER) {
        return Err(format!("of cluster {:?}, and it was bound", identity.cluster));
    }
    let told = recovered.table_damage.is_some()
        || recovered.torn_tail.is_some()
        || recovered.replicas.iter().any(|replica| replica.damage.is_some());
    let lost = recovered.replicas.iter().filter(|replica| replica.damage.is_some());
    let emptied = plan.emptied(said.durable, said.tried);
    let lost: Vec<_> = lost.filter(|replica| !emptied.contains(&replica.shard)).collect();
    if !damaged && (!lost.is_empty() || recovered.table_damage.is_some()) {
        return Err(format!("damage is told, and there was none: {:?}, {lost:?}", recovered.table_damage));
    }
    let states = &plan.states[said.durable..=said.tried];
    let least = if damaged && told { &plan.states[..=said.tried] } else { states };
    // The newest first: nearly always it is that.
    let found = least.iter().rev().any(|copies| is_like(&volume, &recovered, copies, damaged).is_ok());
    if !found {
        let why = is_like(&volume, &recovered, &states[0], damaged);
        return Err(format!("none of the states {}..={}: {why:?}", said.durable, said.tried));
    }
    let mut read_error = false;
    let kept: BTreeSet<_> = recovered.replicas.iter().map(|replica| replica.state.space).collect();
    let left = delete_left_over(&volume, &recovered, &kept);
    let results = recovered.replicas.iter().map(|replica| rows_are(&volume, replica, plan)).chain([left]);
    for result in results {
        match result {
            Ok(()) => {}
            Err(Wrong::Read(_)) if damaged => read_error = true,
            Err(Wrong::Read(error)) => return Err(format!("rows can't be read: {error:?}")),
            Err(Wrong::Rows(why)) => return Err(why),
        }
    }
    Ok(if told || read_error { Outcome::Told } else { Outcome::Whole })
}

/// Whether log and states are those of `expected`.
pub(crate) fn log_is(volume: &Volume, recovered: &Recovered, expected: &Copies) -> Result<(), String> {
    let damage = recovered.replicas.iter().find_map(|replica| replica.damage.as_ref());
    match damage {
        Some(why) => Err(why.clone()),
        None => is_like(volume, recovered, expected, false),
    }
}

fn is_like(volume: &Volume, recovered: &Recovered, expected: &Copies, damaged: bool) -> Result<(), String> {
    let shards: Vec<_> = recovered.replicas.iter().map(|replica| replica.shard).collect();
    if !shards.iter().eq(expected.keys()) {
        return Err(format!("copies of {shards:?}, and of {:?} are expected", expected.keys()));
    }
    for replica in &recovered.replicas {
        let copy = &expected[&replica.shard];
        if replica.state.promised != copy.promised || (!replica.state.void && replica.state.space != copy.space) {
            let Copy { promised, space, .. } = copy;
            return Err(format!(
                "shard {}: {:?}, and {promised} in {space:?} is expected",
                replica.shard, replica.state
            ));
        }
        if replica.damage.is_some() || (damaged && replica.state.void) {
            let empty = replica.history.last() == EntryId::ZERO && replica.tail.is_empty();
            if !empty || !replica.state.void {
                return Err(format!("shard {} is damaged, and not void: {:?}", replica.shard, replica.state));
            }
            continue;
        }
        is_copy(volume, replica, copy)?;
    }
    Ok(())
}

fn is_copy(volume: &Volume, replica: &RecoveredReplica, copy: &Copy) -> Result<(), String> {
    let (shard, last) = (replica.shard, replica.history.last());
    if last != copy.last() {
        return Err(format!("shard {shard} ends with {last:?}, and with {:?} is expected", copy.last()));
    }
    if replica.applied.seq > last.seq {
        return Err(format!("shard {shard}: {:?} was applied, and the log ends with {last:?}", replica.applied));
    }
    if replica.tail != copy.after(replica.applied.max(copy.base)) {
        return Err(format!("shard {shard}: other entries follow {:?}", replica.applied));
    }
    let first = volume.first_seq(shard);
    if first > replica.applied.seq.next() {
        return Err(format!("shard {shard}: the log begins with {first}, after {:?}", replica.applied));
    }
    Ok(())
}

enum Wrong {
    Read(TableError),
    Rows(String),
}

/// Deletes what former copies have left; then only rows of the copies are there.
fn delete_left_over(volume: &Volume, recovered: &Recovered, kept: &BTreeSet<Space>) -> Result<(), Wrong> {
    let mut left_over = volume.left_over(kept.clone(), recovered.last_space);
    while left_over.delete_some().map_err(Wrong::Read)? {}
    for row in volume.table().scan(&KeyRange::all(), Direction::Forward) {
        let (key, _) = row.map_err(Wrong::Read)?;
        let is_of_copy = rows::space_of(&key).is_some_and(|space| kept.contains(&space));
        if !is_of_copy && rows::parse_applied_key(&key).is_none() {
            return Err(Wrong::Rows(format!("row {key:?} is of no copy, and stays")));
        }
    }
    Ok(())
}

/// Whether the table has what was applied up to the entry that it names, and nothing else.
fn rows_are(volume: &Volume, replica: &RecoveredReplica, plan: &Plan) -> Result<(), Wrong> {
    let (shard, applied, space) = (replica.shard, replica.applied, replica.state.space);
    if applied == EntryId::ZERO {
        // All of the log is applied anew.
        return Ok(());
    }
    let expected = plan.rows.get(&(shard, space)).and_then(|applied_at| applied_at.get(&applied));
    let Some(expected) = expected else {
        return Err(Wrong::Rows(format!("shard {shard}: {applied:?} was never applied to {space:?}")));
    };
    let found = rows_of(&**volume.table(), space).map_err(Wrong::Read)?;
    if found == *expected {
        return Ok(());
    }
    Err(Wrong::Rows(format!("shard {shard}: other rows at {applied:?} in {space:?}")))
}
