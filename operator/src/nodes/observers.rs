use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    ClusterReport,
    node::Node,
    observer::{HEARD_WITHIN, Latest, Observer},
};
use crate::reconcile::names::Names;

/// How long a question may take that a disruptive step waits for.
const ASK_WITHIN: Duration = Duration::from_secs(5);
/// How long a cluster that has just begun to be observed may take to be heard, before it counts as silent.
const FIRST_WITHIN: Duration = Duration::from_secs(3);

/// A `KvCluster`, by where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Why the nodes could not be asked, or did not do as they were asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody has said where its nodes are.
    #[error("cluster {0} is not observed")]
    NotObserved(ClusterKey),
    /// No node was there to be asked.
    #[error("no node of cluster {cluster} answered within {ASK_WITHIN:?}")]
    Silent {
        /// The cluster.
        cluster: ClusterKey,
        /// What went wrong with the last one that was tried.
        #[source]
        source: Option<kv_client::Error>,
    },
    /// A node answered, and did not do it.
    #[error("a node of cluster {cluster} did not do as it was asked")]
    Refused {
        /// The cluster.
        cluster: ClusterKey,
        /// What it said.
        #[source]
        source: kv_client::Error,
    },
}

/// One background task for each cluster, that hears what its nodes say.
pub struct NodeObservers {
    observed: Mutex<HashMap<ClusterKey, Observed>>,
    wake: Arc<dyn Fn(&ClusterKey) + Send + Sync>,
}

struct Observed {
    addresses: watch::Sender<Vec<String>>,
    latest: watch::Receiver<Latest>,
    since: Instant,
    _task: AbortOnDropHandle<()>,
}

/// One node after the other is asked, until one answers.
struct Asking {
    cluster: ClusterKey,
    addresses: std::vec::IntoIter<String>,
    deadline: Instant,
    last: Option<kv_client::Error>,
}

impl NodeObservers {
    /// `wake` is called when what a cluster's nodes say makes the status or plans come out differently: at most some four
    /// times a second for each cluster. It must not block.
    #[must_use]
    pub fn new(wake: impl Fn(&ClusterKey) + Send + Sync + 'static) -> Self {
        Self { observed: Mutex::default(), wake: Arc::new(wake) }
    }

    /// Observes a cluster at its nodes' addresses (`host:port`), or goes on to. To be called in a Tokio runtime.
    pub fn observe(&self, key: &ClusterKey, addresses: Vec<String>) {
        let mut observed = self.lock();
        if let Some(known) = observed.get(key) {
            known.addresses.send_if_modified(|known| {
                let changed = *known != addresses;
                *known = addresses;
                changed
            });
            return;
        }
        let (addresses, receiver) = watch::channel(addresses);
        let (sender, latest) = watch::channel(None);
        let (wake, of) = (Arc::clone(&self.wake), key.clone());
        let observer = Observer::new(receiver, sender, move || wake(&of));
        let task = AbortOnDropHandle::new(tokio::spawn(observer.run()));
        observed.insert(key.clone(), Observed { addresses, latest, since: Instant::now(), _task: task });
    }

    /// Ends the observation of a cluster that is deleted.
    pub fn forget(&self, key: &ClusterKey) {
        self.lock().remove(key);
    }

    /// What was heard last; none if no node has been heard for 10 s.
    #[must_use]
    pub fn latest(&self, key: &ClusterKey) -> Option<ClusterReport> {
        let observed = self.lock();
        let latest = observed.get(key)?.latest.borrow();
        latest.as_ref().filter(|report| report.at.elapsed() < HEARD_WITHIN).map(|report| ClusterReport::clone(report))
    }

    /// As [`Self::latest`], but a cluster that has just begun to be observed gets up to 3 s to be heard: so that an operator
    /// that starts anew does not tell people that all nodes are silent.
    pub async fn settled(&self, key: &ClusterKey) -> Option<ClusterReport> {
        let observed = self.lock().get(key).map(|observed| {
            let somebody = !observed.addresses.borrow().is_empty();
            (somebody, observed.latest.clone(), observed.since)
        });
        let (somebody, mut latest, since) = observed?;
        if somebody {
            // If nothing comes, or the cluster is forgotten meanwhile, the answer is none.
            let _ = timeout_at(since + FIRST_WITHIN, latest.wait_for(Option::is_some)).await;
        }
        self.latest(key)
    }

    /// What a node says now, as it says it: for steps that disrupt. One that reaches ZooKeeper, if there is any.
    ///
    /// # Errors
    /// [`Error::NotObserved`]; [`Error::Silent`] if no node answers within 5 s.
    pub async fn ask(&self, key: &ClusterKey) -> Result<ClusterReport, Error> {
        let mut asking = self.asking(key)?;
        let mut cut_off = None;
        while let Some(address) = asking.next() {
            let described = async { Node::connect(&address).await?.describe().await };
            match asking.answer(described).await? {
                Some(report) if report.zookeeper_connected => return Ok(report),
                Some(report) => cut_off = Some(report),
                None => {}
            }
        }
        cut_off.ok_or_else(|| asking.failed())
    }

    /// Has the shards of a node moved off, or takes that back. Returns how many homes and copies the node still holds. To ask
    /// for it twice does no harm.
    ///
    /// # Errors
    /// [`Error::NotObserved`]; [`Error::Refused`] if there is no such node; [`Error::Silent`] if no node could do it within
    /// 5 s: it may have been done all the same.
    pub async fn drain(&self, key: &ClusterKey, node: &str, undo: bool) -> Result<u32, Error> {
        let mut asking = self.asking(key)?;
        while let Some(address) = asking.next() {
            let drained = async { Node::connect(&address).await?.drain(node, undo).await };
            if let Some(held) = asking.answer(drained).await? {
                return Ok(held);
            }
        }
        Err(asking.failed())
    }

    fn asking(&self, key: &ClusterKey) -> Result<Asking, Error> {
        let addresses = self.addresses(key).ok_or_else(|| Error::NotObserved(key.clone()))?;
        let deadline = Instant::now() + ASK_WITHIN;
        Ok(Asking { cluster: key.clone(), addresses: addresses.into_iter(), deadline, last: None })
    }

    /// Where the nodes are, the one that answered last first.
    fn addresses(&self, key: &ClusterKey) -> Option<Vec<String>> {
        let observed = self.lock();
        let observed = observed.get(key)?;
        let mut addresses = observed.addresses.borrow().clone();
        if let Some(report) = observed.latest.borrow().as_ref() {
            // Addresses are `host:port`, and a host's first part is the node's name.
            let of_last = |address: &String| address.split(['.', ':']).next() == Some(report.answered_by.as_str());
            addresses.sort_by_key(|address| !of_last(address));
        }
        Some(addresses)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClusterKey, Observed>> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking {
    /// The next node to ask, while there is time.
    fn next(&mut self) -> Option<String> {
        self.addresses.next().filter(|_| Instant::now() < self.deadline)
    }

    /// A node's answer; none if another one is to be asked.
    async fn answer<T>(&mut self, answer: impl Future<Output = kv_client::Result<T>>) -> Result<Option<T>, Error> {
        match timeout_at(self.deadline, answer).await {
            Ok(Ok(answer)) => Ok(Some(answer)),
            Ok(Err(source @ (kv_client::Error::NoSuch(_) | kv_client::Error::Invalid(_)))) => {
                Err(Error::Refused { cluster: self.cluster.clone(), source })
            }
            Ok(Err(error)) => {
                self.last = Some(error);
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    fn failed(self) -> Error {
        Error::Silent { cluster: self.cluster, source: self.last }
    }
}

impl ClusterKey {
    /// Of the cluster that has these names.
    #[must_use]
    pub fn of(names: &Names) -> Self {
        Self { namespace: names.namespace.clone(), name: names.cluster.clone() }
    }
}

impl fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for NodeObservers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeObservers").field("observed", &self.lock().len()).finish_non_exhaustive()
    }
}
