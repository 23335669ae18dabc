//! What must hold at every step.

use std::fmt;

use kv_types::{ShardId, VolumeId};

use crate::{
    event::node_of,
    ledger::Ledger,
    node::{Node, Replica},
    plan::Micros,
    world::World,
};

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// An acknowledged write is in the durable log of every member of the ISR that ZooKeeper holds.
    IsrHasAcked,
    /// Committed prefixes agree.
    Agreement,
    /// A primary that can answer has every committed entry.
    Fresh,
    /// No read returns an older value than one acknowledged before the read began.
    NoStaleRead,
    /// No request is applied twice.
    Once,
    /// At most one replica of a shard can answer.
    OneServer,
    /// Every request is answered exactly once.
    AnsweredOnce,
    /// The clients' histories are linearizable.
    Linearizable,
    /// After the faults have ended the shard recovers.
    Recovers,
    /// The core's own assertions.
    Assertion,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl World {
    pub(crate) fn check_invariants(&mut self) {
        let broken = self.ledgers.iter().find_map(|(shard, ledger)| {
            let shard = *shard;
            self.is_broken(shard, ledger).map(|(invariant, text)| (invariant, format!("shard {shard}: {text}")))
        });
        if let Some((invariant, text)) = broken {
            self.fail(invariant, text);
        }
    }

    fn is_broken(&self, shard: ShardId, ledger: &Ledger) -> Option<(Invariant, String)> {
        let isr_lacks = || self.isr_lacks_acked(shard, ledger).map(|text| (Invariant::IsrHasAcked, text));
        self.serves_alone_and_fresh(shard, ledger).or_else(isr_lacks)
    }

    /// OneServer and Fresh.
    fn serves_alone_and_fresh(&self, shard: ShardId, ledger: &Ledger) -> Option<(Invariant, String)> {
        let mut server: Option<VolumeId> = None;
        for node in self.nodes.iter().filter(|node| node.up) {
            let Some(replica) = node.replicas.get(&shard).filter(|replica| can_serve(node, replica, self.now)) else {
                continue;
            };
            if let Some(other) = server {
                return Some((Invariant::OneServer, format!("{other:?} and {:?} can both answer", node.volume)));
            }
            server = Some(node.volume);
            if replica.table.applied() < ledger.last().seq {
                let (applied, last) = (replica.table.applied(), ledger.last());
                let text = format!("{:?} can answer with {applied} applied, and {last:?} is committed", node.volume);
                return Some((Invariant::Fresh, text));
            }
        }
        None
    }

    fn isr_lacks_acked(&self, shard: ShardId, ledger: &Ledger) -> Option<String> {
        let config = self.zookeeper.config(shard)?;
        let last = ledger.last();
        config.isr.iter().find_map(|volume| {
            let node = &self.nodes[node_of(*volume)];
            // A volume that is gone, or has lost what it held, is what the other copies are for.
            if node.volume != *volume {
                return None;
            }
            let holds = match node.replicas.get(&shard) {
                Some(replica) => replica.disk.is_void() || replica.disk.holds(last),
                // The child is made from the parent's log, which holds all of it.
                None => true,
            };
            (!holds).then(|| format!("{volume:?} is in sync and lacks {last:?}"))
        })
    }
}

/// Whether a read would be answered at this very moment.
pub(crate) fn can_serve(node: &Node, replica: &Replica, now: Micros) -> bool {
    replica.core.as_ref().is_some_and(|core| core.can_read(node.time(now)))
}
