//! After the faults: the cluster recovers by itself, and nothing that was promised is missing.

use kv_checker::{Outcome as Told, Verdict, check_within};
use kv_types::{EntryId, ShardId, VolumeId};

use crate::{
    client::Step,
    coverage::Situation,
    event::{Event, node_of},
    invariants::{Invariant, can_serve},
    plan::{LEASE, Micros},
    world::{World, note},
};

/// Steps of the search for one key; a history that needs more is left undecided.
const CHECK_BUDGET: u64 = 300_000;

/// How far the end of a run has come.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    pub(crate) healed_at: Option<Micros>,
    pub(crate) deadline: Micros,
    /// All is well, and one client reads everything once more.
    pub(crate) last_reads: bool,
    pub(crate) done: bool,
}

impl World {
    pub(crate) fn inspect(&mut self) {
        if self.ending.done {
            return;
        }
        let shards: Vec<_> = self.zookeeper.shards().map(|(shard, _)| shard).collect();
        if shards.iter().any(|shard| self.nothing_left(*shard)) {
            note!(self, "no intact copy is left");
            self.coverage.count(Situation::NothingLeft);
            self.ending.done = true;
            return;
        }
        let unwell = shards.iter().find_map(|shard| self.what_ails(*shard));
        if unwell.is_none() && !self.ending.last_reads {
            note!(self, "all is well");
            self.begin_last_reads();
        }
        if self.now > self.ending.deadline {
            let text = unwell.unwrap_or_else(|| "the last reads and writes did not succeed".to_owned());
            self.fail(Invariant::Recovers, text);
            return;
        }
        self.queue.push(self.now + LEASE / 10, Event::Inspect);
    }

    fn begin_last_reads(&mut self) {
        self.ending.last_reads = true;
        let keys = (0..self.plan.keys).map(|key| bytes::Bytes::from(vec![b'a' + key as u8]));
        let steps = [Step::Read, Step::Write, Step::ConfirmedRead, Step::Read];
        self.clients[0].script = keys.flat_map(|key| steps.map(|step| (key.clone(), step))).collect();
    }

    pub(crate) fn finish(&mut self) {
        self.coverage.count(Situation::Recovered);
        self.ending.done = true;
    }

    /// The copy is there and has all that it ever acknowledged.
    pub(crate) fn is_intact(&self, shard: ShardId, volume: VolumeId) -> bool {
        let node = &self.nodes[node_of(volume)];
        node.volume == volume && node.replicas.get(&shard).is_some_and(|replica| !replica.disk.is_void())
    }

    /// No copy may lead again but by force.
    fn nothing_left(&self, shard: ShardId) -> bool {
        let Some(config) = self.zookeeper.config(shard) else { return false };
        let gone = config.isr.iter().any(|volume| self.nodes[node_of(*volume)].volume != *volume);
        let may_lead = |volume: &VolumeId| {
            let torn = self.nodes[node_of(*volume)].replicas.get(&shard).is_some_and(|replica| replica.disk.is_torn());
            // A torn copy has to compare logs with all others, and follows whoever has more.
            self.is_intact(shard, *volume) && !(torn && (gone || self.is_outrun(shard, *volume, &config.isr)))
        };
        !config.isr.iter().any(may_lead)
    }

    /// Whether another of `members` has written more than `volume`.
    fn is_outrun(&self, shard: ShardId, volume: VolumeId, members: &[VolumeId]) -> bool {
        let written = |volume: &VolumeId| {
            self.nodes[node_of(*volume)]
                .replicas
                .get(&shard)
                .map_or(EntryId::ZERO, |replica| replica.disk.last_written())
        };
        members.iter().any(|member| written(member) > written(&volume))
    }

    /// What is not yet as it should be.
    fn what_ails(&self, shard: ShardId) -> Option<String> {
        let config = self.zookeeper.config(shard)?;
        let placement = self.zookeeper.placement.get(&shard)?;
        let mut placed = placement.replicas.clone();
        placed.sort_unstable();
        let home = placement.home_volume()?;
        let node = &self.nodes[node_of(home)];
        let serves = node.replicas.get(&shard).is_some_and(|replica| can_serve(node, replica, self.now));
        if placed != config.isr {
            Some(format!("shard {shard}: placed {placed:?}, in sync {:?}", config.isr))
        } else if config.primary != home {
            Some(format!("shard {shard}: the home is {home:?}, the primary {:?}", config.primary))
        } else if !serves {
            Some(format!("shard {shard}: the primary {home:?} does not serve"))
        } else {
            None
        }
    }

    /// What can be judged only at the end.
    pub(crate) fn judge(&mut self) {
        if let Some((token, open)) = self.requests.oldest()
            && self.ending.healed_at.is_some_and(|healed| healed.max(open.since) + 5 * LEASE < self.now)
        {
            self.fail(Invariant::AnsweredOnce, format!("{token:?} was never answered: {open:?}"));
        }
        for node in self.nodes.iter().filter(|node| node.up) {
            let differs = node.replicas.iter().find(|(shard, replica)| {
                self.ledgers.get(shard).is_some_and(|ledger| {
                    ledger.lineage == replica.disk.lineage() && !ledger.agrees_with(&replica.table)
                })
            });
            if let Some((shard, _)) = differs {
                let text = format!("the table of {:?} for shard {shard} is not what was committed", node.volume);
                self.fail(Invariant::Agreement, text);
                return;
            }
        }
        for client in 0..self.clients.len() {
            if let Some(current) = self.clients[client].current.take() {
                self.record(client, current, Told::Unknown);
            }
        }
        // After a force-promote writes may be missing, as its caller was told.
        if !self.forced
            && let Verdict::Violation(violation) = check_within(&self.history, CHECK_BUDGET)
        {
            self.fail(Invariant::Linearizable, violation.to_string());
        }
    }
}
