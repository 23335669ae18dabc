use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use kv_client::{Client, ClientOptions, Discovery, Transport};
use kv_local::LocalCluster;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    Result,
    history::{History, Of},
    keys::Keys,
    scans,
};

/// How long a request of an application may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a node that is asked directly may take.
const DIRECT_DEADLINE: Duration = Duration::from_secs(1);
/// Pause of a contending client between two operations: keeps histories short enough to be judged in seconds.
const PAUSE: Duration = Duration::from_millis(40);
/// Pause of a shard's pulse between two writes: the resolution of measured outages.
const PULSE: Duration = Duration::from_millis(20);
const BATCHES: Duration = Duration::from_millis(60);
const SCANS: Duration = Duration::from_millis(500);

/// When a shard's pulse was acknowledged: when it was asked for, and when the answer came.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    /// The shard.
    pub shard: u64,
    /// When it was asked for.
    pub asked: Instant,
    /// When it was acknowledged.
    pub answered: Instant,
}

/// Many clients at once, in the background.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    beats: Arc<Mutex<Vec<Beat>>>,
    tasks: JoinSet<()>,
    next: u64,
}

/// What each client is given.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub history: Arc<History>,
    pub keys: Arc<Keys>,
    stop: Arc<AtomicBool>,
}

/// The clients of a round: as applications have them, and others.
#[derive(Debug)]
pub struct Clients {
    /// It knows ZooKeeper.
    pub application: Client,
    /// It knows the nodes, and makes a call of each request.
    pub unary: Client,
    /// Sends nothing again, and has no session: what it is not told stays unknown.
    pub bare: Client,
    /// Each asks one node past its proxy, and no other: it is told an old value as soon as one is served.
    pub direct: Vec<Client>,
}

impl Clients {
    /// Connects them.
    ///
    /// # Errors
    /// If one can't.
    pub async fn connect(cluster: &LocalCluster) -> Result<Self> {
        let advertised: Vec<_> = cluster.nodes().iter().map(|node| node.advertised_address().to_string()).collect();
        let nodes = ClientOptions { deadline: DEADLINE, ..ClientOptions::new(Discovery::Nodes(advertised)) };
        let zookeeper = Discovery::ZooKeeper(cluster.zookeeper_url());
        let application = Client::connect(ClientOptions { discovery: zookeeper, ..nodes.clone() }).await?;
        let unary = Client::connect(ClientOptions { transport: Transport::Unary, ..nodes.clone() }).await?;
        let bare = ClientOptions { sessions: false, retries: false, deadline: DIRECT_DEADLINE * 3, ..nodes.clone() };
        let bare = Client::connect(bare).await?;
        let mut direct = Vec::new();
        for node in cluster.nodes() {
            let options = ClientOptions {
                discovery: Discovery::Nodes(vec![node.direct_address().to_string()]),
                deadline: DIRECT_DEADLINE,
                attempt_timeout: DIRECT_DEADLINE,
                retries: false,
                sessions: false,
                follow_locations: false,
                ..nodes.clone()
            };
            direct.push(Client::connect(options).await?);
        }
        Ok(Self { application, unary, bare, direct })
    }
}

impl Load {
    /// Begins.
    #[must_use]
    pub fn start(clients: &Clients, history: &Arc<History>, keys: &Arc<Keys>, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Shared { history: Arc::clone(history), keys: Arc::clone(keys), stop: Arc::clone(&stop) };
        let mut load = Self { stop, beats: Arc::default(), tasks: JoinSet::new(), next: 0 };
        for (ring, _) in keys.rings.iter().enumerate() {
            let (of, beats) = (load.of(&clients.application), Arc::clone(&load.beats));
            load.tasks.spawn(pulse(shared.clone(), of, ring, beats));
        }
        // What the bare one is not told stays unknown for ever, and too much of that can't be judged.
        let (often, seldom) = (PAUSE, PAUSE * 5);
        let Clients { application, unary, bare, .. } = clients;
        let contending = [(application, often), (application, often), (unary, often), (unary, often), (bare, seldom)];
        for (client, pause) in contending {
            let of = load.of(client);
            load.tasks.spawn(contend(shared.clone(), of, seed, pause, false));
        }
        for client in &clients.direct {
            let of = load.of(client);
            load.tasks.spawn(contend(shared.clone(), of, seed, PAUSE * 2, true));
        }
        for client in [&clients.application, &clients.bare] {
            let of = load.of(client);
            load.tasks.spawn(batches(shared.clone(), of, seed));
        }
        for client in [&clients.application, &clients.unary] {
            let of = load.of(client);
            load.tasks.spawn(scan(shared.clone(), of, seed));
        }
        load
    }

    /// Ends it, and waits for the answers to what is under way. Returns the acknowledged pulses.
    ///
    /// # Errors
    /// If a client panicked.
    pub async fn stop(mut self) -> Result<Vec<Beat>> {
        self.stop.store(true, Ordering::Relaxed);
        // Not aborted: the outcome of what is under way belongs to the history.
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        Ok(std::mem::take(&mut self.beats.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn of(&mut self, client: &Client) -> Of {
        self.next += 1;
        Of { number: self.next, client: client.clone() }
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

async fn pulse(shared: Shared, of: Of, ring: usize, beats: Arc<Mutex<Vec<Beat>>>) {
    let (shard, keys) = &shared.keys.rings[ring];
    for number in 0_usize.. {
        if shared.stopped() || keys.is_empty() {
            return;
        }
        let asked = Instant::now();
        let value = Bytes::from(format!("{number} of shard {shard}"));
        if shared.history.put(&of, &keys[number % keys.len()], value, None).await.is_some() {
            let beat = Beat { shard: *shard, asked, answered: Instant::now() };
            beats.lock().unwrap_or_else(PoisonError::into_inner).push(beat);
        }
        sleep(PULSE).await;
    }
}

async fn contend(shared: Shared, of: Of, seed: u64, pause: Duration, mostly_reads: bool) {
    let mut random = SmallRng::seed_from_u64(seed ^ of.number);
    let mut revisions: HashMap<usize, u64> = HashMap::new();
    let (history, keys) = (&shared.history, &shared.keys.contended);
    let first_write = if mostly_reads { 97 } else { 50 };
    for number in 0_u64.. {
        if shared.stopped() || keys.is_empty() {
            return;
        }
        let at = random.random_range(0..keys.len());
        let (key, seen) = (&keys[at], revisions.get(&at).copied());
        let value = Bytes::from(format!("{}-{number}", of.number));
        let told = match random.random_range(0..100) {
            drawn if drawn < first_write => history.get(&of, key, drawn < 5).await,
            // Of what remains: puts, compare-and-sets, deletes.
            drawn => match drawn % 10 {
                0..4 => history.put(&of, key, value, None).await,
                4..8 => history.put(&of, key, value, Some(seen.unwrap_or(0))).await,
                8 => history.delete(&of, key, None).await,
                _ => history.delete(&of, key, seen.filter(|revision| *revision > 0)).await,
            },
        };
        if let Some(revision) = told {
            revisions.insert(at, revision);
        }
        sleep(pause.mul_f64(random.random_range(0.5..1.5))).await;
    }
}

async fn batches(shared: Shared, of: Of, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed ^ of.number);
    let twins = &shared.keys.twins;
    for number in 0_u64.. {
        if shared.stopped() || twins.is_empty() {
            return;
        }
        let pair = &twins[random.random_range(0..twins.len())];
        shared.history.batch(&of, pair, &Bytes::from(format!("{}-{number}", of.number))).await;
        sleep(BATCHES).await;
    }
}

async fn scan(shared: Shared, of: Of, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed ^ of.number);
    while !shared.stopped() {
        let page_keys = random.random_range(1..60);
        scans::scan(&shared.history, &shared.keys, &of, page_keys, random.random_bool(0.3)).await;
        sleep(SCANS).await;
    }
}
