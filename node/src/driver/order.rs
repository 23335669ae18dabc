//! In which order a returning node brings its copies up to date: first its `bkpdata` from the nodes that it backs up, then
//! its `data` from the copies that served for it (protocol, section 6).

use std::time::Duration;

use kv_cluster::View;
use kv_replication::core::Time;
use kv_types::{Seq, ShardId, VolumeId};

use super::shared::Replicas;

/// How long `data` waits for `bkpdata` copies that make no progress: two nodes must not wait for each other for ever.
const STALLED: Duration = Duration::from_secs(10);
/// How long `data` waits for a `bkpdata` volume that no placement names yet, because it is new.
const UNNAMED: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Behind {
    last: Seq,
    snapshot: bool,
}

/// Decides whether the learners on `data` wait.
pub(super) struct Order {
    data: VolumeId,
    bkpdata: VolumeId,
    started: Time,
    /// What the waiting copies have come to, and since when.
    reached: u64,
    reached_at: Time,
    /// All copies on `bkpdata` have been in sync since the start, or had their time. From then on nothing waits.
    settled: bool,
}

impl Order {
    pub(super) const fn new(data: VolumeId, bkpdata: VolumeId, now: Time) -> Self {
        Self { data, bkpdata, started: now, reached: 0, reached_at: now, settled: false }
    }

    /// Whether copies on `data` that are not in sync wait.
    pub(super) fn data_waits(&mut self, now: Time, view: &View, replicas: &Replicas) -> bool {
        if !self.settled {
            self.settled = self.is_settled(now, view, replicas);
        }
        !self.settled
    }

    fn is_settled(&mut self, now: Time, view: &View, replicas: &Replicas) -> bool {
        let placed_on = |volume: VolumeId| {
            view.placements.iter().filter(move |(_, placement)| placement.value.replicas.contains(&volume))
        };
        let (mut named, mut installs) = (false, false);
        let (mut reached, mut waiting) = (0, 0_u64);
        for (shard, _) in placed_on(self.bkpdata) {
            named = true;
            match self.behind(*shard, view, replicas) {
                Some(Behind { last, snapshot }) => {
                    waiting += 1;
                    reached += last.0;
                    installs |= snapshot;
                }
                None => reached += 1,
            }
        }
        if !named {
            let mut on_data = placed_on(self.data).peekable();
            // Both volumes are new, and nothing is known yet of what is to be here.
            let nothing = on_data.peek().is_none();
            let has_backups = on_data.any(|(_, placement)| placement.value.copies > 1);
            return !nothing && (!has_backups || now.since(self.started) >= UNNAMED);
        }
        // A snapshot has bounds of its own.
        if reached != self.reached || installs {
            (self.reached, self.reached_at) = (reached, now);
        }
        waiting == 0 || now.since(self.reached_at) >= STALLED
    }

    /// How far a copy on `bkpdata` is that is still to come into sync, and can.
    fn behind(&self, shard: ShardId, view: &View, replicas: &Replicas) -> Option<Behind> {
        let primary = view.shards.get(&shard)?.value.primary;
        let reachable = view.members.iter().any(|member| [member.info.data, member.info.bkpdata].contains(&primary));
        if primary == self.bkpdata || !reachable {
            return None;
        }
        let Some(replica) = replicas.get(&(shard, self.bkpdata)) else { return Some(Behind::default()) };
        let state = replica.lock();
        let snapshot = state.core.awaits_snapshot();
        (!state.was_in_sync).then(|| Behind { last: state.core.last().seq, snapshot })
    }
}
