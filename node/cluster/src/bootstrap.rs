use std::time::Duration;

use bytes::Bytes;
use kv_types::{Epoch, KeyRange, Lineage, Placement, ShardConfig, ShardId};
use tokio::time::sleep;
use tracing::{info, warn};
use uuid::Uuid;
use zookeeper_client::Error as ZkError;

use crate::{
    Bootstrap, ClusterInfo, Controller, Error, Result, SharedConfig,
    document::{decode, encode},
    layout::{FOLDERS, Key},
    request::{Write, WriteFailure},
    session::Session,
};

const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Finds the cluster, or makes it if the root is empty and the volumes belong to no other; waits for ZooKeeper.
///
/// # Errors
/// The volumes belong to another cluster, or what is there can't be read or written.
pub(crate) async fn join(
    session: &Session,
    volumes: Option<Uuid>,
    wanted: &SharedConfig,
) -> Result<(Uuid, SharedConfig)> {
    loop {
        match try_join(session, volumes, wanted).await {
            // A new attempt finds what an answer that was lost has made.
            Err(Error::NotConnected(_) | Error::Unknown(_)) => sleep(RETRY_PAUSE).await,
            outcome => return outcome,
        }
    }
}

async fn try_join(session: &Session, volumes: Option<Uuid>, wanted: &SharedConfig) -> Result<(Uuid, SharedConfig)> {
    session.sync().await.or_else(|error| match error.refusal() {
        Some(ZkError::NoNode) => Ok(()),
        _ => Err(error),
    })?;
    if let Some(found) = find(session).await? {
        return accept(session, volumes, wanted, found);
    }
    let root = session.layout().root().to_owned();
    if let Some(volumes) = volumes {
        return Err(Error::ClusterMissing { volumes, root });
    }
    let info = ClusterInfo { uuid: Uuid::new_v4() };
    session.make_path(&root).await?;
    match session.commit(creation(session, &info, wanted)).await {
        Ok(_) => {
            info!(cluster = %info.uuid, root, ?wanted, "made a new cluster");
            Ok((info.uuid, wanted.clone()))
        }
        Err(WriteFailure::Part(_, ZkError::NodeExists)) => match find(session).await? {
            Some(found) => accept(session, volumes, wanted, found),
            None => Err(Error::Malformed { path: root, reason: "it holds something else than a cluster".into() }),
        },
        Err(failure) => Err(failure.into_error(&root)),
    }
}

/// What `cluster` and `config` hold; `None` if there is no cluster.
pub(crate) async fn find(session: &Session) -> Result<Option<(ClusterInfo, SharedConfig)>> {
    let layout = session.layout();
    let (cluster, config) = (layout.path(&Key::Cluster), layout.path(&Key::Config));
    let mut nodes = session.read_all(&[cluster.clone(), config.clone()]).await?.into_iter();
    let (Some(Some(info)), Some(shared)) = (nodes.next(), nodes.next()) else { return Ok(None) };
    let shared = shared.ok_or_else(|| Error::Malformed { path: config.clone(), reason: "it is missing".into() })?;
    Ok(Some((decode(&cluster, &info.data)?, decode(&config, &shared.data)?)))
}

fn accept(
    session: &Session,
    volumes: Option<Uuid>,
    wanted: &SharedConfig,
    (info, shared): (ClusterInfo, SharedConfig),
) -> Result<(Uuid, SharedConfig)> {
    let root = session.layout().root().to_owned();
    if let Some(volumes) = volumes
        && volumes != info.uuid
    {
        return Err(Error::WrongCluster { volumes, found: info.uuid, root });
    }
    let SharedConfig { copies, lease_millis, min_in_sync_copies, initial_shards, split_keys, shards_created: _ } =
        &shared;
    let same = *copies == wanted.copies
        && *lease_millis == wanted.lease_millis
        && *min_in_sync_copies == wanted.min_in_sync_copies
        && *initial_shards == wanted.initial_shards
        && *split_keys == wanted.split_keys;
    if !same {
        warn!(cluster = ?shared, here = ?wanted, "settings differ from the cluster's, which were fixed when it was made: its own are used");
    }
    Ok((info.uuid, shared))
}

/// The znodes of an empty cluster, to be made as one.
pub(crate) fn creation(session: &Session, info: &ClusterInfo, shared: &SharedConfig) -> Vec<Write> {
    let layout = session.layout();
    let mut writes = vec![
        Write::create(layout.path(&Key::Cluster), encode(info)),
        Write::create(layout.path(&Key::Config), encode(shared)),
        Write::create(layout.path(&Key::Controller), encode(&Controller::default())),
    ];
    writes.extend(FOLDERS.map(|folder| Write::create(layout.folder(folder), Vec::new())));
    writes
}

/// The ranges of the first shards, in order.
pub(crate) fn initial_ranges(config: &SharedConfig) -> Vec<KeyRange> {
    let keys = if config.split_keys.is_empty() { even_keys(config.initial_shards) } else { config.split_keys.clone() };
    let starts = std::iter::once(Bytes::new()).chain(keys.iter().cloned());
    let ends = keys.iter().cloned().map(Some).chain(std::iter::once(None));
    starts.zip(ends).map(|(start, end)| KeyRange { start, end }).collect()
}

/// Keys that part all pairs of first bytes evenly.
fn even_keys(shards: u32) -> Vec<Bytes> {
    let shards = shards.clamp(1, Bootstrap::MAX_SHARDS);
    (1..shards)
        .map(|at| {
            let [_, _, high, low] = (at * (1 << 16) / shards).to_be_bytes();
            if low == 0 { Bytes::copy_from_slice(&[high]) } else { Bytes::copy_from_slice(&[high, low]) }
        })
        .collect()
}

/// A shard's first configuration: all copies are empty, and so in sync.
pub(crate) fn initial_config(range: KeyRange, placement: &Placement) -> Option<ShardConfig> {
    let primary = placement.home_volume()?;
    let mut isr = placement.replicas.clone();
    isr.sort_unstable();
    Some(ShardConfig { epoch: Epoch(1), lineage: Lineage(1), range, primary, isr })
}

/// Ids of the first shards: from 1 on.
pub(crate) fn initial_ids(ranges: usize) -> impl Iterator<Item = ShardId> {
    (1..).map(ShardId).take(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_shards_cover_every_key_once() {
        for shards in [1, 2, 3, 12, 255, 256] {
            let ranges = initial_ranges(&SharedConfig {
                copies: 2,
                lease_millis: 800,
                min_in_sync_copies: 1,
                initial_shards: shards,
                split_keys: Vec::new(),
                shards_created: false,
            });
            assert_eq!(ranges.len(), shards as usize);
            assert!(ranges[0].start.is_empty() && ranges[ranges.len() - 1].end.is_none());
            for pair in ranges.windows(2) {
                assert!(!pair[0].is_empty());
                assert_eq!(pair[0].end.as_ref(), Some(&pair[1].start));
            }
        }
    }
}
