//! Real ZooKeeper processes, with files as the init container writes them and changes of membership as the operator makes them.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kv_local::{Launcher, PortBlock, Process, WorkDirectory, zookeeper::Jars};
use kv_operator::zookeeper::{EnsembleView, Error, Reconfigured, reconfigure, view};
use kv_zookeeper_member::{
    Did, Folders, Member, Membership, Options, RealDisk, Record, Recovery, RecoveryStep, Settings, configure,
};
use sha1::{Digest as _, Sha1};
use zookeeper_client::{Acls, Client, CreateMode};

/// What means "stuck".
const STUCK: Duration = Duration::from_secs(90);
/// How long nobody may serve who must not; a quorum is made in some two seconds.
const QUIET: Duration = Duration::from_secs(8);
const SECRET: &str = "a-secret";

struct Lab {
    directory: WorkDirectory,
    jars: Jars,
    launcher: Arc<Launcher>,
    members: Vec<Member>,
    processes: BTreeMap<u32, Process>,
    _ports: PortBlock,
}

impl Lab {
    async fn new(members: u32) -> Self {
        let jars = tokio::task::spawn_blocking(Jars::fetch).await.expect("no panic").expect("the jars");
        let directory = WorkDirectory::temporary().expect("a directory");
        let mut ports = PortBlock::claim(None).expect("ports");
        let mut port = || ports.take().expect("a port").port();
        let members = (1..=members)
            .map(|id| format!("server.{id}=127.0.0.1:{}:{};{}", port(), port(), port()).parse().expect("a member"))
            .collect();
        let launcher = Arc::new(Launcher::new(directory.process_ids()).expect("a thread"));
        Self { directory, jars, launcher, members, processes: BTreeMap::new(), _ports: ports }
    }

    fn home(&self, ordinal: u32) -> PathBuf {
        self.directory.path().join("zookeeper").join(ordinal.to_string())
    }

    fn record(&self, record: &Record) {
        let folder = self.directory.path().join("record");
        fs::create_dir_all(&folder).expect("a folder");
        let _ = fs::remove_file(folder.join("recover"));
        for (name, text) in record.files() {
            fs::write(folder.join(name), text).expect("written");
        }
    }

    fn configure(&self, ordinal: u32) -> Did {
        let home = self.home(ordinal);
        let digest = STANDARD.encode(Sha1::digest(format!("super:{SECRET}")));
        let options = Options {
            own: self.members[ordinal as usize].clone(),
            record: self.directory.path().join("record"),
            folders: Folders { conf: home.join("conf"), data: home.join("data"), datalog: home.join("datalog") },
            settings: Settings { tick_millis: 500, super_digest: Some(format!("super:{digest}")), metrics_port: None },
        };
        configure(&options, &RealDisk).did
    }

    fn start(&mut self, ordinal: u32, expected: &Did) {
        self.processes.remove(&ordinal);
        assert_eq!(self.configure(ordinal), *expected, "member {ordinal}");
        let name = format!("zookeeper-{ordinal}");
        let conf = self.home(ordinal).join("conf");
        let class_path = format!("{}:{}", conf.display(), self.jars.class_path());
        let configuration = conf.join("zoo.cfg").display().to_string();
        let arguments = [
            "-Xmx128m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
            "-Djava.net.preferIPv4Stack=true",
            "-cp",
            &class_path,
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            &configuration,
        ]
        .map(str::to_owned);
        let log = self.directory.log(&name);
        let process = self.launcher.launch(&name, self.jars.java(), &arguments, &[], &log).expect("it starts");
        self.processes.insert(ordinal, process);
    }

    fn wipe(&mut self, ordinal: u32) {
        self.processes.remove(&ordinal);
        fs::remove_dir_all(self.home(ordinal)).expect("removed");
    }

    fn address(&self, ordinal: u32) -> String {
        format!("127.0.0.1:{}", self.members[ordinal as usize].client_port)
    }

    fn connect(&self) -> String {
        let running: Vec<_> = self.processes.keys().map(|ordinal| self.address(*ordinal)).collect();
        running.join(",")
    }

    async fn view(&self) -> EnsembleView {
        view(&(0..).zip(&self.members).map(|(ordinal, _)| (ordinal, self.address(ordinal))).collect()).await
    }

    async fn until(&self, what: &str, holds: impl Fn(&EnsembleView) -> bool) -> EnsembleView {
        let started = Instant::now();
        loop {
            let view = self.view().await;
            if holds(&view) {
                eprintln!("{what} after {:?}", started.elapsed());
                return view;
            }
            assert!(started.elapsed() < STUCK, "{what}: not within {STUCK:?}: {view:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn nobody_serves(&self) {
        let started = Instant::now();
        while started.elapsed() < QUIET {
            let view = self.view().await;
            assert!(view.serving.is_empty(), "{view:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Changes the membership until it is changed, as rounds of the operator do.
    async fn change(&self, joining: &[u32], leaving: &[u32], expected: &[u32]) -> Membership {
        let lines: Vec<_> = joining.iter().map(|ordinal| self.members[*ordinal as usize].to_string()).collect();
        let leaving: Vec<_> = leaving.iter().map(|ordinal| ordinal + 1).collect();
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < STUCK, "the membership does not become {expected:?}");
            let view = self.until("a leader", |view| view.configuration.is_some()).await;
            let now = view.configuration.expect("there is one");
            if now.voters().map(|id| id - 1).eq(expected.iter().copied()) {
                return now;
            }
            let outcome = reconfigure(&self.connect(), SECRET, now.version, &lines, &leaving).await;
            eprintln!("+{joining:?} -{leaving:?}: {outcome:?} after {:?}", started.elapsed());
        }
    }

    /// A node that is not there yet.
    async fn write(&self, path: &str) {
        let started = Instant::now();
        loop {
            let connector = Client::connector().with_session_timeout(Duration::from_secs(4)).with_fail_eagerly();
            if let Ok(client) = connector.connect(&self.connect()).await {
                let created = client.create(path, b"x", &CreateMode::Persistent.with_acls(Acls::anyone_all())).await;
                if matches!(created, Ok(_) | Err(zookeeper_client::Error::NodeExists)) {
                    return;
                }
            }
            assert!(started.elapsed() < STUCK, "{path} can't be written");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn nodes(&self) -> Vec<String> {
        let client = Client::connect(&self.connect()).await.expect("a session");
        client.sync("/").await.expect("a leader");
        let mut nodes = client.list_children("/").await.expect("it answers");
        nodes.retain(|name| name != "zookeeper");
        nodes.sort();
        nodes
    }

    /// Members 0.. of a fresh ensemble.
    async fn grown(members: u32, of: u32) -> (Self, Membership) {
        let mut lab = Self::new(of).await;
        lab.record(&Record::default());
        lab.start(0, &Did::FirstBoot);
        let view = lab.until("the first member serves", |view| view.configuration.is_some()).await;
        assert_eq!(view.leader(), Some(0));
        let first = view.configuration.expect("there is one");
        assert!(first.voters().eq([1]));
        lab.write("/one").await;
        let mut membership = lab.publish(&first);
        if members > 1 {
            let joining: Vec<_> = (1..members).collect();
            membership = lab.join(&joining, &(0..members).collect::<Vec<_>>()).await;
        }
        (lab, membership)
    }

    fn publish(&self, membership: &Membership) -> Membership {
        self.record(&Record { bootstrapped: true, membership: membership.clone(), recovery: None });
        membership.clone()
    }

    async fn join(&mut self, joining: &[u32], expected: &[u32]) -> Membership {
        for ordinal in joining {
            self.start(*ordinal, &Did::Joiner);
        }
        let count = joining.len() as u32;
        self.until("joiners are synced", |view| view.synced().is_some_and(|(_, joiners)| joiners == count)).await;
        let membership = self.change(joining, &[], expected).await;
        self.until("all vote", |view| view.synced() == Some((expected.len() as u32 - 1, 0))).await;
        self.publish(&membership)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ensemble_grows_to_three_and_five_and_shrinks_to_three() {
    let (mut lab, three) = Lab::grown(3, 5).await;
    lab.write("/three").await;
    let stale = reconfigure(&lab.connect(), SECRET, three.version - 1, &[], &[3]).await;
    assert_eq!(stale.expect("an outcome"), Reconfigured::OtherVersion);
    let stranger = reconfigure(&lab.connect(), "another", three.version, &[], &[3]).await;
    assert!(matches!(stranger, Err(Error::Refused(_))), "{stranger:?}");

    // A joiner that starts again before it votes.
    lab.start(3, &Did::Joiner);
    lab.until("a joiner is synced", |view| view.synced() == Some((2, 1))).await;
    lab.start(3, &Did::Joiner);
    lab.until("it is again", |view| view.synced() == Some((2, 1))).await;
    let five = lab.join(&[3, 4], &[0, 1, 2, 3, 4]).await;
    lab.write("/five").await;
    assert!(five.version > three.version);

    // The next leader is the one of the highest id among those that have everything: one of those that leave, mostly.
    let leader = lab.until("a leader", |view| view.leader().is_some()).await.leader().expect("there is one");
    lab.processes.remove(&leader);
    let view = lab.until("another leads", |view| view.leader().is_some_and(|other| other != leader)).await;
    eprintln!("member {:?} leads after member {leader}", view.leader());
    lab.start(leader, &Did::LaterBoot);
    lab.until("all serve", |view| view.synced() == Some((4, 0))).await;
    let three = lab.change(&[], &[3, 4], &[0, 1, 2]).await;
    lab.publish(&three);
    lab.write("/three-again").await;
    for ordinal in [3, 4] {
        lab.processes.remove(&ordinal);
    }
    // They come back with what they held.
    lab.join(&[3, 4], &[0, 1, 2, 3, 4]).await;
    assert_eq!(lab.nodes().await, ["five", "one", "three", "three-again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wiped_members_rejoin_a_quorum_and_are_none() {
    let (mut lab, three) = Lab::grown(3, 3).await;
    for ordinal in [0, 1, 2] {
        lab.wipe(ordinal);
        lab.write(&format!("/without-{ordinal}")).await;
        lab.start(ordinal, &Did::Joiner);
        lab.until("a wiped member is synced", |view| view.synced() == Some((2, 0))).await;
    }
    let all = ["one", "without-0", "without-1", "without-2"];
    assert_eq!(lab.nodes().await, all);

    lab.wipe(0);
    lab.wipe(1);
    for ordinal in [0, 1] {
        lab.start(ordinal, &Did::Joiner);
    }
    lab.nobody_serves().await;
    let recovery = |step| Some(Recovery { token: 1, step });
    let record = |step| Record { bootstrapped: true, membership: three.clone(), recovery: recovery(step) };
    lab.record(&record(RecoveryStep::Hold));
    lab.processes.clear();
    for ordinal in 0..3 {
        assert_eq!(lab.configure(ordinal), Did::Held);
    }
    lab.record(&record(RecoveryStep::Release { mark: vec![1] }));
    lab.start(0, &Did::Joiner);
    lab.start(1, &Did::Recovered);
    // The two empty ones do nothing without the one that holds data.
    lab.nobody_serves().await;
    lab.start(2, &Did::LaterBoot);
    let view = lab.until("the ensemble is recovered", |view| view.synced() == Some((2, 0))).await;
    assert_eq!((view.leader(), view.configuration), (Some(2), Some(three.clone())));
    assert_eq!(lab.nodes().await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ensemble_that_lost_everything_serves_only_once_it_is_begun_anew() {
    let (mut lab, three) = Lab::grown(3, 3).await;
    for ordinal in 0..3 {
        lab.wipe(ordinal);
    }
    for ordinal in 0..3 {
        lab.start(ordinal, &Did::Joiner);
    }
    lab.nobody_serves().await;
    let record =
        |membership, step| Record { bootstrapped: true, membership, recovery: Some(Recovery { token: 9, step }) };
    lab.record(&record(three, RecoveryStep::Hold));
    lab.processes.clear();
    for ordinal in 0..3 {
        assert_eq!(lab.configure(ordinal), Did::Held);
    }
    lab.record(&record(Membership::default(), RecoveryStep::New));
    assert!(matches!(lab.configure(1), Did::Refused(_)));
    lab.start(0, &Did::FirstBoot);
    let view = lab.until("the first member serves", |view| view.configuration.is_some()).await;
    lab.publish(&view.configuration.expect("there is one"));
    lab.join(&[1, 2], &[0, 1, 2]).await;
    assert!(lab.nodes().await.is_empty());
}
