use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use kv_types::{NodeName, Placement, ShardId};
use tracing::{debug, info};
use zookeeper_client::Error as ZkError;

use crate::{
    ControlOptions, Error, NodeState, PlacementChange, PlacementInput, PlacementNode, PlacementShard, Result,
    SharedConfig, Versioned, View,
    bootstrap::{initial_config, initial_ids, initial_ranges},
    document::encode,
    election::{Election, Term},
    layout::Key,
    placement,
    request::Write,
    session::Session,
};

/// Placements written in one step at most.
const WRITES_PER_STEP: usize = 64;
/// So long the view may lag behind what was written before it is planned anew all the same.
const LAG: Duration = Duration::from_secs(2);
/// Sizes are told apart in so many steps, so that small differences move nothing.
const WEIGHTS: u64 = 8;

/// What the master does: places copies. It never writes who serves.
pub(crate) struct ControlLoop {
    session: Session,
    options: ControlOptions,
    expected_nodes: usize,
    grace: Duration,
    /// Since when this master misses a node.
    gone_since: HashMap<NodeName, Duration>,
    /// The term that all this belongs to, and when it was first seen.
    term: Option<(Term, Duration)>,
    /// Versions of placements that were written and not yet seen, and when.
    awaited: BTreeMap<ShardId, (i32, Duration)>,
    /// Sizes as last reported.
    sizes: BTreeMap<ShardId, u64>,
}

impl ControlLoop {
    pub(crate) fn new(session: Session, options: ControlOptions, expected_nodes: usize, grace: Duration) -> Self {
        Self {
            session,
            options,
            expected_nodes,
            grace,
            gone_since: HashMap::new(),
            term: None,
            awaited: BTreeMap::new(),
            sizes: BTreeMap::new(),
        }
    }

    /// Sizes of shards in bytes, for placement.
    pub(crate) fn set_sizes(&mut self, sizes: BTreeMap<ShardId, u64>) {
        self.sizes = sizes;
    }

    /// Brings placement a step further. Only the master calls it.
    pub(crate) async fn step(&mut self, view: &View, election: &mut Election) -> Result<()> {
        let now = self.session.clock().now();
        let Some(term) = election.term().cloned() else {
            self.term = None;
            return Ok(());
        };
        if self.term.as_ref().is_none_or(|(last, _)| *last != term) {
            // What another master has seen is not known: away times are counted anew.
            self.gone_since.clear();
            self.awaited.clear();
            self.term = Some((term, now));
        }
        if !view.connected {
            return Ok(());
        }
        self.track(view, now);
        let Some(config) = &view.config else { return Ok(()) };
        if !config.value.shards_created {
            return self.create_shards(view, config, now, election).await;
        }
        self.awaited.retain(|shard, (version, since)| {
            view.placements.get(shard).is_none_or(|seen| seen.version < *version) && now.saturating_sub(*since) < LAG
        });
        if !self.awaited.is_empty() {
            return Ok(());
        }
        let changes = placement::plan(&self.input(view));
        for change in changes.into_iter().take(WRITES_PER_STEP) {
            self.write(view, change, now, election).await?;
        }
        self.forget(view, election).await
    }

    /// Gives a shard another home on request.
    pub(crate) async fn move_home(
        &mut self,
        view: &View,
        shard: ShardId,
        node: &NodeName,
        election: &mut Election,
    ) -> Result<()> {
        if election.term().is_none() {
            return Err(Error::NotMaster { master: view.master_node().cloned() });
        }
        if !view.placements.contains_key(&shard) {
            return Err(Error::NoShard(shard));
        }
        let change = placement::move_home(&self.input(view), shard, node).ok_or_else(|| Error::NoNode(node.clone()))?;
        match change {
            Some(change) => self.write(view, change, self.session.clock().now(), election).await,
            None => Ok(()),
        }
    }

    async fn write(
        &mut self,
        view: &View,
        change: PlacementChange,
        now: Duration,
        election: &mut Election,
    ) -> Result<()> {
        let PlacementChange { shard, placement } = change;
        let Some(seen) = view.placements.get(&shard) else { return Err(Error::NoShard(shard)) };
        let path = self.session.layout().path(&Key::Placement(shard));
        let write = Write::Set { path, data: encode(&placement), version: seen.version };
        match election.write(view.master_node(), vec![write]).await {
            Ok(()) => {
                info!(%shard, home = %placement.home, replicas = ?placement.replicas, "placed");
                self.awaited.insert(shard, (seen.version + 1, now));
                Ok(())
            }
            // The view lags; what is there is planned with when it has been seen.
            Err(Error::Refused { source: ZkError::BadVersion, .. }) => {
                debug!(%shard, "placement has changed meanwhile");
                self.awaited.insert(shard, (seen.version + 1, now));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn track(&mut self, view: &View, now: Duration) {
        self.gone_since.retain(|node, _| view.nodes.contains_key(node) && view.member(node).is_none());
        for node in view.nodes.keys() {
            if view.member(node).is_none() {
                self.gone_since.entry(node.clone()).or_insert(now);
            }
        }
    }

    /// What placement depends on.
    fn input(&self, view: &View) -> PlacementInput {
        let now = self.session.clock().now();
        let nodes = view.nodes.values().map(|node| {
            let known = &node.value;
            let member = view.member(&known.node);
            let info = member.map_or(known, |member| &member.info);
            let away = self.gone_since.get(&info.node).map(|since| now.saturating_sub(*since));
            let state = match (member, away) {
                _ if view.drains.contains(&info.node) => NodeState::Leaving,
                (Some(_), _) => NodeState::Present,
                (None, Some(away)) if away > self.options.rehome_after => NodeState::Leaving,
                (None, _) => NodeState::Away,
            };
            let zone = info.zone.clone();
            PlacementNode { name: info.node.clone(), data: info.data, bkpdata: info.bkpdata, zone, state }
        });
        // A shard without configuration is just being made.
        let shards = view.shards.iter().filter_map(|(&id, config)| {
            let Versioned { value, changed, .. } = view.placements.get(&id)?.clone();
            let isr = config.value.isr.clone();
            Some(PlacementShard { id, placement: Some(value), isr, weight: self.weight(id), changed })
        });
        PlacementInput {
            nodes: nodes.collect(),
            shards: shards.collect(),
            copies: view.config.as_ref().map_or(1, |config| config.value.copies),
            max_in_motion: self.options.max_in_motion,
        }
    }

    /// 1 to [`WEIGHTS`], in proportion to the largest shard; small ones count alike, since moving them gains nothing.
    fn weight(&self, shard: ShardId) -> u64 {
        let largest = self.sizes.values().copied().max().unwrap_or(0);
        let size = self.sizes.get(&shard).copied().unwrap_or(0);
        let unit = (largest / WEIGHTS).max(self.options.weight_bytes).max(1);
        size.div_ceil(unit).clamp(1, WEIGHTS)
    }

    /// Makes the first shards once there are enough nodes, or the time for that has passed.
    async fn create_shards(
        &mut self,
        view: &View,
        config: &Versioned<SharedConfig>,
        now: Duration,
        election: &mut Election,
    ) -> Result<()> {
        let waited = self.term.as_ref().map_or(Duration::ZERO, |(_, since)| now.saturating_sub(*since));
        if view.members.len() < self.expected_nodes && waited < self.grace {
            return Ok(());
        }
        let ranges = initial_ranges(&config.value);
        let new = |id| PlacementShard { id, placement: None, isr: Vec::new(), weight: 1, changed: 0 };
        let shards = initial_ids(ranges.len()).map(new).collect();
        let planned = placement::plan(&PlacementInput { shards, max_in_motion: usize::MAX, ..self.input(view) });
        if planned.len() != ranges.len() {
            return Ok(());
        }
        let layout = self.session.layout();
        let mut writes = Vec::new();
        for (PlacementChange { shard, placement }, range) in planned.into_iter().zip(ranges) {
            let Some(first) = initial_config(range, &placement) else { return Ok(()) };
            writes.push(Write::create(layout.path(&Key::Shard(shard)), encode(&first)));
            writes.push(Write::create(layout.path(&Key::Placement(shard)), encode::<Placement>(&placement)));
        }
        let created = SharedConfig { shards_created: true, ..config.value.clone() };
        writes.push(Write::Set { path: layout.path(&Key::Config), data: encode(&created), version: config.version });
        let shards = writes.len() / 2;
        match election.write(view.master_node(), writes).await {
            Ok(()) => {
                info!(shards, nodes = view.members.len(), "made the first shards");
                Ok(())
            }
            // The answer to the last attempt was lost and the view lags.
            Err(Error::Refused { source: ZkError::NodeExists | ZkError::BadVersion, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes what is known of drained nodes that are gone and hold nothing any more.
    async fn forget(&mut self, view: &View, election: &mut Election) -> Result<()> {
        for name in &view.drains {
            let Some(node) = view.nodes.get(name) else { continue };
            let holds = |shard: &ShardId| view.volumes_of(*shard).iter().any(|volume| node.value.has_volume(*volume));
            if view.member(name).is_some() || view.shards.keys().any(holds) {
                continue;
            }
            let layout = self.session.layout();
            let writes = vec![
                Write::Delete { path: layout.path(&Key::Node(name.clone())), version: Some(node.version) },
                Write::Delete { path: layout.path(&Key::Drain(name.clone())), version: None },
            ];
            match election.write(view.master_node(), writes).await {
                Ok(()) => info!(node = %name, "drained and gone: forgotten"),
                Err(Error::Refused { source, .. }) => debug!(node = %name, %source, "not forgotten yet"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
