use std::collections::{BTreeMap, BTreeSet};

use kv_types::{NodeName, ShardId, VolumeId};
use uuid::Uuid;

use super::{NodeState, PlacementChange, PlacementInput, PlacementNode, PlacementShard, move_home, plan};

/// Plans until nothing is left to do; copies are made at once after each plan.
struct World {
    input: PlacementInput,
    volumes: u128,
    clock: i64,
    /// Copies that were made.
    copied: usize,
}

fn name(node: usize) -> NodeName {
    NodeName::new(format!("n-{node}")).expect("valid")
}

impl World {
    fn new(nodes: usize, shards: u64, copies: usize) -> Self {
        let input = PlacementInput { copies, max_in_motion: 2, ..PlacementInput::default() };
        let mut world = Self { input, volumes: 0, clock: 0, copied: 0 };
        (0..nodes).for_each(|node| world.add_node(node, None));
        for id in 1..=shards {
            let id = ShardId(id);
            world.input.shards.push(PlacementShard { id, placement: None, isr: Vec::new(), weight: 1, changed: 0 });
        }
        let bound = std::mem::replace(&mut world.input.max_in_motion, usize::MAX);
        world.step();
        world.input.max_in_motion = bound;
        world.copied = 0;
        world
    }

    fn volume(&mut self) -> VolumeId {
        self.volumes += 1;
        VolumeId(Uuid::from_u128(self.volumes))
    }

    fn add_node(&mut self, node: usize, zone: Option<&str>) {
        let (data, bkpdata) = (self.volume(), self.volume());
        let (name, zone, state) = (name(node), zone.map(str::to_owned), NodeState::Present);
        self.input.nodes.push(PlacementNode { name, data, bkpdata, zone, state });
    }

    fn set_state(&mut self, node: usize, state: NodeState) {
        self.input.nodes.iter_mut().filter(|at| at.name == name(node)).for_each(|at| at.state = state);
    }

    fn apply(&mut self, changes: &[PlacementChange]) {
        self.clock += 1;
        let present: BTreeSet<_> = self
            .input
            .nodes
            .iter()
            .filter(|node| node.state == NodeState::Present)
            .flat_map(|node| [node.data, node.bkpdata])
            .collect();
        for change in changes {
            let shard = self.input.shards.iter_mut().find(|shard| shard.id == change.shard).expect("known");
            shard.placement = Some(change.placement.clone());
            shard.changed = self.clock;
        }
        for shard in &mut self.input.shards {
            let Some(placement) = &shard.placement else { continue };
            let alive = shard.isr.is_empty() || shard.isr.iter().any(|volume| present.contains(volume));
            if alive && placement.replicas.iter().all(|volume| present.contains(volume)) {
                self.copied += placement.replicas.iter().filter(|volume| !shard.isr.contains(volume)).count();
                shard.isr = placement.replicas.clone();
            }
        }
    }

    fn step(&mut self) -> usize {
        let changes = plan(&self.input);
        assert_eq!(changes, plan(&self.input), "the same input gives the same plan");
        self.apply(&changes);
        self.check();
        changes.len()
    }

    fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..1000 {
            quiet = if self.step() == 0 { quiet + 1 } else { 0 };
            // Once may mean that only copies were made.
            if quiet == 2 {
                return;
            }
        }
        panic!("placement does not come to rest: {:?}", plan(&self.input));
    }

    /// What holds at every step.
    fn check(&self) {
        for shard in &self.input.shards {
            let placement = shard.placement.as_ref().expect("placed");
            let node_of = |volume: &VolumeId| {
                self.input.nodes.iter().position(|node| node.data == *volume || node.bkpdata == *volume)
            };
            let nodes: Vec<_> = placement.replicas.iter().filter_map(node_of).collect();
            assert_eq!(nodes.iter().collect::<BTreeSet<_>>().len(), nodes.len(), "two copies on one node: {shard:?}");
            let data: Vec<_> = self.input.nodes.iter().map(|node| node.data).collect();
            assert!(placement.replicas[1..].iter().all(|volume| !data.contains(volume)), "a backup on data: {shard:?}");
        }
    }

    fn homes(&self) -> BTreeMap<NodeName, usize> {
        let mut homes: BTreeMap<_, _> = self
            .input
            .nodes
            .iter()
            .filter(|node| node.state == NodeState::Present)
            .map(|node| (node.name.clone(), 0))
            .collect();
        for shard in &self.input.shards {
            *homes.entry(shard.placement.as_ref().expect("placed").home.clone()).or_default() += 1;
        }
        homes
    }

    fn backups(&self) -> Vec<usize> {
        let count = |node: &PlacementNode| {
            let shards = self.input.shards.iter().filter_map(|shard| shard.placement.as_ref());
            shards.filter(|placement| placement.replicas[1..].contains(&node.bkpdata)).count()
        };
        self.input.nodes.iter().filter(|node| node.state == NodeState::Present).map(count).collect()
    }

    fn assert_balanced(&self) {
        let homes: Vec<_> = self.homes().into_values().collect();
        let backups = self.backups();
        for load in [&homes, &backups] {
            let (low, high) = (load.iter().min().expect("nodes"), load.iter().max().expect("nodes"));
            assert!(high - low <= 1, "homes {homes:?}, backups {backups:?}");
        }
    }
}

#[test]
fn two_nodes_back_each_other_up() {
    let world = World::new(2, 12, 2);
    world.assert_balanced();
    for shard in &world.input.shards {
        let placement = shard.placement.as_ref().expect("placed");
        let other = world.input.nodes.iter().find(|node| node.name != placement.home).expect("two nodes");
        assert_eq!(placement.replicas[1..], [other.bkpdata]);
    }
}

#[test]
fn what_is_balanced_stays() {
    for (nodes, shards, copies) in [(1, 12, 2), (2, 12, 2), (3, 12, 2), (5, 17, 3), (7, 100, 3)] {
        let mut world = World::new(nodes, shards, copies);
        world.assert_balanced();
        assert_eq!(world.step(), 0, "{nodes} nodes, {shards} shards");
    }
}

#[test]
fn copies_grow_when_nodes_join_and_only_what_must_move_moves() {
    let mut world = World::new(1, 12, 2);
    assert!(world.input.shards.iter().all(|shard| shard.isr.len() == 1));
    world.add_node(1, None);
    world.settle();
    world.assert_balanced();
    assert!(world.input.shards.iter().all(|shard| shard.isr.len() == 2));

    world.copied = 0;
    world.add_node(2, None);
    world.settle();
    world.assert_balanced();
    // A third of the homes and a third of the backups, and a backup more where the new home was one.
    assert!(world.copied <= 4 + 4 + 2, "{} copies", world.copied);
}

#[test]
fn few_shards_move_at_a_time() {
    let mut world = World::new(2, 40, 2);
    world.add_node(2, None);
    let changes = plan(&world.input);
    assert_eq!(changes.len(), world.input.max_in_motion);
    // The first ones are still being copied: nothing more is started.
    for change in &changes {
        let shard = world.input.shards.iter_mut().find(|shard| shard.id == change.shard).expect("known");
        shard.placement = Some(change.placement.clone());
    }
    assert_eq!(plan(&world.input), []);
}

#[test]
fn a_node_that_is_away_keeps_its_copies_until_it_is_replaced() {
    let mut world = World::new(3, 12, 2);
    world.set_state(1, NodeState::Away);
    assert_eq!(world.step(), 0);
    world.set_state(1, NodeState::Leaving);
    world.settle();
    world.assert_balanced();
    assert_eq!(world.homes().len(), 2);
    world.set_state(1, NodeState::Present);
    world.settle();
    world.assert_balanced();
}

#[test]
fn a_drained_node_is_emptied_but_the_last_one_keeps_its_copies() {
    let mut world = World::new(2, 6, 2);
    world.set_state(0, NodeState::Leaving);
    world.settle();
    assert_eq!(world.homes(), BTreeMap::from([(name(1), 6)]));
    world.set_state(1, NodeState::Leaving);
    assert_eq!(plan(&world.input), []);
}

#[test]
fn wiped_volumes_are_replaced_at_once_and_the_home_stays() {
    let mut world = World::new(3, 30, 2);
    let before = world.homes();
    let (data, bkpdata) = (world.volume(), world.volume());
    world.input.nodes[1].data = data;
    world.input.nodes[1].bkpdata = bkpdata;
    let changes = plan(&world.input);
    // Ten homes and ten backups, far above the bound on what may be in motion.
    assert_eq!(changes.len(), 20);
    world.apply(&changes);
    assert_eq!(world.homes(), before);
    world.settle();
    world.assert_balanced();
    assert!(world.input.shards.iter().filter(|shard| shard.isr.contains(&data)).count() == 10);
}

#[test]
fn copies_stand_in_different_zones() {
    let mut world = World::new(0, 0, 2);
    for (node, zone) in [(0, "a"), (1, "a"), (2, "b"), (3, "b")] {
        world.add_node(node, Some(zone));
    }
    let new = |id| PlacementShard { id: ShardId(id), placement: None, isr: Vec::new(), weight: 1, changed: 0 };
    world.input.shards = (1..=16).map(new).collect();
    world.input.max_in_motion = usize::MAX;
    world.settle();
    world.assert_balanced();
    assert_zones_parted(&world);

    // Without the second zone there is no other way …
    world.set_state(2, NodeState::Leaving);
    world.set_state(3, NodeState::Leaving);
    world.settle();
    // … and with it they part again.
    world.set_state(2, NodeState::Present);
    world.set_state(3, NodeState::Present);
    world.input.max_in_motion = 3;
    world.settle();
    world.assert_balanced();
    assert_zones_parted(&world);
}

fn assert_zones_parted(world: &World) {
    for shard in &world.input.shards {
        let zones: Vec<_> = shard
            .placement
            .as_ref()
            .expect("placed")
            .replicas
            .iter()
            .map(|volume| {
                world
                    .input
                    .nodes
                    .iter()
                    .find(|node| node.data == *volume || node.bkpdata == *volume)
                    .and_then(|node| node.zone.clone())
            })
            .collect();
        assert_ne!(zones[0], zones[1], "{shard:?}");
    }
}

#[test]
fn heavy_shards_count_more() {
    let mut world = World::new(2, 9, 2);
    for shard in &mut world.input.shards {
        shard.weight = if shard.id == ShardId(1) { 8 } else { 1 };
    }
    world.settle();
    let mut load = BTreeMap::<_, u64>::new();
    for shard in &world.input.shards {
        *load.entry(&shard.placement.as_ref().expect("placed").home).or_default() += shard.weight;
    }
    assert_eq!(load.into_values().collect::<Vec<_>>(), [8, 8]);
}

#[test]
fn a_home_moves_on_request_and_another_shard_in_exchange() {
    let mut world = World::new(2, 4, 2);
    let shard = world
        .input
        .shards
        .iter()
        .rev()
        .find(|shard| shard.placement.as_ref().expect("placed").home == name(0))
        .expect("one")
        .id;
    let change = move_home(&world.input, shard, &name(1)).expect("possible").expect("a change");
    assert_eq!(change.placement.home, name(1));
    assert_eq!(change.placement.replicas, [world.input.nodes[1].data, world.input.nodes[0].bkpdata]);
    world.apply(&[change]);
    assert_eq!(move_home(&world.input, shard, &name(1)), Some(None));
    world.settle();
    world.assert_balanced();
    let moved = world.input.shards.iter().find(|at| at.id == shard).expect("known");
    assert_eq!(moved.placement.as_ref().expect("placed").home, name(1), "it stays where it was put");

    assert_eq!(move_home(&world.input, ShardId(99), &name(1)), None);
    assert_eq!(move_home(&world.input, shard, &name(9)), None);
    world.set_state(0, NodeState::Away);
    assert_eq!(move_home(&world.input, shard, &name(0)), None);
}

/// Whatever happens to nodes, placement comes to rest, balanced, and no copy is ever placed beside another.
#[test]
fn it_comes_to_rest_after_whatever_happens() {
    for seed in 1..=200_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        };
        let nodes = 2 + random(5) as usize;
        let mut world = World::new(nodes, 1 + random(40), 1 + random(3) as usize);
        world.input.max_in_motion = 1 + random(4) as usize;
        let zoned = random(2) == 0;
        for (index, node) in world.input.nodes.iter_mut().enumerate() {
            node.zone = zoned.then(|| format!("z{}", index % 3));
        }
        let mut next = nodes;
        for _ in 0..12 {
            let node = random(world.input.nodes.len() as u64) as usize;
            match random(6) {
                0 => {
                    world.add_node(next, zoned.then_some("z1"));
                    next += 1;
                }
                1 => world.input.nodes[node].state = NodeState::Away,
                2 => world.input.nodes[node].state = NodeState::Leaving,
                3 => world.input.nodes[node].data = world.volume(),
                4 => world.input.nodes[node].bkpdata = world.volume(),
                _ => world.input.nodes[node].state = NodeState::Present,
            }
            for _ in 0..random(4) {
                world.step();
            }
        }
        for node in &mut world.input.nodes {
            node.state = NodeState::Present;
        }
        // A shard whose copies were all wiped is made anew by hand.
        let known: BTreeSet<_> = world.input.nodes.iter().flat_map(|node| [node.data, node.bkpdata]).collect();
        for shard in &mut world.input.shards {
            if !shard.isr.iter().any(|volume| known.contains(volume)) {
                shard.isr.clear();
            }
        }
        world.settle();
        let homes: Vec<_> = world.homes().into_values().collect();
        let (low, high) = (homes.iter().min().expect("nodes"), homes.iter().max().expect("nodes"));
        assert!(high - low <= 1, "seed {seed}: {homes:?}");
        if !zoned {
            world.assert_balanced();
        }
        let copies = world.input.copies.min(world.input.nodes.len());
        assert!(world.input.shards.iter().all(|shard| shard.isr.len() == copies), "seed {seed}");
    }
}
