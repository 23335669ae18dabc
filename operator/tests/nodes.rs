//! What is heard of real nodes: whoever is killed, hangs or is drained, the report says so soon.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use kv_operator::nodes::{ClusterKey, ClusterReport, Error, NodeObservers};
use kv_tests::{TestCluster, options, run, wait};

/// How soon a change that has happened is to be heard.
const HEARD_WITHIN: Duration = Duration::from_secs(2);
/// What means "stuck" for a cluster that gets over something by itself.
const STUCK: Duration = Duration::from_secs(30);
/// How long a cluster at rest is listened to.
const REST: Duration = Duration::from_secs(4);

struct Observed {
    cluster: TestCluster,
    observers: NodeObservers,
    key: ClusterKey,
    wakes: Arc<AtomicUsize>,
}

/// Places in the line of those who become master.
const MASTER: usize = 0;
const SLAVE: usize = 2;

impl Observed {
    /// Three nodes, of which the one at this place in the line is listened to.
    async fn start(name: &str, place: usize) -> Self {
        let cluster = TestCluster::start(name, options(3)).await;
        let (_, members) = cluster.master().await.expect("the cluster is alive");
        let key = ClusterKey { namespace: "default".into(), name: name.into() };
        let wakes = Arc::new(AtomicUsize::new(0));
        let (woken, of) = (wakes.clone(), key.clone());
        let observers = NodeObservers::new(move |key| {
            assert_eq!(*key, of);
            woken.fetch_add(1, Ordering::Relaxed);
        });
        let mut nodes: Vec<_> = cluster.local.nodes().iter().collect();
        nodes.sort_by_key(|node| node.name() != members[place]);
        observers.observe(&key, nodes.iter().map(|node| node.direct_address().to_string()).collect());
        let observed = Self { cluster, observers, key, wakes };
        let report = observed.observers.settled(&observed.key).await.expect("the nodes are there");
        assert_eq!((report.nodes.len(), &report.answered_by), (3, &members[place]));
        observed
    }

    fn report(&self) -> Result<ClusterReport, String> {
        self.observers.latest(&self.key).ok_or_else(|| "nothing was heard lately".into())
    }

    async fn until(
        &self,
        what: &str,
        within: Duration,
        mut claim: impl FnMut(&ClusterReport) -> Result<(), String>,
    ) -> Duration {
        wait::until(what, within, async || claim(&self.report()?)).await
    }

    /// Waits until ZooKeeper has another master, and then until that has been heard.
    async fn until_another_master(&self, old: &str) {
        self.cluster.until_another_master(old).await;
        let since = Instant::now();
        let (now, _) = self.cluster.master().await.expect("the cluster is alive");
        self.until("the new master is reported", HEARD_WITHIN, |report| match &report.master {
            Some(master) if *master == now.id => Ok(()),
            other => Err(format!("{other:?} is, says {}", report.answered_by)),
        })
        .await;
        eprintln!("heard {:?} after it was so", since.elapsed());
    }
}

#[test]
fn a_new_master_is_heard_of_whether_the_old_one_died_or_hangs() {
    run(async {
        let mut observed = Observed::start("observed-master", MASTER).await;
        let (master, _) = observed.cluster.master().await.expect("the cluster is alive");
        let index = observed.cluster.local.index_of(&master.id).expect("it is one of the nodes");
        observed.cluster.local.kill(index).expect("it runs");
        observed.until_another_master(&master.id).await;
        observed
            .until("the dead node is gone", STUCK, |report| match report.nodes.get(&master.id) {
                Some(node) if !node.registered && node.shards_served == 0 => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
        observed.cluster.local.start_node(index).expect("it can start");
        observed.cluster.until_whole("the return").await;

        let (master, _) = observed.cluster.master().await.expect("the cluster is alive");
        let index = observed.cluster.local.index_of(&master.id).expect("it is one of the nodes");
        observed.cluster.local.pause(index).expect("it runs");
        observed.until_another_master(&master.id).await;
        let asked = observed.observers.ask(&observed.key).await.expect("two nodes answer");
        assert!(asked.zookeeper_connected && asked.answered_by != master.id, "{asked:?}");
        observed.cluster.local.resume(index).expect("it hangs");
    });
}

#[test]
fn a_node_that_hangs_while_another_takes_over_is_not_listened_to() {
    run(async {
        let mut observed = Observed::start("observed-hang", SLAVE).await;
        let (master, members) = observed.cluster.master().await.expect("the cluster is alive");
        let index = |name: &str| observed.cluster.local.index_of(name).expect("it is one of the nodes");
        let (hangs, dies) = (index(&members[SLAVE]), index(&master.id));
        observed.cluster.local.pause(hangs).expect("it runs");
        observed.cluster.local.kill(dies).expect("it runs");
        observed.until_another_master(&master.id).await;
        observed.cluster.local.resume(hangs).expect("it hangs");
    });
}

#[test]
fn a_drain_is_heard_of_and_so_is_its_end() {
    run(async {
        let observed = Observed::start("observed-drain", MASTER).await;
        let node = observed.cluster.name(2);
        let (observers, key) = (&observed.observers, &observed.key);
        let draining = |wished: bool| {
            let node = node.clone();
            move |report: &ClusterReport| match report.nodes.get(&node) {
                Some(found) if found.draining == wished => Ok(()),
                other => Err(format!("{other:?}")),
            }
        };
        let held = observers.drain(key, &node, false).await.expect("it can be drained");
        assert!(held > 0, "it held nothing");
        observed.until("the drain is reported", HEARD_WITHIN, draining(true)).await;
        // It may be empty first: a copy on it that is slow while the others are made is removed, and not taken back.
        let elsewhere = |report: &ClusterReport| match report.held_by(&node) {
            0 if report.fully_replicated() => Ok(()),
            0 => Err("not every copy is in sync".to_owned()),
            held => Err(format!("it holds {held} shards")),
        };
        observed.until("every copy is elsewhere", STUCK, elsewhere).await;
        let asked = observers.ask(key).await.expect("nodes answer");
        assert_eq!(elsewhere(&asked), Ok(()), "{asked:?}");

        observers.drain(key, &node, true).await.expect("it can be taken back");
        observed.until("its end is reported", HEARD_WITHIN, draining(false)).await;
        let refused = observers.drain(key, "kv-99", false).await.expect_err("there is no such node");
        assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");
    });
}

#[test]
fn a_cluster_at_rest_is_heard_and_wakes_nobody() {
    run(async {
        let observed = Observed::start("observed-rest", SLAVE).await;
        // A machine that is busy may keep a node from answering in time, which is a change: the rest begins again then.
        let woken = || observed.wakes.load(Ordering::Relaxed);
        let (mut began, mut before) = (Instant::now(), woken());
        observed
            .until("it is described anew, and nobody is woken meanwhile", STUCK, |report| {
                if woken() != before {
                    (began, before) = (Instant::now(), woken());
                }
                let rested = began.elapsed() >= REST && report.at > began;
                if rested { Ok(()) } else { Err(format!("woken {before} times")) }
            })
            .await;

        observed.observers.forget(&observed.key);
        assert_eq!(observed.observers.latest(&observed.key), None);
        let unknown = observed.observers.ask(&observed.key).await.expect_err("it is forgotten");
        assert!(matches!(unknown, Error::NotObserved(_)), "{unknown:?}");
    });
}
