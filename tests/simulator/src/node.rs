use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use kv_replication::core::{Core, Surroundings, Time, Token};
use kv_types::{Epoch, Placement, ShardId, VolumeId};

use crate::{
    disk::Disk,
    event::{Answer, NodeEvent, volume_of},
    plan::Micros,
    rng::Rng,
    table::Table,
};

/// The rates of clocks, of a million.
const SLOWEST: u64 = 930_000;
const FASTEST: u64 = 1_069_000;

/// One node: a process that lives, pauses and dies, on a volume that outlives it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) volume: VolumeId,
    generation: u64,
    /// Counts the starts of the process.
    pub(crate) life: u64,
    /// The last incarnation that a copy here was opened with. The next one is far above: copies come to later ones by themselves.
    pub(crate) incarnation: u64,
    pub(crate) up: bool,
    pub(crate) paused_until: Micros,
    /// What has reached a paused process.
    pub(crate) backlog: VecDeque<NodeEvent>,
    clock: Clock,
    /// The volume before this one, which may turn up again.
    replaced: Option<(VolumeId, BTreeMap<ShardId, Replica>)>,
    pub(crate) replicas: BTreeMap<ShardId, Replica>,
    pub(crate) session: Session,
}

/// What the process knows of ZooKeeper and the cluster.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// By its own clock, when ZooKeeper last answered.
    pub(crate) seen_at: Time,
    pub(crate) connected: bool,
    pub(crate) registered: BTreeSet<VolumeId>,
    pub(crate) placement: BTreeMap<ShardId, Placement>,
    pub(crate) ceased: bool,
    /// The node is about to stop, or believes it.
    pub(crate) leaving: bool,
    /// Other copies on the node come first, or so it believes.
    pub(crate) waits: bool,
}

/// A node's copy of a shard.
#[derive(Debug)]
pub(crate) struct Replica {
    /// Not there while the process is down.
    pub(crate) core: Option<Core>,
    pub(crate) disk: Disk,
    pub(crate) table: Table,
    pub(crate) surroundings: Arc<Surroundings>,
    /// When the last write that was handed to the disk will be durable.
    pub(crate) synced_by: Micros,
    /// Values read before their leases were checked: only where that rule is broken.
    pub(crate) read_early: BTreeMap<Token, Answer>,
    /// Numbers the snapshots asked for.
    pub(crate) snapshot_ask: u64,
    pub(crate) awaits_snapshot: bool,
    /// The copy has been emptied since it was asked for.
    pub(crate) started_over: bool,
    /// The node that was asked for it.
    pub(crate) snapshot_of: usize,
    /// The replica leads, and no entry of this epoch has been committed yet.
    pub(crate) barrier_due: Option<Epoch>,
}

/// A clock with a rate of its own.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// What it showed when the machine started.
    offset: Micros,
    /// When that was.
    since: Micros,
    /// Of a million.
    rate: u64,
}

impl Clock {
    /// A primary counts 0.85 L: with rates that differ by more than 15 % no lease is safe. Half of the clocks are as far
    /// from each other as that allows.
    fn draw(offset: Micros, since: Micros, rng: &mut Rng) -> Self {
        let rate = match rng.below(4) {
            0 => SLOWEST,
            1 => FASTEST,
            _ => rng.between(SLOWEST, FASTEST),
        };
        Self { offset, since, rate }
    }
}

impl Node {
    pub(crate) fn new(index: usize, rng: &mut Rng) -> Self {
        let offset = 1_000_000 + rng.below(100_000_000);
        Self {
            volume: volume_of(index, 1),
            generation: 1,
            life: 0,
            incarnation: 0,
            up: false,
            paused_until: 0,
            backlog: VecDeque::new(),
            clock: Clock::draw(offset, 0, rng),
            replaced: None,
            replicas: BTreeMap::new(),
            session: Session::default(),
        }
    }

    pub(crate) fn time(&self, now: Micros) -> Time {
        Time(self.clock.offset + (now - self.clock.since) * self.clock.rate / 1_000_000)
    }

    /// The machine starts anew, and its clock with it.
    pub(crate) fn reboot(&mut self, now: Micros, rng: &mut Rng) {
        let offset = rng.below(1_000_000);
        self.clock = Clock::draw(offset, now, rng);
    }

    pub(crate) fn is_paused(&self, now: Micros) -> bool {
        self.up && now < self.paused_until
    }

    /// The volume is lost, and the next life is on an empty one.
    pub(crate) fn wipe(&mut self, index: usize) {
        self.generation += 1;
        let new = volume_of(index, self.generation);
        let old = std::mem::replace(&mut self.volume, new);
        self.replaced = Some((old, std::mem::take(&mut self.replicas)));
    }

    pub(crate) fn has_replaced(&self) -> bool {
        self.replaced.is_some()
    }

    /// The next life is on the volume before this one.
    pub(crate) fn bring_back(&mut self) {
        if let Some((volume, replicas)) = self.replaced.take() {
            let current = std::mem::replace(&mut self.volume, volume);
            self.replaced = Some((current, std::mem::replace(&mut self.replicas, replicas)));
        }
    }
}

impl Replica {
    pub(crate) fn new(disk: Disk) -> Self {
        Self {
            core: None,
            table: disk.recovered_table(),
            disk,
            surroundings: Arc::default(),
            synced_by: 0,
            read_early: BTreeMap::new(),
            snapshot_ask: 0,
            awaits_snapshot: false,
            started_over: false,
            snapshot_of: 0,
            barrier_due: None,
        }
    }

    pub(crate) fn leads(&self) -> bool {
        self.core.as_ref().is_some_and(Core::leads)
    }
}
