//! What is claimed of a cluster's description.

use kv_client::description::{ClusterDescription, ShardDescription};

/// All shards have all copies in sync and no others, and their homes serve them from `data`.
///
/// # Errors
/// What is not so.
pub fn whole(description: &ClusterDescription) -> Result<(), String> {
    if description.shards.is_empty() {
        return Err("there are no shards yet".into());
    }
    for shard in &description.shards {
        let ShardDescription { shard: number, available, fully_replicated, primary, home, served_from, .. } = shard;
        if !available || !fully_replicated || primary != home || served_from != "data" {
            return Err(format!(
                "shard {number} of {home}: available {available}, all copies in sync {fully_replicated}, served by \
                 {primary} from {served_from:?}"
            ));
        }
        if let Some(leaving) = shard.replicas.iter().find(|copy| copy.in_sync && !copy.placed) {
            return Err(format!("shard {number} still has a copy in {} of {}", leaving.folder, leaving.node));
        }
    }
    Ok(())
}

/// As [`whole`], and `nodes` nodes are registered and ready.
///
/// # Errors
/// What is not so.
pub fn whole_with(description: &ClusterDescription, nodes: usize) -> Result<(), String> {
    whole(description)?;
    let present: Vec<_> = description.nodes.iter().filter(|node| node.role != "gone").collect();
    if present.len() != nodes {
        return Err(format!("{} nodes are registered instead of {nodes}", present.len()));
    }
    present.iter().try_for_each(|node| {
        if node.ready { Ok(()) } else { Err(format!("{} is not ready: {}", node.node, node.detail)) }
    })
}

/// None of `shards` is served by `node`, and all are served.
///
/// # Errors
/// What is not so.
pub fn served_by_others(description: &ClusterDescription, node: &str, shards: &[u64]) -> Result<(), String> {
    for shard in description.shards.iter().filter(|shard| shards.contains(&shard.shard)) {
        let ShardDescription { shard, available, primary, served_from, .. } = shard;
        if !available || primary == node || served_from != "bkpdata" {
            return Err(format!("shard {shard}: available {available}, served by {primary} from {served_from:?}"));
        }
    }
    Ok(())
}

/// Shards that `node` serves.
#[must_use]
pub fn served_by(description: &ClusterDescription, node: &str) -> Vec<u64> {
    let served = description.shards.iter().filter(|shard| shard.available && shard.primary == node);
    served.map(|shard| shard.shard).collect()
}

/// Shards that `node` keeps a backup of.
#[must_use]
pub fn backed_up_by(description: &ClusterDescription, node: &str) -> Vec<u64> {
    let backs = |shard: &&ShardDescription| {
        shard.replicas.iter().any(|copy| copy.placed && copy.node == node && copy.folder == "bkpdata")
    };
    description.shards.iter().filter(backs).map(|shard| shard.shard).collect()
}

/// Whether all copies that are placed in a node's folder are in sync.
///
/// # Errors
/// The first that is not.
pub fn in_sync(description: &ClusterDescription, node: &str, folder: &str) -> Result<(), String> {
    for shard in &description.shards {
        let behind = shard
            .replicas
            .iter()
            .find(|copy| copy.placed && copy.node == node && copy.folder == folder && !copy.in_sync);
        if let Some(copy) = behind {
            let (number, state, lag) = (shard.shard, &copy.state, copy.lag);
            return Err(format!("the copy of shard {number} in {folder} is {state}, {lag} entries behind"));
        }
    }
    Ok(())
}
