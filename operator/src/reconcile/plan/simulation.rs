//! The plan for nodes against a model of Kubernetes and of the nodes, from seeds: pods start slowly, copies catch up slowly, pods
//! are lost, the resource changes, the operator sees reports that are out of date and dies between any two steps.
//!
//! At every step: no node is stopped by the operator while a shard lacks a copy; none is taken away that holds one. When the
//! faults stop, everything comes to be as wished for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::{disruption, needs_fresh_report, plan};
use crate::{
    nodes::{ClusterReport, NodeReport, ShardReport},
    reconcile::{
        decision::{Action, Decisions},
        fixtures::external,
        names::Component,
        validated::ValidatedCluster,
        world::{PodState, StatefulSetState, World},
    },
};

/// Seeds that are tried.
const SEEDS: u64 = 300;
/// Steps with faults, of each seed.
const STORMY: usize = 300;
/// Steps after which it has to have come to rest.
const CALM: usize = 600;
const SHARDS: u64 = 6;

struct Model {
    random: SmallRng,
    wish: ValidatedCluster,
    set: Option<StatefulSetState>,
    pods: BTreeMap<u32, Pod>,
    revision: u32,
    made: u32,
    shards: Vec<Shard>,
    draining: BTreeSet<u32>,
    /// What the operator has heard last.
    report: Option<ClusterReport>,
}

#[derive(Clone)]
struct Pod {
    state: PodState,
    /// Steps until it is ready.
    starts_in: u32,
}

/// Where a shard's copies are, and which are up to date.
#[derive(Clone, Default)]
struct Shard {
    holders: BTreeSet<u32>,
    in_sync: BTreeSet<u32>,
}

fn name(ordinal: u32) -> String {
    format!("demo-{ordinal}")
}

impl Model {
    fn new(seed: u64) -> Self {
        let shard = |id: u64| {
            let home = u32::try_from(id % 3).unwrap();
            let holders: BTreeSet<_> = [home, (home + 1) % 3].into();
            Shard { in_sync: holders.clone(), holders }
        };
        let mut model = Self {
            random: SmallRng::seed_from_u64(seed),
            wish: external("{}"),
            set: None,
            pods: BTreeMap::new(),
            revision: 0,
            made: 0,
            shards: (0..SHARDS).map(shard).collect(),
            draining: BTreeSet::new(),
            report: None,
        };
        model.set = Some(model.new_set(3));
        model
    }

    fn new_set(&mut self, replicas: u32) -> StatefulSetState {
        self.made += 1;
        StatefulSetState {
            uid: format!("set-{}", self.made),
            replicas,
            update_revision: format!("r{}", self.revision),
            observed: true,
            ..StatefulSetState::default()
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn up(&self, ordinal: u32) -> bool {
        self.pods.get(&ordinal).is_some_and(|pod| pod.starts_in == 0 && !pod.state.deleting)
    }

    /// Kubernetes and the nodes go on by themselves.
    fn go_on(&mut self) {
        let (replicas, revision) =
            self.set.as_ref().map_or((0, String::new()), |set| (set.replicas, set.update_revision.clone()));
        self.pods.retain(|ordinal, pod| !pod.state.deleting && (self.set.is_none() || *ordinal < replicas));
        for ordinal in 0..replicas {
            if !self.pods.contains_key(&ordinal) {
                self.made += 1;
                let uid = format!("pod-{}", self.made);
                let state = PodState { name: name(ordinal), uid, revision: revision.clone(), ..PodState::default() };
                let starts_in = self.random.random_range(1..6);
                self.pods.insert(ordinal, Pod { state, starts_in });
            }
        }
        for pod in self.pods.values_mut() {
            pod.starts_in = pod.starts_in.saturating_sub(1);
        }
        self.place();
        self.catch_up();
        let ready: Vec<_> =
            self.pods.keys().copied().filter(|ordinal| self.up(*ordinal) && self.synced(*ordinal)).collect();
        for (ordinal, pod) in &mut self.pods {
            pod.state.ready = ready.contains(ordinal);
        }
    }

    /// The master moves a copy off a node that is drained, or onto one that has none: one shard at a time, and a copy goes only
    /// when another one is up to date.
    fn place(&mut self) {
        let open: Vec<_> = self.pods.keys().copied().filter(|it| self.up(*it) && !self.draining.contains(it)).collect();
        let load: BTreeMap<u32, usize> = open
            .iter()
            .map(|it| (*it, self.shards.iter().filter(|shard| shard.holders.contains(it)).count()))
            .collect();
        for shard in &mut self.shards {
            let leaving = shard.holders.iter().copied().find(|holder| self.draining.contains(holder));
            let Some(target) = load.iter().filter(|(it, _)| !shard.holders.contains(it)).min_by_key(|(_, load)| **load)
            else {
                continue;
            };
            if shard.holders.len() > 2 {
                let surplus = leaving.unwrap_or(*target.0);
                if shard.in_sync.iter().filter(|it| **it != surplus).count() >= 2 {
                    shard.holders.remove(&surplus);
                    shard.in_sync.remove(&surplus);
                    return;
                }
            } else if leaving.is_some() || *target.1 == 0 {
                shard.holders.insert(*target.0);
                return;
            }
        }
        // What was moved to a new node leaves one of the old ones.
        for shard in &mut self.shards {
            if shard.holders.len() > 2 && shard.in_sync.len() > 2 {
                let surplus = shard
                    .holders
                    .iter()
                    .copied()
                    .find(|it| self.draining.contains(it))
                    .or(shard.holders.first().copied());
                if let Some(surplus) = surplus {
                    shard.holders.remove(&surplus);
                    shard.in_sync.remove(&surplus);
                }
                return;
            }
        }
    }

    fn catch_up(&mut self) {
        let up: BTreeSet<_> = self.pods.keys().copied().filter(|ordinal| self.up(*ordinal)).collect();
        for shard in &mut self.shards {
            let serving = shard.in_sync.iter().any(|it| up.contains(it));
            // A primary removes those that it does not reach; the last one in sync never goes.
            if serving {
                shard.in_sync.retain(|it| up.contains(it));
            }
            let behind = shard.holders.iter().copied().find(|it| up.contains(it) && !shard.in_sync.contains(it));
            if let Some(behind) = behind.filter(|_| serving && self.random.random_range(0..3) == 0) {
                shard.in_sync.insert(behind);
            }
        }
    }

    fn synced(&self, ordinal: u32) -> bool {
        self.shards
            .iter()
            .filter(|shard| shard.holders.contains(&ordinal))
            .all(|shard| shard.in_sync.contains(&ordinal))
    }

    fn truth(&self) -> Option<ClusterReport> {
        let up: Vec<_> = self.pods.keys().copied().filter(|ordinal| self.up(*ordinal)).collect();
        let answered_by = name(*up.first()?);
        let node = |ordinal: &u32| {
            let report = NodeReport {
                registered: true,
                answered: true,
                ready: self.synced(*ordinal),
                draining: self.draining.contains(ordinal),
                ..NodeReport::default()
            };
            (name(*ordinal), report)
        };
        let shard = |shard: &Shard| {
            let names = |ordinals: &BTreeSet<u32>| ordinals.iter().map(|it| name(*it)).collect();
            let primary = shard.in_sync.iter().copied().find(|it| up.contains(it));
            ShardReport {
                available: primary.is_some(),
                fully_replicated: shard.holders.len() >= 2 && shard.holders.iter().all(|it| shard.in_sync.contains(it)),
                home: shard.holders.first().copied().map(name).unwrap_or_default(),
                primary: primary.map(name).unwrap_or_default(),
                holders: names(&shard.holders),
                in_sync: names(&shard.in_sync),
            }
        };
        Some(ClusterReport {
            at: Instant::now(),
            cluster: "id".into(),
            answered_by,
            zookeeper_connected: true,
            master: up.first().copied().map(name),
            sub_master: up.get(1).copied().map(name),
            nodes: up.iter().map(node).collect(),
            shards: self.shards.iter().map(shard).enumerate().map(|(id, shard)| (id as u64, shard)).collect(),
        })
    }

    fn world(&self) -> World {
        World {
            node_set: self.set.clone(),
            node_pods: self.pods.iter().map(|(ordinal, pod)| (*ordinal, pod.state.clone())).collect(),
            report: self.report.clone(),
            ..World::default()
        }
    }

    /// A round of the operator, which may die before any of its steps.
    fn operate(&mut self, stormy: bool) {
        let mut world = self.world();
        if needs_fresh_report(i32::try_from(self.wish.nodes.count).unwrap(), &world) {
            world.report = self.truth();
        }
        let decisions: Decisions = plan(&self.wish, &world);
        if stormy && self.chance(10) {
            return;
        }
        match (&mut self.set, decisions.node_replicas) {
            (Some(set), Some(replicas)) => {
                for going in replicas..set.replicas {
                    let held = self.shards.iter().filter(|shard| shard.holders.contains(&going)).count();
                    assert_eq!(held, 0, "{} is taken away and holds copies", name(going));
                }
                set.replicas = replicas;
                set.update_revision = format!("r{}", self.revision);
            }
            (None, Some(replicas)) => self.set = Some(self.new_set(replicas)),
            (_, None) => {}
        }
        for action in decisions.actions {
            if stormy && self.chance(10) {
                return;
            }
            self.act(&world, action);
        }
    }

    fn act(&mut self, world: &World, action: Action) {
        match action {
            Action::Drain { node, undo } => {
                let ordinal = self.wish.names.ordinal(Component::Node, &node).unwrap();
                if undo {
                    self.draining.remove(&ordinal)
                } else {
                    self.draining.insert(ordinal)
                };
            }
            Action::DeletePod { pod, uid, only_if_replicated, .. } => {
                let fresh = self.truth();
                if only_if_replicated && !fresh.is_some_and(|fresh| disruption::may_stop_one(&fresh, &world.node_pods))
                {
                    return;
                }
                let ordinal = self.wish.names.ordinal(Component::Node, &pod).unwrap();
                if self.pods.get(&ordinal).is_none_or(|pod| pod.state.uid != uid) {
                    return;
                }
                for (id, shard) in self.shards.iter().enumerate() {
                    let others = shard.in_sync.iter().filter(|it| **it != ordinal && self.up(**it)).count();
                    let needed = shard.in_sync.contains(&ordinal) && self.up(ordinal);
                    assert!(!only_if_replicated || !needed || others > 0, "shard {id} is left without a copy by {pod}");
                }
                self.pods.get_mut(&ordinal).unwrap().state.deleting = true;
            }
            other => panic!("{other:?} was not expected"),
        }
    }

    fn storm(&mut self) {
        match self.random.random_range(0..60) {
            0 => {
                let pods: Vec<_> = self.pods.keys().copied().collect();
                if let Some(lost) = pods.get(self.random.random_range(0..pods.len().max(1))) {
                    self.pods.remove(lost);
                }
            }
            1 => self.revision += 1,
            2 => self.wish.nodes.count = self.random.random_range(2..6),
            // As a growth of volumes does.
            3 => self.set = None,
            _ => {}
        }
        // A report is as old as it happens to be.
        if self.chance(50) {
            self.report = self.truth();
        } else if self.chance(3) {
            self.report = None;
        }
    }

    fn is_as_wished(&self) -> bool {
        let count = self.wish.nodes.count;
        let well = |pod: &Pod| pod.state.ready && pod.state.revision == format!("r{}", self.revision);
        self.pods.len() == count as usize
            && self.pods.values().all(well)
            && (0..count).all(|it| !self.draining.contains(&it))
    }
}

#[test]
fn whatever_happens_no_copy_is_lost_by_the_operator_and_it_comes_to_rest() {
    for seed in 0..SEEDS {
        let mut model = Model::new(seed);
        for _ in 0..20 {
            model.go_on();
        }
        for _ in 0..STORMY {
            model.storm();
            model.go_on();
            model.operate(true);
        }
        let mut calm = 0;
        while !model.is_as_wished() {
            model.report = model.truth();
            model.operate(false);
            model.go_on();
            calm += 1;
            let (pods, draining) = (model.pods.keys().collect::<Vec<_>>(), &model.draining);
            assert!(
                calm < CALM,
                "seed {seed}: not at rest: wish {}, pods {pods:?}, draining {draining:?}",
                model.wish.nodes.count
            );
        }
    }
}
