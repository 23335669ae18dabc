//! What people are told of a cluster: pure, from what there is and what was decided. Nothing in it changes at rest or under
//! steady load.

mod conditions;
mod faults;
mod nodes;
mod phase;
mod seen;
#[cfg(test)]
mod tests;

use k8s_openapi::jiff::Timestamp;

use self::{conditions::conditions, faults::faults, seen::Seen};
use super::{decision::Decisions, names::Component, validate::Invalid, validated::ValidatedCluster, world::World};
use crate::api::{Condition, ConditionKind, KvCluster, KvClusterStatus, ZooKeeperStatus};

pub(super) use self::conditions::{AS_WISHED, CREATING, PAUSED, VOLUMES_PENDING};

/// A text for people, at most, in characters.
const MAX_TEXT: usize = 1000;
/// Things of a kind that a text names, at most.
const MAX_NAMED: usize = 3;

/// The status that a resource is to have after a round. What the nodes do not tell at the moment stays as it was seen last.
#[must_use]
pub fn status(
    cluster: Result<&ValidatedCluster, &Invalid>,
    resource: &KvCluster,
    world: &World,
    decisions: &Decisions,
) -> KvClusterStatus {
    status_at(cluster, resource, world, decisions, Timestamp::now())
}

fn status_at(
    cluster: Result<&ValidatedCluster, &Invalid>,
    resource: &KvCluster,
    world: &World,
    decisions: &Decisions,
    now: Timestamp,
) -> KvClusterStatus {
    let seen = Seen::new(cluster, resource, world, decisions, now);
    let conditions = conditions(&seen);
    let faults = faults(&seen, &conditions);
    let degraded = faults::degraded(&faults);
    let phase = phase::phase(&seen, &conditions, &degraded);
    let message = phase::message(&seen, &faults);
    let conditions = conditions.into_iter().chain([(ConditionKind::Degraded, degraded)]);
    let mut conditions: Vec<_> = conditions.map(|(kind, verdict)| dated(&seen, kind, verdict)).collect();
    conditions.sort_by_key(|condition| condition.kind);
    let (master, sub_master) = nodes::masters(&seen);
    let selector = seen.names.selector(Component::Node);
    let selector: Vec<_> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    KvClusterStatus {
        phase,
        message,
        observed_generation: seen.generation,
        conditions,
        ready: format!("{}/{}", seen.ready(Component::Node).count(), seen.nodes),
        master,
        sub_master,
        nodes: nodes::nodes(&seen),
        shards: nodes::shards(&seen),
        zookeeper: zookeeper(&seen),
        cluster_id: seen
            .report()
            .map(|report| report.cluster.clone())
            .filter(|id| !id.is_empty())
            .or_else(|| seen.previous.cluster_id.clone()),
        replicas: i32::try_from(world.node_pods.len()).unwrap_or(i32::MAX),
        selector: selector.join(","),
    }
}

fn zookeeper(seen: &Seen<'_>) -> ZooKeeperStatus {
    let Some(members) = seen.members else {
        return ZooKeeperStatus { ready: "external".into(), ..ZooKeeperStatus::default() };
    };
    ZooKeeperStatus {
        ready: format!("{}/{members}", seen.ready(Component::ZooKeeper).count()),
        leader: seen.leader(),
        bootstrapped: seen.is_bootstrapped(),
    }
}

/// The condition, and since when it holds or not: as before, unless that has changed.
fn dated(seen: &Seen<'_>, kind: ConditionKind, verdict: seen::Verdict) -> Condition {
    let seen::Verdict { status, reason, message } = verdict;
    let before = seen.before(kind).filter(|before| before.status == status);
    Condition {
        kind,
        status,
        reason,
        message,
        last_transition_time: before.map_or_else(|| seen.now.into(), |before| before.last_transition_time.clone()),
        observed_generation: seen.generation,
    }
}
