//! Nodes that have ended by themselves.

use std::fs;

use kv_local::{Folder, NodeState};

use crate::{Result, journal::Entry, nemesis::Nemesis, plan::Fault, rule};

/// Of a log's end, what is told of a node that ended by itself.
const TAIL_LINES: usize = 12;
/// How often that is told of one node.
const TOLD_MAX: usize = 3;
/// What a node says of a volume of which it can't know what its copies had promised. A person does as it says, and so does this program.
const ASKED: &str = "empty the folder to start as a new volume";
/// What the journal adds to a flip.
const EMPTIED: &str = ", and emptied, as the node asked";

impl Nemesis<'_> {
    /// Nodes that ended by themselves: said, and started again.
    ///
    /// A flipped bit may leave a volume that no node can start on. It is emptied then, which the node has asked for.
    pub(crate) fn look_for_the_dead(&mut self) -> Result<()> {
        for index in 0..self.cluster.node_count() {
            let node = self.cluster.node_mut(index)?;
            if node.state() != NodeState::Stopped || self.down.contains(&index) {
                continue;
            }
            let text = fs::read_to_string(node.log()).unwrap_or_default();
            let last = text.lines().last().unwrap_or_default();
            let asked = [Folder::Data, Folder::Bkpdata]
                .into_iter()
                .find(|folder| last.contains(&format!("{}: ", node.volume(*folder).display())) && last.contains(ASKED));
            match asked {
                Some(folder) if self.was_flipped(index, folder) => self.cluster.wipe(index, folder)?,
                _ => self.tell(index, &text),
            }
            self.cluster.start_node(index)?;
        }
        Ok(())
    }

    /// Whether a bit of this volume was flipped since it was last emptied; if so, the journal says that it is emptied now. The rule goes on to
    /// count it as damaged.
    fn was_flipped(&mut self, index: usize, folder: Folder) -> bool {
        let (node, folder) = rule::volume(index, folder);
        let volume = format!("{node}/{folder}");
        let destroyed = |entry: &&mut Entry| match entry.fault {
            Fault::Flip => entry.on.starts_with(&volume),
            Fault::Wipe => entry.on.contains(&volume),
            _ => false,
        };
        match self.journal.entries.iter_mut().rev().find(destroyed) {
            Some(entry) if entry.fault == Fault::Flip && !entry.on.ends_with(EMPTIED) => {
                entry.on += EMPTIED;
                true
            }
            _ => false,
        }
    }

    fn tell(&mut self, index: usize, log: &str) {
        let times = self.ended.entry(index).or_default();
        *times += 1;
        if *times <= TOLD_MAX {
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n    ");
            self.failures.push(format!("kv-{index} ended by itself:\n    {tail}"));
        }
    }
}
