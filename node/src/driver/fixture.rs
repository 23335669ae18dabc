//! A node's volumes and copies for tests, without a cluster and without peers.

use std::{path::Path, sync::Arc, time::Duration};

use kv_replication::core::Settings;
use kv_storage::{LeftOver, Volume, VolumeOptions};
use kv_types::{Folder, Limits, NodeName, ShardId};
use tokio::sync::mpsc;

use super::{peers::Peers, shared::Shared, start::take_up, volumes::OpenVolume};

/// The shard of tests.
pub(super) const SHARD: ShardId = ShardId(1);

/// Opens `data` and `bkpdata` below `folder` and takes up what lies there. Dropped, all is left as by a crash.
/// Returns what is left there of former copies, too.
pub(super) fn open(folder: &Path) -> (Arc<Shared>, [LeftOver; 2]) {
    let node = NodeName::new("demo-0").expect("a name");
    let options = VolumeOptions { segment_bytes: 64 << 10, memtable_bytes: 1 << 20, ..VolumeOptions::default() };
    let opened = [Folder::Data, Folder::Bkpdata].map(|kind| {
        let (volume, recovered) =
            Volume::open(&folder.join(kind.to_string()), kind, &node, options.clone()).expect("opens");
        volume.start(Box::new(|_| {})).expect("starts");
        (OpenVolume::new(volume.id(), kind, volume, recovered.last_space), recovered)
    });
    let volumes = opened.each_ref().map(|(volume, _)| Arc::clone(volume));
    let settings = Settings::new(Duration::from_millis(800));
    let (rebuilds, _) = mpsc::unbounded_channel();
    let (peers, incarnation) = (Peers::default(), super::wall_clock_millis() * 1000);
    let shared = Shared::new(node, String::new(), Limits::default(), settings, volumes, peers, rebuilds, incarnation);
    let shared = Arc::new(shared);
    let left_over = opened.map(|(volume, recovered)| take_up(&shared, &volume, recovered).expect("is taken up"));
    (shared, left_over)
}
