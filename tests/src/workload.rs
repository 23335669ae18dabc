//! Many clients that contend for a few keys.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kv_client::{Client, description::ClusterDescription};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    history::{Counts, Recorded, Recorder},
    ledger::key_in,
    wait,
};

/// Pause of each client between two operations: keeps histories short enough to be judged in seconds.
const PAUSE: Duration = Duration::from_millis(4);

/// A history of fewer answers says nothing.
const ENOUGH: usize = 500;
/// So many come within this time, whatever else the machine does.
const ENOUGH_WITHIN: Duration = Duration::from_secs(60);

/// Who does it: a client, and the keys that it uses.
pub type Worker = (Client, Vec<Vec<u8>>);

/// Clients that read, set, compare-and-set and delete the same keys, in the background.
#[derive(Debug)]
pub struct Workload {
    recorder: Arc<Recorder>,
    keys: BTreeSet<Vec<u8>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Workload {
    /// Begins: each of `clients` twice, on one key of every second shard.
    #[must_use]
    pub fn start(clients: &[Client], description: &ClusterDescription) -> Self {
        let keys: Vec<_> =
            description.shards.iter().step_by(2).filter_map(|shard| key_in(shard, "contended")).collect();
        let workers = clients.iter().chain(clients).map(|client| (client.clone(), keys.clone()));
        Self::start_with(workers.collect(), PAUSE)
    }

    /// Begins, each worker with `pause` between two operations.
    #[must_use]
    pub fn start_with(workers: Vec<Worker>, pause: Duration) -> Self {
        let recorder = Arc::new(Recorder::default());
        let stop = Arc::new(AtomicBool::new(false));
        let keys = workers.iter().flat_map(|(_, keys)| keys.iter().cloned()).collect();
        let mut tasks = JoinSet::new();
        for (number, (client, keys)) in (0..).zip(workers) {
            let of = Recorded { number, client };
            tasks.spawn(operate(Arc::clone(&recorder), of, keys, Arc::clone(&stop), pause));
        }
        Self { recorder, keys, stop, tasks }
    }

    /// What has been recorded so far.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Ends it, and reads every key once more. Returns the keys that can't be read.
    ///
    /// # Panics
    /// If a worker did.
    pub async fn stop(&mut self, client: &Client) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        // Not aborted: the outcome of what is under way belongs to the history.
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no client panics");
        }
        let reader = Recorded { number: u64::MAX, client: client.clone() };
        let mut unread = Vec::new();
        for key in &self.keys {
            if self.recorder.get(&reader, key).await.is_none() {
                unread.push(key.escape_ascii().to_string());
            }
        }
        unread
    }

    /// Ends it as soon as enough was answered, reads every key once more, and has the history judged.
    ///
    /// # Panics
    /// If it is not linearizable, or so little is answered that it says nothing.
    pub async fn finish(mut self, client: &Client) -> Counts {
        wait::until("enough is answered to be judged", ENOUGH_WITHIN, async || {
            let counts = self.recorder.counts();
            if counts.answered > ENOUGH { Ok(()) } else { Err(format!("{counts:?}")) }
        })
        .await;
        let unread = self.stop(client).await;
        assert!(unread.is_empty(), "{unread:?} can't be read");
        let counts = self.recorder.counts();
        eprintln!("operations: {counts:?}");
        self.recorder.assert_linearizable();
        counts
    }
}

async fn operate(recorder: Arc<Recorder>, of: Recorded, keys: Vec<Vec<u8>>, stop: Arc<AtomicBool>, pause: Duration) {
    let mut random = SmallRng::seed_from_u64(of.number);
    let mut revisions: HashMap<usize, u64> = HashMap::new();
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let at = random.random_range(0..keys.len());
        let (key, seen) = (&keys[at], revisions.get(&at).copied());
        let value = format!("{}-{number}", of.number);
        let told = match random.random_range(0..100) {
            0..45 => recorder.get(&of, key).await,
            45..70 => recorder.put(&of, key, value, None).await,
            70..90 => recorder.put(&of, key, value, Some(seen.unwrap_or(0))).await,
            90..95 => recorder.delete(&of, key, None).await,
            _ => recorder.delete(&of, key, seen.filter(|revision| *revision > 0)).await,
        };
        if let Some(revision) = told {
            revisions.insert(at, revision);
        }
        sleep(pause).await;
    }
}
