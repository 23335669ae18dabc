use std::path::Path;

use kv_types::{Entry, EntryId, EpochHistory, KeyRange, Seq, ShardId};

use super::OpenError;
use crate::{
    Batch, Direction, ReadError, ReplicaState, Space, Table, TableError,
    log::{Log, Record, Replay, Replayed, history_up_to},
    rows,
    table::DELETE_BATCH,
};

/// Entries are read back in pieces of this many bytes.
const PIECE: usize = 4 << 20;

/// What a start has found on a volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// The volume's replicas.
    pub replicas: Vec<RecoveredReplica>,
    /// Why the table was made anew, if it was: then all replicas are void.
    pub table_damage: Option<String>,
    /// What was cut from the log, if anything was: then all replicas are torn.
    pub torn_tail: Option<String>,
    /// The highest space that a replica has, or that a row lies in: rows of a copy that was dropped may be there still.
    pub last_space: Space,
}

/// What a start has found of one replica.
#[derive(Clone, Debug, PartialEq)]
pub struct RecoveredReplica {
    /// The shard.
    pub shard: ShardId,
    /// What it remembers. [`ReplicaState::void`] and [`ReplicaState::torn`] hold what was found now or before, until they
    /// are put otherwise.
    pub state: ReplicaState,
    /// Why it was made void at this start.
    pub damage: Option<String>,
    /// Its log.
    pub history: EpochHistory,
    /// The first seq that can be read.
    pub first_seq: Seq,
    /// The last entry that is in the table.
    pub applied: EntryId,
    /// The entries after it.
    pub tail: Vec<Entry>,
}

/// How the log is to go on, and what was found.
pub(super) struct Plan {
    pub(super) amendments: Vec<Record>,
    pub(super) replicas: Found,
}

pub(super) struct Found {
    applied: Vec<(ShardId, EntryId, Option<String>)>,
    table_damage: Option<String>,
    torn_tail: Option<String>,
    last_space: Space,
}

/// Compares log and table.
pub(super) fn plan(
    path: &Path,
    replay: &Replay,
    table: &dyn Table,
    table_damage: Option<String>,
) -> Result<Plan, OpenError> {
    let unreadable = |error| OpenError::of_table(path, error);
    if replay.is_empty() && table.scan(&rows::applied_range(), Direction::Forward).next().is_some() {
        let why = "its log is gone, and with it what its replicas promised".into();
        return Err(OpenError::LogLost { path: path.into(), why });
    }
    let torn_tail = replay.torn().map(str::to_owned);
    let mut amendments = Vec::new();
    let last_row = table.scan(&KeyRange::all(), Direction::Reverse).next().transpose().map_err(unreadable)?;
    let of_rows = last_row.and_then(|(key, _)| rows::space_of(&key)).unwrap_or_default();
    let of_copies = replay.replicas().iter().map(|replica| replica.state.space).max().unwrap_or_default();
    let mut found = Found { applied: Vec::new(), table_damage, torn_tail, last_space: of_rows.max(of_copies) };
    let mut wiped = Batch::default();
    for replica in replay.replicas() {
        let shard = replica.shard;
        let applied = match applied(table, shard).map_err(unreadable)? {
            Some(row) if is_stale(row.space, replica.state.space) => {
                let mut stale = Batch::default();
                stale.delete(rows::applied_key(shard));
                table.write(stale).map_err(unreadable)?;
                EntryId::ZERO
            }
            Some(row) => {
                if row.sessions_in_space_0 && replica.state.space != Space(0) {
                    move_sessions(table, shard, row.id, replica.state.space).map_err(unreadable)?;
                }
                row.id
            }
            None => EntryId::ZERO,
        };
        let damage = damage(&replica, applied, &found);
        let Replayed { mut state, history, .. } = replica;
        if damage.is_some() {
            // The promise stays: it was made by this volume, whatever else is lost.
            state.void = true;
            amendments.push(Record::Reset(shard, EpochHistory::default()));
            amendments.push(Record::State(shard, state));
            wiped.delete(rows::applied_key(shard));
            found.applied.push((shard, EntryId::ZERO, damage));
            continue;
        }
        if applied.seq > history.last().seq {
            // A learner applies what it has not made durable yet: all of it is committed.
            amendments.push(Record::Reset(shard, history_up_to(applied, &history)));
        }
        if found.torn_tail.is_some() && !state.torn {
            state.torn = true;
            amendments.push(Record::State(shard, state));
        }
        found.applied.push((shard, applied, None));
    }
    if !wiped.is_empty() {
        // On the disk before the log says so, or the next start would take the rows for applied.
        table.write(wiped).and_then(|_| table.flush()).map_err(unreadable)?;
    }
    Ok(Plan { amendments, replicas: found })
}

/// Puts together what the node needs to start its replicas.
pub(super) fn finish(path: &Path, log: &Log, found: Found) -> Result<Recovered, OpenError> {
    let states = log.states();
    let mut replicas = Vec::new();
    for (shard, applied, damage) in found.applied {
        let state = states.iter().find(|(of, _)| *of == shard).map(|(_, state)| state.clone()).unwrap_or_default();
        let history = log.history(shard).unwrap_or_default();
        let tail = tail(log, shard, applied).map_err(|error| {
            let source = match error {
                ReadError::Io(error) => error,
                other => std::io::Error::other(other),
            };
            OpenError::Io { path: path.into(), source }
        })?;
        if let Some(why) = &damage {
            tracing::error!(%shard, why, "a copy is damaged and starts over empty");
        }
        let first_seq = log.first_seq(shard);
        replicas.push(RecoveredReplica { shard, state, damage, history, first_seq, applied, tail });
    }
    let Found { table_damage, torn_tail, last_space, .. } = found;
    Ok(Recovered { replicas, table_damage, torn_tail, last_space })
}

/// Why the copy can't be believed, if it can't.
fn damage(replica: &Replayed, applied: EntryId, found: &Found) -> Option<String> {
    let Replayed { history, lost, state, .. } = replica;
    if let Some(why) = lost {
        return Some(why.clone());
    }
    let last = history.last();
    if let Some(why) = &found.table_damage
        && (last != EntryId::ZERO || !state.void)
    {
        return Some(format!("the table was damaged: {why}"));
    }
    if applied.seq > last.seq {
        // Without a torn tail it is a learner's: nobody relies on what it had not acknowledged.
        return found
            .torn_tail
            .as_ref()
            .map(|torn| format!("{torn}, below entry {}/{} which was applied", applied.epoch, applied.seq));
    }
    let known = history.epoch_at(applied.seq);
    if known.is_some_and(|epoch| epoch != applied.epoch) {
        return Some(format!("entry {}/{} was applied and is another in the log", applied.epoch, applied.seq));
    }
    if applied.seq < last.seq && !history_reaches(replica, applied.seq) {
        return Some(format!("only entry {}/{} was applied, and the log begins later", applied.epoch, applied.seq));
    }
    None
}

fn history_reaches(replica: &Replayed, applied: Seq) -> bool {
    replica.first_seq <= applied.next()
}

/// Whether the table's rows, applied to `space`, are of what the copy was before it started over.
pub(super) fn is_stale(space: Option<Space>, of_copy: Space) -> bool {
    of_copy != Space(0) && space.is_some_and(|space| space != of_copy)
}

/// What the table says of a copy.
struct AppliedRow {
    id: EntryId,
    space: Option<Space>,
    sessions_in_space_0: bool,
}

fn applied(table: &dyn Table, shard: ShardId) -> Result<Option<AppliedRow>, TableError> {
    let Some(row) = table.get(&rows::applied_key(shard))? else { return Ok(None) };
    let Some((id, space)) = rows::decode_applied(&row) else {
        return Err(TableError::Corrupt(format!(
            "the applied row of shard {shard} is malformed or of a newer version"
        )));
    };
    Ok(Some(AppliedRow { id, space, sessions_in_space_0: rows::sessions_in_space_0(&row) }))
}

/// Moves a duplicate table that an older version has written into the copy's space. Each row is moved in one batch, and the
/// applied row says so after all of them: a crash in between is gone over again at the next start.
fn move_sessions(table: &dyn Table, shard: ShardId, applied: EntryId, space: Space) -> Result<(), TableError> {
    let mut batch = Batch::default();
    for range in rows::duplicate_table(Space(0), shard) {
        for row in table.scan(&range, Direction::Forward) {
            let (key, value) = row?;
            if let Some(moved) = rows::moved_to(space, &key) {
                batch.put(moved, value);
            }
            batch.delete(key);
            if batch.len() >= DELETE_BATCH {
                table.write(std::mem::take(&mut batch))?;
            }
        }
    }
    batch.put(rows::applied_key(shard), rows::encode_applied(applied, space));
    table.write(batch).map(drop)
}

fn tail(log: &Log, shard: ShardId, applied: EntryId) -> Result<Vec<Entry>, ReadError> {
    let mut tail: Vec<Entry> = Vec::new();
    loop {
        let next = tail.last().map_or(applied.seq, |entry| entry.id.seq).next();
        let more = log.read(shard, next, PIECE)?;
        if more.is_empty() {
            return Ok(tail);
        }
        tail.extend(more);
    }
}
