//! What the cluster promises to survive, and so what is never gone beyond.

use std::collections::{BTreeMap, BTreeSet};

use kv_client::description::ClusterDescription;
use kv_local::Folder;

/// A volume: its node's name, and the folder.
pub type Volume = (String, &'static str);

/// Judges before anything is destroyed. **Every shard keeps a copy that is in sync and intact**, and less than half of all volumes
/// is damaged at a time. Up to that bound everything is allowed.
///
/// Faults that destroy nothing (processes killed or hung, networks, clocks, ZooKeeper away) have no bound: whatever they
/// are, nothing acknowledged may be lost, and the cluster has to come back when they end.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// Volumes in which a byte was flipped. A copy there counts as intact never again: what was not read may be damaged.
    flipped: BTreeSet<Volume>,
    /// Volumes that were emptied, and the ids that they had: until nothing counts on those any more.
    emptied: BTreeMap<Volume, String>,
}

impl Rule {
    /// Whether these volumes may be destroyed together in a cluster that describes itself so.
    ///
    /// # Errors
    /// Why not.
    pub fn allows(&self, description: &ClusterDescription, volumes: &[Volume]) -> Result<(), String> {
        complete(description)?;
        let mut lost: BTreeSet<&Volume> = self.flipped.iter().chain(self.emptied.keys()).collect();
        lost.extend(volumes);
        let all = description.nodes.len() * 2;
        if lost.len() * 2 >= all {
            return Err(format!("{} of {all} volumes would be damaged", lost.len()));
        }
        for shard in &description.shards {
            let kept = shard.replicas.iter().any(|copy| {
                copy.in_sync && !lost.iter().any(|(node, folder)| *node == copy.node && *folder == copy.folder)
            });
            if !kept {
                return Err(format!("shard {} would keep no intact copy", shard.shard));
            }
        }
        Ok(())
    }

    /// A volume is emptied, which the cluster described so before.
    pub fn emptied(&mut self, volume: Volume, before: &ClusterDescription) {
        // Nothing is left that could be damaged.
        self.flipped.remove(&volume);
        let id = id(before, &volume).unwrap_or_default();
        self.emptied.insert(volume, id);
    }

    /// A byte in a volume was flipped.
    pub fn flipped(&mut self, volume: Volume) {
        self.flipped.insert(volume);
    }

    /// Takes note of a description: an emptied volume has its copies again once all shards have all of theirs, the node has
    /// another volume there, and no shard names the old one. Until its first sign of life the cluster may describe a node as it was.
    pub fn note(&mut self, description: &ClusterDescription) {
        if complete(description).is_err() {
            return;
        }
        self.emptied.retain(|volume, old| {
            let now = id(description, volume).unwrap_or_default();
            let named = description.shards.iter().flat_map(|shard| &shard.replicas).any(|copy| copy.volume == *old);
            now.is_empty() || now == *old || named
        });
    }
}

/// The id of a node's volume.
fn id(description: &ClusterDescription, (node, folder): &Volume) -> Option<String> {
    let node = description.nodes.iter().find(|described| described.node == *node)?;
    Some(if *folder == Folder::Data.name() { node.data_volume.clone() } else { node.bkpdata_volume.clone() })
}

/// The name of a folder, as descriptions have it.
#[must_use]
pub fn volume(node: usize, folder: Folder) -> Volume {
    (format!("kv-{node}"), folder.name())
}

/// That every shard is served and has all its copies, and that ZooKeeper was asked.
///
/// # Errors
/// What is not so.
pub fn complete(description: &ClusterDescription) -> Result<(), String> {
    if !description.zookeeper_connected || description.shards.is_empty() {
        return Err("ZooKeeper is not reached, or holds no shards".into());
    }
    if let Some(gone) = description.nodes.iter().find(|node| node.role == "gone") {
        return Err(format!("{} is not registered", gone.node));
    }
    let short = description.shards.iter().find(|shard| {
        // A copy that is placed and not yet in sync, also where the description still counts enough of them.
        let behind = shard.replicas.iter().any(|copy| copy.placed && !copy.in_sync);
        !shard.available || !shard.fully_replicated || behind
    });
    short.map_or(Ok(()), |shard| Err(format!("shard {} lacks copies", shard.shard)))
}

#[cfg(test)]
mod tests {
    use kv_client::description::{NodeDescription, ReplicaDescription, ShardDescription};

    use super::*;

    /// Three nodes; each is the home of one shard, and the next one backs it up.
    fn cluster(copies: usize) -> ClusterDescription {
        let copy = |node: usize, folder: Folder| ReplicaDescription {
            node: format!("kv-{}", node % 3),
            folder: folder.name().into(),
            volume: format!("{}-{}-0", node % 3, folder.name()),
            in_sync: true,
            placed: true,
            ..ReplicaDescription::default()
        };
        let shard = |home: usize| ShardDescription {
            shard: home as u64,
            available: true,
            fully_replicated: true,
            replicas: (0..copies)
                .map(|next| copy(home + next, if next == 0 { Folder::Data } else { Folder::Bkpdata }))
                .collect(),
            ..ShardDescription::default()
        };
        let node = |index: usize| NodeDescription {
            node: format!("kv-{index}"),
            role: "slave".into(),
            data_volume: format!("{index}-data-0"),
            bkpdata_volume: format!("{index}-bkpdata-0"),
            ..NodeDescription::default()
        };
        ClusterDescription {
            zookeeper_connected: true,
            nodes: (0..3).map(node).collect(),
            shards: (0..3).map(shard).collect(),
            ..ClusterDescription::default()
        }
    }

    #[test]
    fn both_volumes_of_one_node_may_go_and_both_copies_of_a_shard_may_not() {
        let (rule, two) = (Rule::default(), cluster(2));
        assert_eq!(rule.allows(&two, &[volume(0, Folder::Data), volume(0, Folder::Bkpdata)]), Ok(()));
        assert_eq!(rule.allows(&two, &[volume(0, Folder::Data), volume(2, Folder::Data)]), Ok(()));
        let refused = rule.allows(&two, &[volume(0, Folder::Data), volume(1, Folder::Bkpdata)]);
        assert!(refused.is_err_and(|why| why.contains("shard 0")));
        let three = cluster(3);
        assert_eq!(rule.allows(&three, &[volume(0, Folder::Data), volume(1, Folder::Bkpdata)]), Ok(()));
    }

    #[test]
    fn half_of_the_volumes_is_too_much() {
        let three = cluster(3);
        let volumes: Vec<_> = (0..3).map(|node| volume(node, Folder::Data)).collect();
        assert_eq!(Rule::default().allows(&three, &volumes[..2]), Ok(()));
        assert!(Rule::default().allows(&three, &volumes).is_err_and(|why| why.contains("3 of 6")));
    }

    #[test]
    fn what_was_flipped_is_never_the_copy_that_is_kept() {
        let (mut rule, two) = (Rule::default(), cluster(2));
        rule.flipped(volume(0, Folder::Data));
        rule.note(&two);
        assert!(rule.allows(&two, &[volume(1, Folder::Bkpdata)]).is_err());
        assert_eq!(rule.allows(&two, &[volume(0, Folder::Data)]), Ok(()));
        rule.emptied(volume(0, Folder::Data), &two);
        assert!(rule.allows(&two, &[volume(1, Folder::Bkpdata)]).is_err());
    }

    #[test]
    fn what_was_emptied_counts_again_when_it_is_another_volume_with_all_its_copies() {
        let (mut rule, before) = (Rule::default(), cluster(2));
        let other = [volume(1, Folder::Bkpdata)];
        rule.emptied(volume(0, Folder::Data), &before);
        let mut after = before.clone();
        let mut refused = |after: &ClusterDescription| {
            rule.note(after);
            rule.allows(after, &other).is_err()
        };
        assert!(refused(&before), "the cluster has not noticed yet");
        after.nodes[0].data_volume = "0-data-1".into();
        assert!(refused(&after), "the old one still counts");
        after.shards[0].replicas[0].volume = "0-data-1".into();
        after.shards[0].replicas[0].in_sync = false;
        assert!(refused(&after), "the new one is not in sync yet");
        after.shards[0].replicas[0].in_sync = true;
        assert!(!refused(&after));
    }

    #[test]
    fn nothing_is_destroyed_while_a_copy_is_missing() {
        let refused = |change: fn(&mut ClusterDescription)| {
            let mut description = cluster(3);
            change(&mut description);
            Rule::default().allows(&description, &[volume(0, Folder::Data)]).is_err()
        };
        assert!(!refused(|_| {}));
        assert!(refused(|description| description.zookeeper_connected = false));
        assert!(refused(|description| description.nodes[1].role = "gone".into()));
        assert!(refused(|description| description.shards[1].fully_replicated = false));
        assert!(refused(|description| description.shards[1].available = false));
        assert!(refused(|description| description.shards[1].replicas[1].in_sync = false));
        assert!(refused(|description| description.shards.clear()));
    }
}
