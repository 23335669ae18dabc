//! Where copies should be: pure and deterministic, so that every master comes to the same answer.
//!
//! First what is broken is repaired, then, as far as the bound on shards in motion leaves room, the load is balanced:
//! homes first, then zones, then backups. A later step never undoes an earlier one, so that it comes to rest.

mod balance;
mod board;
mod repair;
#[cfg(test)]
mod tests;

use kv_types::{NodeName, Placement, ShardId, VolumeId};

use board::Board;

/// Everything that a placement depends on.
#[derive(Clone, Debug, Default)]
pub struct PlacementInput {
    /// Known nodes.
    pub nodes: Vec<PlacementNode>,
    /// All shards.
    pub shards: Vec<PlacementShard>,
    /// Copies of each shard, as configured; fewer if there are fewer nodes.
    pub copies: usize,
    /// So many shards at most are copied at a time; repairs that a wiped volume asks for are not counted.
    pub max_in_motion: usize,
}

/// A node as placement sees it.
#[derive(Clone, Debug)]
pub struct PlacementNode {
    /// Its name.
    pub name: NodeName,
    /// Its `data` volume at its last registration.
    pub data: VolumeId,
    /// Its `bkpdata` volume at its last registration.
    pub bkpdata: VolumeId,
    /// Where it stands; nodes without zone count as each in its own.
    pub zone: Option<String>,
    /// What may be placed on it.
    pub state: NodeState,
}

/// What may be placed on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Registered: keeps what it has and may get more.
    Present,
    /// Not registered, but not for long: keeps what it has.
    Away,
    /// Not registered for longer than the bound, or drained: is to be replaced.
    Leaving,
}

/// A shard as placement sees it.
#[derive(Clone, Debug)]
pub struct PlacementShard {
    /// The shard.
    pub id: ShardId,
    /// Where its copies should be; none: it is new.
    pub placement: Option<Placement>,
    /// Where they are in sync.
    pub isr: Vec<VolumeId>,
    /// How much it is to be reckoned, at least 1.
    pub weight: u64,
    /// When its placement last changed: what has just been moved is not moved again as long as there is another.
    pub changed: i64,
}

/// A shard's next placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementChange {
    /// The shard.
    pub shard: ShardId,
    /// Where its copies should be from now on.
    pub placement: Placement,
}

/// The changes to make now, in order of urgency; none: everything is where it should be, or in motion.
#[must_use]
pub fn plan(input: &PlacementInput) -> Vec<PlacementChange> {
    let Some(mut board) = Board::new(input) else { return Vec::new() };
    repair::repair(&mut board);
    if !board.waiting {
        balance::balance_homes(&mut board);
        balance::part_zones(&mut board);
        balance::balance_backups(&mut board);
    }
    board.into_changes()
}

/// The change that makes `node` the home of `shard` on request; `None` if it can't be given anything or there is no such
/// shard.
#[must_use]
pub fn move_home(input: &PlacementInput, shard: ShardId, node: &NodeName) -> Option<Option<PlacementChange>> {
    let mut board = Board::new(input)?;
    let to = board.nodes.iter().position(|at| at.name == *node && at.state == NodeState::Present)?;
    let at = board.shards.iter().position(|at| at.id == shard)?;
    if board.homes[at] == Some(to) {
        return Some(None);
    }
    board.set_home(at, to);
    repair::fill_backups(&mut board, at);
    Some(board.into_changes().into_iter().find(|change| change.shard == shard))
}

/// Whether a shard has outgrown its bounds: `bytes` of keys and values, `load` in operations per second.
#[must_use]
pub fn wants_split(bytes: u64, load: u64, max_bytes: u64, max_load: u64) -> bool {
    bytes > max_bytes || load > max_load
}
