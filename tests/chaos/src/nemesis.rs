use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::Duration,
};

use kv_local::{LocalCluster, Mode, NodeState, in_path};
use rand::{
    RngExt as _, SeedableRng as _,
    rngs::SmallRng,
    seq::{IndexedRandom as _, SliceRandom as _},
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    Result,
    journal::Journal,
    machine::{self, Machine},
    observe,
    plan::{Fault, Step},
    rule::{self, Rule},
    settings::{Settings, one_of},
};

/// How many times longer than planned faults may begin.
const LONGER: f64 = 1.5;

/// Carries out a plan, and heals everything.
#[derive(Debug)]
pub struct Nemesis<'a> {
    pub(crate) cluster: &'a mut LocalCluster,
    pub(crate) settings: &'a Settings,
    machine: &'a Machine,
    /// A volume that can be filled.
    small: Option<PathBuf>,
    pub(crate) rule: Rule,
    active: Vec<Active>,
    /// Nodes that have no process on purpose.
    pub(crate) down: BTreeSet<usize>,
    /// How often nodes have ended by themselves.
    pub(crate) ended: BTreeMap<usize, usize>,
    /// What happened.
    pub journal: Journal,
    /// What should not have: nodes that ended by themselves, a ZooKeeper that could not be rebuilt.
    pub failures: Vec<String>,
}

#[derive(Debug)]
struct Active {
    entry: usize,
    until: Instant,
    heal: Heal,
}

/// How a fault ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heal {
    Start(Vec<usize>),
    Resume(usize),
    ZooKeeper(usize),
    Inbound(usize),
    Links(Vec<(usize, usize)>),
    Losses,
    Room(PathBuf),
    Clock(usize),
    ZooKeeperServers,
    Done,
}

/// On whom a fault is, and how it ends; or why it was not begun.
pub(crate) type Begun = std::result::Result<(String, Heal), String>;

impl<'a> Nemesis<'a> {
    /// Of this cluster. `small`: a volume on a small file system.
    #[must_use]
    pub fn new(
        cluster: &'a mut LocalCluster,
        settings: &'a Settings,
        machine: &'a Machine,
        small: Option<PathBuf>,
    ) -> Self {
        Self {
            cluster,
            settings,
            machine,
            small,
            rule: Rule::default(),
            active: Vec::new(),
            down: BTreeSet::new(),
            ended: BTreeMap::new(),
            journal: Journal::default(),
            failures: Vec::new(),
        }
    }

    /// Carries out the plan, each fault at its time, and heals everything in the end.
    ///
    /// # Errors
    /// What this program itself can't do, such as starting a process.
    pub async fn run(&mut self, plan: &[Step]) -> Result<()> {
        let mut next = Instant::now();
        // Waits before destructive faults come on top of the plan: on a slow machine the rest of it is left out.
        let limit = next + Duration::from_secs(self.settings.seconds).mul_f64(LONGER);
        for step in plan {
            if next.max(Instant::now()) > limit {
                break;
            }
            next = (next + step.after).max(Instant::now());
            self.pass_until(next).await?;
            // What was healed, or was not begun after all, may have left copies that are still to come into sync.
            let alone = self.active.is_empty() && observe::claimed(self.cluster, &mut rule::complete).await.is_ok();
            let entry = self.journal.begin(step.fault, alone);
            let mut random = SmallRng::seed_from_u64(step.seed);
            let begun = if step.fault.is_destructive() {
                self.destroy(step.fault, entry, &mut random).await?
            } else {
                self.begin(step.fault, entry, &mut random).await?
            };
            match begun {
                Ok((on, heal)) => {
                    self.journal.entries[entry].on = on;
                    self.active.push(Active { entry, until: Instant::now() + step.lasts, heal });
                }
                Err(why) => self.journal.entries[entry].skipped = Some(why),
            }
            self.journal.write(self.cluster.directory().path())?;
        }
        self.pass_all().await
    }

    /// Lets time pass until all faults are healed.
    pub(crate) async fn pass_all(&mut self) -> Result<()> {
        while let Some(last) = self.active.iter().map(|active| active.until).max() {
            self.pass_until(last).await?;
        }
        Ok(())
    }

    /// Lets time pass; what is due is healed.
    async fn pass_until(&mut self, time: Instant) -> Result<()> {
        loop {
            self.look_for_the_dead()?;
            let due = (0..self.active.len()).min_by_key(|at| self.active[*at].until);
            match due.filter(|at| self.active[*at].until <= time) {
                Some(at) => {
                    sleep_until(self.active[at].until).await;
                    let Active { entry, heal, .. } = self.active.swap_remove(at);
                    self.heal(heal).await?;
                    self.journal.healed(entry);
                }
                None => {
                    sleep_until(time).await;
                    return Ok(());
                }
            }
        }
    }

    async fn begin(&mut self, fault: Fault, entry: usize, random: &mut SmallRng) -> Result<Begun> {
        let of_process = matches!(fault, Fault::Kill | Fault::Pause | Fault::Boot | Fault::WallClock);
        let mut running =
            |index: &usize| self.cluster.node_mut(*index).is_ok_and(|node| node.state() == NodeState::Running);
        let among: Vec<_> = (0..self.settings.nodes).filter(|index| !of_process || running(index)).collect();
        let Some(index) = among.choose(random).copied() else { return Ok(Err("no node runs".to_owned())) };
        let name = format!("kv-{index}");
        let peer = (index + random.random_range(1..self.cluster.node_count())) % self.cluster.node_count();
        let mode = one_of(random, [Mode::Cut, Mode::Blackhole]);
        let delay = Duration::from_millis(one_of(random, [5, 50, 200, 500]));
        let begun = match fault {
            Fault::Kill => {
                if self.active.is_empty() {
                    self.journal.entries[entry].served = self.served(index).await;
                    self.journal.begin_now(entry);
                }
                self.kill(index)?;
                (name, Heal::Start(vec![index]))
            }
            Fault::KillAll => {
                let mut nodes: Vec<_> = (0..self.cluster.node_count()).collect();
                for index in &nodes {
                    self.kill(*index)?;
                }
                nodes.shuffle(random);
                ("all nodes".to_owned(), Heal::Start(nodes))
            }
            Fault::Pause => {
                self.cluster.pause(index)?;
                (name, Heal::Resume(index))
            }
            Fault::Boot => {
                if let Some(why) = self.machine.lacks_boot() {
                    return Ok(Err(why.to_owned()));
                }
                let seconds = one_of(random, [-600, 600, 86_400, 300_000_000]);
                let unshare = in_path("unshare").unwrap_or_default().display().to_string();
                let flags = ["--time", "--boottime", &seconds.to_string(), "--monotonic", &seconds.to_string()];
                let prefix = [&unshare[..]].into_iter().chain(flags).map(str::to_owned).collect();
                self.kill(index)?;
                self.cluster.node_mut(index)?.start_through(prefix);
                (format!("{name}, {seconds:+} s"), Heal::Start(vec![index]))
            }
            Fault::WallClock => {
                if !self.settings.clocks || self.machine.clock_environment().is_empty() {
                    return Ok(Err("needs libfaketime, and a round that has it drawn".to_owned()));
                }
                let seconds = one_of(random, [-3_600, -60, -5, 5, 60, 3_600]);
                self.machine.set_clock(&name, seconds)?;
                (format!("{name}, {seconds:+} s"), Heal::Clock(index))
            }
            Fault::ZooKeeperCut => {
                self.cluster.set_zookeeper(index, mode).await?;
                (format!("{name}, {mode:?}"), Heal::ZooKeeper(index))
            }
            Fault::ZooKeeperSlow => {
                self.cluster.set_zookeeper(index, Mode::Delay(delay)).await?;
                (format!("{name}, {delay:?}"), Heal::ZooKeeper(index))
            }
            Fault::Unreachable => {
                self.cluster.set_inbound(index, mode).await?;
                (format!("{name}, {mode:?}"), Heal::Inbound(index))
            }
            Fault::LinkCut => self.link(vec![(index, peer)], mode)?,
            Fault::LinkSlow => self.link(vec![(index, peer)], Mode::Delay(delay))?,
            // Of one pair, or one node and all others.
            Fault::PairCut if random.random_bool(0.5) => self.link(vec![(index, peer), (peer, index)], mode)?,
            Fault::PairCut => {
                let others = (0..self.cluster.node_count()).filter(|other| *other != index);
                self.link(others.flat_map(|other| [(index, other), (other, index)]).collect(), mode)?
            }
            Fault::Losses => {
                if let Some(why) = self.machine.lacks_losses() {
                    return Ok(Err(why.to_owned()));
                }
                if self.active.iter().any(|active| active.heal == Heal::Losses) {
                    return Ok(Err("packets are being lost already".to_owned()));
                }
                let share = one_of(random, [0.01, 0.05, 0.1, 0.3]);
                let node = self.cluster.node_mut(index)?;
                let mut ports = vec![node.direct_address().port(), node.advertised_address().port()];
                ports.extend(node.zookeeper_proxy().map(|proxy| proxy.address().port()));
                self.machine.lose(&ports, share)?;
                (format!("{name}, {share}"), Heal::Losses)
            }
            Fault::DiskFull => {
                let Some(small) = self.small.clone() else {
                    return Ok(Err("needs root, to mount a small file system".to_owned()));
                };
                if self.active.iter().any(|active| matches!(active.heal, Heal::Room(_))) {
                    return Ok(Err("it is full already".to_owned()));
                }
                let (index, folder) = self.settings.small_volume;
                let on = format!("kv-{index}/{}", folder.name());
                let ballast = tokio::task::spawn_blocking(move || machine::fill(&small)).await??;
                (on, Heal::Room(ballast))
            }
            Fault::ZooKeeperServer | Fault::ZooKeeperGone => return self.zookeeper(fault, random).await,
            Fault::Wipe | Fault::Flip | Fault::ZooKeeperLost => return Ok(Err("it is not for this".to_owned())),
        };
        Ok(Ok(begun))
    }

    async fn zookeeper(&mut self, fault: Fault, random: &mut SmallRng) -> Result<Begun> {
        let servers = self.cluster.zookeeper().servers().len();
        if self.active.iter().any(|active| active.heal == Heal::ZooKeeperServers) {
            return Ok(Err("a server is down already".to_owned()));
        }
        if fault == Fault::ZooKeeperGone {
            self.cluster.zookeeper_mut().stop_all()?;
            return Ok(Ok(("all servers".to_owned(), Heal::ZooKeeperServers)));
        }
        if servers < 3 {
            return Ok(Err("there is one server".to_owned()));
        }
        let Some(leader) = self.cluster.zookeeper().leader().await else {
            return Ok(Err("no server leads".to_owned()));
        };
        let (index, role) =
            if random.random_bool(0.5) { (leader, "the leader") } else { ((leader + 1) % servers, "a follower") };
        match self.cluster.zookeeper_mut().kill(index) {
            Ok(()) => Ok(Ok((format!("{role}, {index}"), Heal::ZooKeeperServers))),
            Err(kv_local::Error::NotRunning { process }) => Ok(Err(format!("{process} starts"))),
            Err(error) => Err(error.into()),
        }
    }

    fn link(&mut self, links: Vec<(usize, usize)>, mode: Mode) -> Result<(String, Heal)> {
        for (from, to) in &links {
            self.cluster.set_link(*from, *to, mode)?;
        }
        let named: Vec<_> = links.iter().map(|(from, to)| format!("{from} to {to}")).collect();
        Ok((format!("{}, {mode:?}", named.join(" and ")), Heal::Links(links)))
    }

    async fn heal(&mut self, heal: Heal) -> Result<()> {
        match heal {
            Heal::Start(nodes) => {
                for index in nodes {
                    self.down.remove(&index);
                    if self.cluster.node_mut(index)?.state() == NodeState::Stopped {
                        self.cluster.start_node(index)?;
                    }
                }
            }
            // It may have been killed meanwhile.
            Heal::Resume(index) if self.cluster.node_mut(index)?.state() == NodeState::Paused => {
                self.cluster.resume(index)?;
            }
            Heal::ZooKeeper(index) => self.cluster.set_zookeeper(index, Mode::Pass).await?,
            Heal::Inbound(index) => self.cluster.set_inbound(index, Mode::Pass).await?,
            Heal::Links(links) => {
                for (from, to) in links {
                    self.cluster.set_link(from, to, Mode::Pass)?;
                }
            }
            Heal::Losses => self.machine.lose_nothing()?,
            Heal::Room(ballast) => match fs::remove_file(ballast) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            },
            Heal::Clock(index) => self.machine.set_clock(&format!("kv-{index}"), 0)?,
            Heal::ZooKeeperServers => self.cluster.zookeeper_mut().launch_all()?,
            Heal::Resume(_) | Heal::Done => {}
        }
        Ok(())
    }

    /// SIGKILL, unless there is no process.
    pub(crate) fn kill(&mut self, index: usize) -> Result<()> {
        self.look_for_the_dead()?;
        self.down.insert(index);
        if self.cluster.node_mut(index)?.state() != NodeState::Stopped {
            self.cluster.kill(index)?;
        }
        Ok(())
    }

    async fn served(&mut self, index: usize) -> Vec<u64> {
        let description = observe::description(self.cluster).await;
        description
            .map(|description| kv_tests::claims::served_by(&description, &format!("kv-{index}")))
            .unwrap_or_default()
    }

    /// Pause between two attempts at something that the cluster refuses just now.
    pub(crate) async fn pause(&self) {
        sleep(Duration::from_millis(300)).await;
    }
}
