use super::board::Board;

/// Gives every shard a home that may keep it, and as many backups as it should have.
pub(super) fn repair(board: &mut Board<'_>) {
    // A volume that no node has any more was wiped: its copies are placed anew at once, whatever else is in motion.
    for at in 0..board.shards.len() {
        if lost_a_volume(board, at) {
            board.moving[at] = true;
        }
    }
    for at in 0..board.shards.len() {
        drop_excess(board, at);
        if board.homes[at].is_none() {
            give_home(board, at);
        }
    }
    for at in 0..board.shards.len() {
        fill_backups(board, at);
    }
}

fn lost_a_volume(board: &Board<'_>, at: usize) -> bool {
    let Some(placement) = &board.shards[at].placement else { return true };
    let known = |volume| board.nodes.iter().any(|node| node.data == volume || node.bkpdata == volume);
    !placement.replicas.iter().all(|volume| known(*volume))
}

fn give_home(board: &mut Board<'_>, at: usize) {
    let backups = &board.backups[at];
    let best = (0..board.nodes.len()).filter(|node| board.is_present(*node)).min_by_key(|&node| {
        // A node that is a backup would need another one besides.
        let others: Vec<_> = backups.iter().copied().filter(|backup| *backup != node).chain([node]).collect();
        (board.home_load[node], board.conflicts(&others), backups.contains(&node), node)
    });
    let Some(best) = best else { return };
    if board.set_moving(at) {
        board.set_home(at, best);
    } else {
        board.waiting = true;
    }
}

/// Backups above the number of copies go; of those in the same zone and of the most loaded node first.
fn drop_excess(board: &mut Board<'_>, at: usize) {
    while board.backups[at].len() + 1 > board.copies {
        let backups = &board.backups[at];
        let shard = board.shards[at];
        let worst = backups.iter().copied().max_by_key(|&node| {
            let others: Vec<_> = board.copies_of(at).into_iter().filter(|other| *other != node).collect();
            let in_sync = shard.isr.contains(&board.nodes[node].bkpdata);
            (!in_sync, std::cmp::Reverse(board.conflicts(&others)), board.backup_load[node], node)
        });
        let Some(worst) = worst else { return };
        board.remove_backup(at, worst);
    }
}

/// Adds backups up to the number of copies.
pub(super) fn fill_backups(board: &mut Board<'_>, at: usize) {
    let Some(home) = board.homes[at] else { return };
    while board.backups[at].len() + 1 < board.copies {
        let Some(best) = pick_backup(board, at, home) else { return };
        if !board.set_moving(at) {
            board.waiting = true;
            return;
        }
        board.add_backup(at, best);
    }
}

/// The node that should be the next backup of a shard with this home.
pub(super) fn pick_backup(board: &Board<'_>, at: usize, home: usize) -> Option<usize> {
    let count = board.nodes.len();
    let taken = board.copies_of(at);
    let free = (0..count).filter(|node| board.is_present(*node) && !taken.contains(node));
    free.min_by_key(|&node| {
        let together: Vec<_> = taken.iter().copied().chain([node]).collect();
        // So that the backups of one home are spread: the load of a node that fails falls on all others.
        let shared = (0..board.shards.len())
            .filter(|other| board.homes[*other] == Some(home) && board.backups[*other].contains(&node))
            .count();
        (board.conflicts(&together), board.backup_load[node], shared, (node + count - home) % count)
    })
}
