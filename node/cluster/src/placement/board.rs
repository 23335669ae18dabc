use kv_types::{Placement, VolumeId};

use super::{NodeState, PlacementChange, PlacementInput, PlacementNode, PlacementShard};

/// The placement while it is being thought over: nodes and shards by their index.
pub(super) struct Board<'a> {
    pub(super) nodes: Vec<&'a PlacementNode>,
    pub(super) shards: Vec<&'a PlacementShard>,
    /// Of each shard; only nodes that may keep it.
    pub(super) homes: Vec<Option<usize>>,
    pub(super) backups: Vec<Vec<usize>>,
    /// Of each node.
    pub(super) home_load: Vec<u64>,
    pub(super) backup_load: Vec<u64>,
    /// Copies of each shard.
    pub(super) copies: usize,
    /// How many more shards may be set in motion.
    pub(super) budget: usize,
    /// Whether a repair waits for the budget.
    pub(super) waiting: bool,
    /// Whether each shard is being copied, or has been changed here.
    pub(super) moving: Vec<bool>,
}

impl<'a> Board<'a> {
    /// `None` if there is no node that could keep anything.
    pub(super) fn new(input: &'a PlacementInput) -> Option<Self> {
        let PlacementInput { nodes, shards, copies, max_in_motion } = input;
        let mut nodes: Vec<_> = nodes.iter().collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let mut shards: Vec<_> = shards.iter().collect();
        shards.sort_by_key(|shard| shard.id);
        let keepers = nodes.iter().filter(|node| node.state != NodeState::Leaving).count();
        if !nodes.iter().any(|node| node.state == NodeState::Present) {
            return None;
        }
        let mut board = Self {
            homes: vec![None; shards.len()],
            backups: vec![Vec::new(); shards.len()],
            home_load: vec![0; nodes.len()],
            backup_load: vec![0; nodes.len()],
            copies: (*copies).clamp(1, keepers.max(1)),
            budget: 0,
            waiting: false,
            moving: shards.iter().map(|shard| is_moving(&nodes, shard)).collect(),
            nodes,
            shards,
        };
        board.budget = max_in_motion.saturating_sub(board.moving.iter().filter(|moving| **moving).count());
        for at in 0..board.shards.len() {
            board.place(at);
        }
        Some(board)
    }

    /// Takes over what of a shard's placement may stay.
    fn place(&mut self, at: usize) {
        let Some(placement) = &self.shards[at].placement else { return };
        let keeps = |node: &PlacementNode| node.state != NodeState::Leaving;
        let home = self.nodes.iter().position(|node| node.name == placement.home && keeps(node));
        let mut backups = Vec::new();
        for volume in placement.replicas.iter().skip(1) {
            let backup = self.nodes.iter().position(|node| node.bkpdata == *volume && keeps(node));
            // Two copies on one node never count as two.
            if let Some(backup) = backup
                && Some(backup) != home
                && !backups.contains(&backup)
            {
                backups.push(backup);
            }
        }
        if let Some(home) = home {
            self.home_load[home] += self.weight(at);
        }
        for &backup in &backups {
            self.backup_load[backup] += self.weight(at);
        }
        self.homes[at] = home;
        self.backups[at] = backups;
    }

    pub(super) fn weight(&self, at: usize) -> u64 {
        self.shards[at].weight.max(1)
    }

    pub(super) fn is_present(&self, node: usize) -> bool {
        self.nodes[node].state == NodeState::Present
    }

    /// Makes `node` the home; if it was a backup it is none any more.
    pub(super) fn set_home(&mut self, at: usize, node: usize) {
        if let Some(old) = self.homes[at] {
            self.home_load[old] -= self.weight(at);
        }
        self.remove_backup(at, node);
        self.homes[at] = Some(node);
        self.home_load[node] += self.weight(at);
    }

    pub(super) fn add_backup(&mut self, at: usize, node: usize) {
        self.backups[at].push(node);
        self.backup_load[node] += self.weight(at);
    }

    pub(super) fn remove_backup(&mut self, at: usize, node: usize) {
        if let Some(index) = self.backups[at].iter().position(|backup| *backup == node) {
            self.backups[at].remove(index);
            self.backup_load[node] -= self.weight(at);
        }
    }

    /// Whether all placed copies are in sync and nothing was changed here.
    pub(super) fn is_quiet(&self, at: usize) -> bool {
        let shard = self.shards[at];
        let placed = shard.placement.as_ref().map(|placement| &placement.replicas);
        !self.moving[at] && placed.is_some_and(|placed| placed.iter().all(|volume| shard.isr.contains(volume)))
    }

    /// Takes room for one more shard in motion; `false`: there is none.
    pub(super) fn set_moving(&mut self, at: usize) -> bool {
        if !self.moving[at] {
            if self.budget == 0 {
                return false;
            }
            self.budget -= 1;
            self.moving[at] = true;
        }
        true
    }

    /// How many pairs among these nodes stand in the same zone.
    pub(super) fn conflicts(&self, nodes: &[usize]) -> usize {
        let mut conflicts = 0;
        for (index, &a) in nodes.iter().enumerate() {
            let zone = self.nodes[a].zone.as_ref();
            conflicts +=
                nodes[index + 1..].iter().filter(|&&b| zone.is_some() && self.nodes[b].zone.as_ref() == zone).count();
        }
        conflicts
    }

    /// The home and the backups.
    pub(super) fn copies_of(&self, at: usize) -> Vec<usize> {
        self.homes[at].into_iter().chain(self.backups[at].iter().copied()).collect()
    }

    /// What differs from the placement as it was.
    pub(super) fn into_changes(self) -> Vec<PlacementChange> {
        let mut changes = Vec::new();
        for (at, shard) in self.shards.iter().enumerate() {
            let Some(home) = self.homes[at] else { continue };
            let home = self.nodes[home];
            let backups = self.backups[at].iter().map(|backup| self.nodes[*backup].bkpdata);
            let replicas: Vec<VolumeId> = std::iter::once(home.data).chain(backups).collect();
            let placement = Placement { home: home.name.clone(), replicas, copies: self.copies };
            if shard.placement.as_ref() != Some(&placement) {
                changes.push(PlacementChange { shard: shard.id, placement });
            }
        }
        changes
    }
}

/// Whether a copy is being made that can be made: by a node that is there, from a copy that is there.
fn is_moving(nodes: &[&PlacementNode], shard: &PlacementShard) -> bool {
    let registered = |volume: &VolumeId| {
        nodes.iter().any(|node| node.state == NodeState::Present && (node.data == *volume || node.bkpdata == *volume))
    };
    let placed = shard.placement.iter().flat_map(|placement| &placement.replicas);
    let mut missing = placed.filter(|volume| !shard.isr.contains(volume));
    missing.any(registered) && shard.isr.iter().any(registered)
}
