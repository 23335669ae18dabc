use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    ClusterReport,
    node::{Node, Reports},
    steady::Unanswered,
};

/// A node that has said nothing for so long is asked whether it is there: one whose machine is gone never says so.
const SILENCE: Duration = Duration::from_secs(1);
/// A cluster in which nothing changes is described anew so often.
const DESCRIBE_EVERY: Duration = Duration::from_secs(5);
/// After every node has been tried in vain.
const PAUSE: Duration = Duration::from_secs(1);
/// What a node says that reaches ZooKeeper counts for so long, before one is believed that does not.
const CONNECTED_FOR: Duration = Duration::from_secs(3);
/// A report that is older counts no more: no node has been heard.
pub(super) const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// The newest report, if there ever was one.
pub(super) type Latest = Option<Arc<ClusterReport>>;

/// Follows one node of a cluster, and goes on to the next one when that fails or is cut off from ZooKeeper.
pub(super) struct Observer<W> {
    pub(super) addresses: watch::Receiver<Vec<String>>,
    pub(super) latest: watch::Sender<Latest>,
    /// Called when the status or plans may come out differently.
    pub(super) wake: W,
    unanswered: Unanswered,
    /// The last report has become too old, and that has been told.
    silence_told: bool,
}

/// Whether to go on with a node.
#[derive(PartialEq)]
enum Next {
    SameNode,
    /// The report is not quite sure: look again soon.
    SameNodeAgain,
    AnotherNode,
}

impl<W: Fn()> Observer<W> {
    pub(super) fn new(addresses: watch::Receiver<Vec<String>>, latest: watch::Sender<Latest>, wake: W) -> Self {
        Self { addresses, latest, wake, unanswered: Unanswered::default(), silence_told: false }
    }

    /// Goes on until it is dropped.
    pub(super) async fn run(mut self) {
        let mut first = 0_usize;
        loop {
            let addresses = self.addresses.borrow_and_update().clone();
            let mut followed = false;
            for turn in 0..addresses.len() {
                let index = first.wrapping_add(turn) % addresses.len();
                if self.follow(&addresses[index]).await {
                    // Whoever comes after the one that was lost has the first turn.
                    (first, followed) = (index + 1, true);
                    break;
                }
                if self.addresses.has_changed().unwrap_or(true) {
                    break;
                }
            }
            self.tell_silence();
            if !followed {
                tokio::select! {
                    () = sleep(PAUSE) => {}
                    changed = self.addresses.changed() => if changed.is_err() { return },
                }
            }
        }
    }

    /// True if the node was of use for a while. Ends when it is not any more, or may be no longer one of the cluster's.
    async fn follow(&mut self, address: &str) -> bool {
        let opened = async {
            let node = Node::connect(address).await?;
            let reports = node.watch().await?;
            Ok::<_, kv_client::Error>((node, reports))
        };
        let (node, mut reports) = match opened.await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::debug!(%address, %error, "the node can't be observed");
                return false;
            }
        };
        let mut of_use = false;
        let mut described = Instant::now();
        let mut next = Next::SameNode;
        loop {
            let report = tokio::select! {
                report = hear(&node, &mut reports, next == Next::SameNodeAgain || described.elapsed() >= DESCRIBE_EVERY) => report,
                changed = self.addresses.changed() => {
                    let still_there = self.addresses.borrow_and_update().iter().any(|known| known == address);
                    if changed.is_err() || !still_there { return of_use }
                    continue;
                }
            };
            next = match report {
                Ok(Some(report)) => {
                    described = report.at;
                    self.take(report)
                }
                Ok(None) => next,
                Err(error) => {
                    tracing::debug!(%address, %error, "the node is observed no longer");
                    Next::AnotherNode
                }
            };
            if next == Next::AnotherNode {
                return of_use;
            }
            of_use = true;
        }
    }

    fn take(&mut self, report: ClusterReport) -> Next {
        let before = self.latest.borrow().clone();
        let alone = self.addresses.borrow().len() <= 1;
        let connected = report.zookeeper_connected;
        if let Some(before) = &before
            && before.zookeeper_connected
            && !connected
            && !alone
            && before.at.elapsed() < CONNECTED_FOR
        {
            return Next::AnotherNode;
        }
        let (report, unsure) = self.unanswered.steady(report, before.as_deref());
        let news = self.silence_told || before.is_none_or(|before| !before.says_the_same(&report));
        self.silence_told = false;
        self.latest.send_replace(Some(Arc::new(report)));
        if news {
            (self.wake)();
        }
        match (connected || alone, unsure) {
            (false, _) => Next::AnotherNode,
            (true, true) => Next::SameNodeAgain,
            (true, false) => Next::SameNode,
        }
    }

    fn tell_silence(&mut self) {
        let is_old = self.latest.borrow().as_ref().is_some_and(|report| report.at.elapsed() >= HEARD_WITHIN);
        if is_old && !self.silence_told {
            self.silence_told = true;
            (self.wake)();
        }
    }
}

/// What the node says next. If it says nothing: its description if `again`, or nothing if it is there.
async fn hear(node: &Node, reports: &mut Reports, again: bool) -> Result<Option<ClusterReport>, kv_client::Error> {
    match timeout(SILENCE, reports.next()).await {
        Ok(report) => report.map(Some),
        Err(_) if again => node.describe().await.map(Some),
        Err(_) => node.probe().await.map(|()| None),
    }
}
