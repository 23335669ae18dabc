//! What is claimed of a description.

use kv_client::description::ClusterDescription;

/// All shards have all copies in sync and are served by their homes.
pub fn whole(description: &ClusterDescription) -> Result<(), String> {
    if description.shards.is_empty() {
        return Err("there are no shards yet".into());
    }
    for shard in &description.shards {
        let number = shard.shard;
        if !shard.available {
            return Err(format!("nobody serves shard {number}"));
        }
        if !shard.fully_replicated {
            return Err(format!("a copy of shard {number} is not in sync"));
        }
        if shard.primary != shard.home {
            return Err(format!("shard {number} is served by {} and not by its home {}", shard.primary, shard.home));
        }
    }
    Ok(())
}

/// Shards that `node` serves.
pub fn served_by(description: &ClusterDescription, node: &str) -> Vec<u64> {
    let served = description.shards.iter().filter(|shard| shard.primary == node && shard.available);
    served.map(|shard| shard.shard).collect()
}

/// Whether all placed copies of a node in `folder` are in sync.
pub fn in_sync(description: &ClusterDescription, node: &str, folder: &str) -> Result<(), String> {
    for shard in &description.shards {
        let copies = shard.replicas.iter().filter(|copy| copy.node == node && copy.folder == folder && copy.placed);
        for copy in copies {
            if !copy.in_sync {
                let (number, state, lag) = (shard.shard, &copy.state, copy.lag);
                return Err(format!("the copy of shard {number} in {folder} is {state}, {lag} entries behind"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kv_client::description::{ReplicaDescription, ShardDescription};

    use super::*;

    fn copy(node: &str, folder: &str, in_sync: bool) -> ReplicaDescription {
        let (node, folder, state) = (node.to_owned(), folder.to_owned(), "member".to_owned());
        ReplicaDescription { node, folder, state, in_sync, placed: true, ..ReplicaDescription::default() }
    }

    fn shard(shard: u64, home: &str, backup: &str) -> ShardDescription {
        ShardDescription {
            shard,
            home: home.into(),
            primary: home.into(),
            available: true,
            fully_replicated: true,
            replicas: vec![copy(home, "data", true), copy(backup, "bkpdata", true)],
            ..ShardDescription::default()
        }
    }

    fn of(shards: Vec<ShardDescription>) -> ClusterDescription {
        ClusterDescription { shards, ..ClusterDescription::default() }
    }

    #[test]
    fn a_cluster_is_whole_only_if_every_shard_is_served_by_its_home_with_all_copies() {
        let good = || shard(2, "b", "a");
        assert_eq!(whole(&of(vec![shard(1, "a", "b"), good()])), Ok(()));
        let broken = |shard: ShardDescription| whole(&of(vec![good(), shard])).is_err();
        assert!(whole(&of(vec![])).is_err());
        assert!(broken(ShardDescription { available: false, ..good() }));
        assert!(broken(ShardDescription { fully_replicated: false, ..good() }));
        assert!(broken(ShardDescription { primary: "a".into(), ..good() }));
    }

    #[test]
    fn only_what_is_available_is_served() {
        let gone = ShardDescription { available: false, ..shard(3, "a", "b") };
        let description = of(vec![shard(1, "a", "b"), shard(2, "b", "a"), gone]);
        assert_eq!(served_by(&description, "a"), [1]);
    }

    #[test]
    fn a_node_is_in_sync_volume_by_volume() {
        let mut behind = shard(1, "a", "b");
        behind.replicas[1].in_sync = false;
        let description = of(vec![behind, shard(2, "b", "a")]);
        assert_eq!(in_sync(&description, "a", "data"), Ok(()));
        assert_eq!(in_sync(&description, "b", "data"), Ok(()));
        assert!(in_sync(&description, "b", "bkpdata").is_err_and(|missing| missing.contains("shard 1")));
    }
}
