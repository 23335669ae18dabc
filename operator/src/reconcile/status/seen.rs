use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::{MAX_NAMED, MAX_TEXT};
use crate::{
    api::{Condition, ConditionKind, ConditionStatus, DEFAULT_ZOOKEEPER_NODES, KvCluster, KvClusterStatus},
    nodes::ClusterReport,
    reconcile::{
        decision::{Decisions, Finding},
        names::{Component, Names},
        validate::Invalid,
        validated::ValidatedCluster,
        world::{PodState, World},
    },
};

/// What a status is made of.
pub(super) struct Seen<'a> {
    pub cluster: Result<&'a ValidatedCluster, &'a Invalid>,
    pub world: &'a World,
    pub decisions: &'a Decisions,
    pub previous: KvClusterStatus,
    pub now: Timestamp,
    pub names: Names,
    pub generation: Option<i64>,
    pub paused: bool,
    /// KV nodes that are wished for.
    pub nodes: u32,
    /// Copies that each shard is to have; 0 if the resource can't tell.
    pub copies: usize,
    /// Members of the ensemble that are wished for; none if it is external.
    pub members: Option<u32>,
}

/// A condition without its time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub status: ConditionStatus,
    pub reason: String,
    pub message: String,
}

impl<'a> Seen<'a> {
    pub(super) fn new(
        cluster: Result<&'a ValidatedCluster, &'a Invalid>,
        resource: &KvCluster,
        world: &'a World,
        decisions: &'a Decisions,
        now: Timestamp,
    ) -> Self {
        let spec = &resource.spec;
        let count = |wished: i32| u32::try_from(wished).unwrap_or(0);
        let (names, nodes, members) = match cluster {
            Ok(cluster) => {
                let members = cluster.managed_zookeeper().map(|managed| managed.count);
                (cluster.names.clone(), cluster.nodes.count, members)
            }
            Err(_) => {
                let names = Names {
                    namespace: resource.namespace().unwrap_or_default(),
                    cluster: resource.name_any(),
                    domain: String::new(),
                };
                let members = spec.zookeeper.nodes.unwrap_or(DEFAULT_ZOOKEEPER_NODES);
                let members = Some(count(members)).filter(|_| spec.zookeeper.external.is_none());
                (names, count(spec.nodes), members)
            }
        };
        Self {
            cluster,
            world,
            decisions,
            previous: resource.status.clone().unwrap_or_default(),
            now,
            names,
            generation: resource.metadata.generation,
            paused: spec.paused,
            nodes,
            copies: cluster.map_or(0, |cluster| cluster.nodes.copies.min(nodes) as usize),
            members,
        }
    }

    pub(super) fn report(&self) -> Option<&'a ClusterReport> {
        self.world.report.as_ref()
    }

    /// As the resource has it now.
    pub(super) fn before(&self, kind: ConditionKind) -> Option<&Condition> {
        self.previous.conditions.iter().find(|condition| condition.kind == kind)
    }

    pub(super) fn wished(&self, component: Component) -> u32 {
        match component {
            Component::Node => self.nodes,
            Component::ZooKeeper => self.members.unwrap_or(0),
        }
    }

    /// Pods that are wished for, by name; none for those that are missing.
    pub(super) fn pods(&self, component: Component) -> impl Iterator<Item = (String, Option<&'a PodState>)> {
        let pods = match component {
            Component::Node => &self.world.node_pods,
            Component::ZooKeeper => &self.world.zookeeper_pods,
        };
        (0..self.wished(component)).map(move |ordinal| (self.names.pod(component, ordinal), pods.get(&ordinal)))
    }

    /// Names of pods that are wished for and ready.
    pub(super) fn ready(&self, component: Component) -> impl Iterator<Item = String> {
        self.pods(component).filter(|(_, pod)| pod.is_some_and(is_ready)).map(|(name, _)| name)
    }

    /// No node answers, though some are said to be ready: what was seen last may still hold.
    pub(super) fn is_silent(&self) -> bool {
        self.report().is_none() && self.ready(Component::Node).next().is_some()
    }

    /// Whether the ensemble has been made, now or ever.
    pub(super) fn is_bootstrapped(&self) -> bool {
        self.previous.zookeeper.bootstrapped || self.world.ensemble_is_made()
    }

    /// The pod of the member that leads; the last one known while none says so, if that is still ready.
    pub(super) fn leader(&self) -> Option<String> {
        let leader = self.world.ensemble.leader().map(|ordinal| self.names.pod(Component::ZooKeeper, ordinal));
        leader.or_else(|| {
            let known = self.previous.zookeeper.leader.as_ref()?;
            self.ready(Component::ZooKeeper).find(|ready| ready == known)
        })
    }

    /// Whether the resource or the objects are on their way to something new, so that pods go and come.
    pub(super) fn is_changing(&self) -> bool {
        use crate::api::ClusterPhase::{Creating, Updating};
        let world = self.world;
        let other = |component, set: &Option<crate::reconcile::world::StatefulSetState>| {
            set.as_ref().is_some_and(|set| {
                let outdated = |pod: &PodState| pod.revision != set.update_revision;
                let mut pods = self.pods(component).filter_map(|(_, pod)| pod);
                !set.observed || set.replicas != self.wished(component) || pods.any(outdated)
            })
        };
        !self.decisions.progress.is_empty()
            && (matches!(self.previous.phase, Creating | Updating)
                || self.previous.observed_generation != self.generation
                || other(Component::Node, &world.node_set)
                || other(Component::ZooKeeper, &world.zookeeper_set))
    }
}

impl Verdict {
    pub(super) fn new(status: ConditionStatus, reason: &str, message: impl AsRef<str>) -> Self {
        Self { status, reason: word(reason), message: bounded(message.as_ref()) }
    }

    pub(super) fn of(status: ConditionStatus, findings: &[Finding]) -> Option<Self> {
        let first = findings.first()?;
        let messages: Vec<_> = findings.iter().map(|finding| finding.message.as_str()).collect();
        Some(Self::new(status, first.reason, some_of(&messages, "; ")))
    }
}

pub(super) fn is_ready(pod: &PodState) -> bool {
    pod.ready && !pod.deleting
}

/// The first of them, and how many there are besides.
pub(super) fn some_of<T: AsRef<str>>(all: &[T], separator: &str) -> String {
    let mut text = all.iter().take(MAX_NAMED).map(AsRef::as_ref).collect::<Vec<_>>().join(separator);
    if all.len() > MAX_NAMED {
        text.push_str(&format!(" and {} more", all.len() - MAX_NAMED));
    }
    text
}

/// Cut to what a condition may hold of somebody else's words.
pub(super) fn bounded(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A reason as the API's conventions have it: one word of letters and digits. Kubernetes' own are.
fn word(reason: &str) -> String {
    let word: String = reason.chars().filter(char::is_ascii_alphanumeric).take(128).collect();
    if word.is_empty() { "Unknown".to_owned() } else { word }
}
