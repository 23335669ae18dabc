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
const FOUND: &str = ", and found, which ended the node";
/// What a node says of a table that it ends for.
const DAMAGED: &str = "damaged";
/// What the system calls a full disk.
const FULL: &str = "No space left on device";
/// What a node says that could not make or open a volume. One that is running goes on without room, and must not end for it.
const NOT_OPENED: [&str; 2] = ["can't be used: ", "can't be opened: "];
const FOLDERS: [Folder; 2] = [Folder::Data, Folder::Bkpdata];

impl Nemesis<'_> {
    /// Nodes that ended by themselves: said, and started again.
    ///
    /// A flipped bit may leave a volume that no node can start on. It is emptied then, which the node has asked for. One that is found in a
    /// table ends the node once, and it makes its copies anew when it is started again. And nothing starts on a full disk.
    pub(crate) fn look_for_the_dead(&mut self) -> Result<()> {
        for index in 0..self.cluster.node_count() {
            let node = self.cluster.node_mut(index)?;
            if node.state() != NodeState::Stopped || self.down.contains(&index) {
                continue;
            }
            let text = fs::read_to_string(node.log()).unwrap_or_default();
            let last = text.lines().last().unwrap_or_default().to_owned();
            let asked = FOLDERS
                .into_iter()
                .find(|folder| last.contains(&format!("{}: ", node.volume(*folder).display())) && last.contains(ASKED));
            let damaged = FOLDERS.into_iter().find(|folder| {
                let name = folder.name();
                let names =
                    [format!("the table of {name} "), format!(" {name}: "), format!("/{name} can't be opened: ")];
                let named = names.iter().any(|text| last.contains(text));
                named && last.contains(DAMAGED)
            });
            match asked.or(damaged) {
                Some(folder) if self.was_flipped(index, folder, asked.is_some()) => {
                    if asked.is_some() {
                        self.cluster.wipe(index, folder)?;
                    }
                }
                _ if NOT_OPENED.iter().any(|text| last.contains(text))
                    && last.contains(FULL)
                    && self.has_been_full(index) => {}
                _ => self.tell(index, &text),
            }
            self.cluster.start_node(index)?;
        }
        Ok(())
    }

    /// Whether a bit of this volume was flipped, and that has not ended the node yet; the journal says that it has now. The rule goes on to
    /// count the volume as damaged, whether it is emptied or not.
    fn was_flipped(&mut self, index: usize, folder: Folder, emptied: bool) -> bool {
        let (node, folder) = rule::volume(index, folder);
        let volume = format!("{node}/{folder}");
        let destroyed = |entry: &&mut Entry| match entry.fault {
            Fault::Flip => entry.on.starts_with(&volume),
            Fault::Wipe => entry.on.contains(&volume),
            _ => false,
        };
        match self.journal.entries.iter_mut().rev().find(destroyed) {
            Some(entry)
                if entry.fault == Fault::Flip && ![EMPTIED, FOUND].iter().any(|end| entry.on.ends_with(end)) =>
            {
                entry.on += if emptied { EMPTIED } else { FOUND };
                true
            }
            _ => false,
        }
    }

    /// Whether the disk of this node has been full in this round: what it says of that may be from a moment ago.
    fn has_been_full(&self, index: usize) -> bool {
        let (node, _) = rule::volume(index, Folder::Data);
        let full = |entry: &Entry| entry.fault == Fault::DiskFull && entry.on.starts_with(&format!("{node}/"));
        self.journal.entries.iter().any(full)
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
