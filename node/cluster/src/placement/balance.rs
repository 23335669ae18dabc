use std::cmp::Reverse;

use super::{board::Board, repair::fill_backups};

/// Moves homes from the most to the least loaded nodes, as long as that makes the two more alike.
pub(super) fn balance_homes(board: &mut Board<'_>) {
    while board.budget > 0 {
        let Some((at, to)) = next_home(board) else { return };
        if !board.set_moving(at) {
            return;
        }
        board.set_home(at, to);
        fill_backups(board, at);
    }
}

/// The next shard to get another home, and which.
fn next_home(board: &Board<'_>) -> Option<(usize, usize)> {
    let (donors, takers) = by_load(board, &board.home_load);
    for &from in &donors {
        for &to in &takers {
            let surplus = board.home_load[from].saturating_sub(board.home_load[to]);
            let shards = (0..board.shards.len())
                .filter(|&at| board.homes[at] == Some(from) && board.is_quiet(at) && surplus > board.weight(at));
            let of_donor = (0..board.shards.len()).filter(|&at| board.homes[at] == Some(from));
            let latest = of_donor.map(|at| board.shards[at].changed).max();
            let best = shards.min_by_key(|&at| {
                let is_backup = board.backups[at].contains(&to);
                let mut after = board.backups[at].clone();
                after.retain(|backup| *backup != to);
                after.push(to);
                let conflicts = board.conflicts(&after).saturating_sub(board.conflicts(&board.copies_of(at)));
                let evens = (surplus / 2).abs_diff(board.weight(at));
                // What a person has just moved here stays, and another goes in exchange.
                let is_latest = Some(board.shards[at].changed) == latest;
                // The last shards come from splits: moving what does not grow would leave the load where it is.
                (is_backup, conflicts, evens, is_latest, Reverse(board.shards[at].id))
            });
            if let Some(at) = best {
                return Some((at, to));
            }
        }
    }
    None
}

/// Moves backups into other zones than their home and each other.
pub(super) fn part_zones(board: &mut Board<'_>) {
    for at in 0..board.shards.len() {
        let before = board.conflicts(&board.copies_of(at));
        if before == 0 || !board.is_quiet(at) {
            continue;
        }
        let mut best = None;
        for from in board.backups[at].clone() {
            for to in 0..board.nodes.len() {
                if let Some(after) = conflicts_after(board, at, from, to) {
                    let key = (after, board.backup_load[to], to, from);
                    best = best.into_iter().chain([key]).min();
                }
            }
        }
        if let Some((after, _, to, from)) = best
            && after < before
        {
            if !board.set_moving(at) {
                return;
            }
            board.remove_backup(at, from);
            board.add_backup(at, to);
        }
    }
}

/// Moves backups from the most to the least loaded nodes, without making zones worse.
pub(super) fn balance_backups(board: &mut Board<'_>) {
    while board.budget > 0 {
        let Some((at, from, to)) = next_backup(board) else { return };
        if !board.set_moving(at) {
            return;
        }
        board.remove_backup(at, from);
        board.add_backup(at, to);
    }
}

fn next_backup(board: &Board<'_>) -> Option<(usize, usize, usize)> {
    let (donors, takers) = by_load(board, &board.backup_load);
    for &from in &donors {
        for &to in &takers {
            let surplus = board.backup_load[from].saturating_sub(board.backup_load[to]);
            let shards = (0..board.shards.len()).filter(|&at| {
                let before = board.conflicts(&board.copies_of(at));
                board.is_quiet(at)
                    && surplus > board.weight(at)
                    && conflicts_after(board, at, from, to).is_some_and(|after| after <= before)
            });
            let best =
                shards.min_by_key(|&at| ((surplus / 2).abs_diff(board.weight(at)), board.shards[at].changed, at));
            if let Some(at) = best {
                return Some((at, from, to));
            }
        }
    }
    None
}

/// Zone conflicts of a shard whose backup moves from one node to another; `None` if it can't.
fn conflicts_after(board: &Board<'_>, at: usize, from: usize, to: usize) -> Option<usize> {
    let copies = board.copies_of(at);
    if !board.backups[at].contains(&from) || copies.contains(&to) || !board.is_present(to) {
        return None;
    }
    let after: Vec<_> = copies.into_iter().filter(|copy| *copy != from).chain([to]).collect();
    Some(board.conflicts(&after))
}

/// Present nodes, most loaded first and least loaded first.
fn by_load(board: &Board<'_>, load: &[u64]) -> (Vec<usize>, Vec<usize>) {
    let mut nodes: Vec<_> = (0..board.nodes.len()).filter(|node| board.is_present(*node)).collect();
    nodes.sort_by_key(|node| (load[*node], *node));
    (nodes.iter().rev().copied().collect(), nodes)
}
