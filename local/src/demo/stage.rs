use std::{
    error::Error,
    io::Write,
    time::{Duration, Instant},
};

use kv_client::{Client, ClusterState, Master, description::ClusterDescription, look_up};
use kv_local::{LocalCluster, chain};
use tokio::time::sleep;

use super::summary::Summary;
use crate::describe::describe;

/// Any failure ends the demonstration.
pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const LOOK_AGAIN: Duration = Duration::from_millis(50);
const LOOK_UP_WITHIN: Duration = Duration::from_secs(4);

/// What all steps use.
pub struct Stage {
    pub cluster: LocalCluster,
    /// A client that found the cluster through ZooKeeper.
    pub client: Client,
    pub summary: Summary,
    started: Instant,
}

impl Stage {
    pub fn new(cluster: LocalCluster, client: Client, started: Instant) -> Self {
        Self { cluster, client, summary: Summary::default(), started }
    }

    /// Says what is about to be done.
    pub fn say(&self, text: impl AsRef<str>) {
        say(self.started, text);
    }

    /// Says what was seen, and keeps it for the summary.
    pub fn seen(&mut self, claim: impl Into<String>, measured: impl Into<String>) {
        let (claim, measured) = (claim.into(), measured.into());
        self.say(format!("  ok: {claim}: {measured}"));
        self.summary.add(claim, measured);
    }

    /// Prints a text as it is.
    pub fn show(&self, text: impl AsRef<str>) {
        print(&indented(text.as_ref()));
    }

    /// What ZooKeeper tells a client just now.
    pub async fn zookeeper(&self) -> Outcome<ClusterState> {
        Ok(look_up(&self.cluster.zookeeper_url(), LOOK_UP_WITHIN).await?)
    }

    /// The master that ZooKeeper names.
    pub async fn master(&self) -> Outcome<Master> {
        match self.zookeeper().await? {
            ClusterState::Alive { master, members: _ } => Ok(master),
            ClusterState::Dead => Err("the cluster is dead: there is no master in ZooKeeper".into()),
        }
    }

    /// The names of the registered nodes as ZooKeeper orders them: the master, the sub-master, the slaves.
    pub async fn members(&self) -> Outcome<Vec<String>> {
        match self.zookeeper().await? {
            ClusterState::Alive { master: _, members } => Ok(members.into_iter().map(|member| member.id).collect()),
            ClusterState::Dead => Ok(Vec::new()),
        }
    }

    /// The cluster as a node sees it that reaches ZooKeeper.
    pub async fn describe(&mut self) -> Outcome<ClusterDescription> {
        let description = describe(&mut self.cluster).await?;
        if description.zookeeper_connected {
            return Ok(description);
        }
        Err(format!("{} does not reach ZooKeeper, nor does any other node", description.answered_by).into())
    }

    /// Waits until a description has what is claimed; returns it and how long that took.
    ///
    /// # Errors
    /// After `within`, with what was missing.
    pub async fn until(
        &mut self,
        claim: &str,
        within: Duration,
        mut holds: impl FnMut(&ClusterDescription) -> Result<(), String>,
    ) -> Outcome<(ClusterDescription, Duration)> {
        let started = Instant::now();
        let mut missing;
        loop {
            match self.describe().await {
                Ok(description) => match holds(&description) {
                    Ok(()) => return Ok((description, started.elapsed())),
                    Err(what) => missing = what,
                },
                // The node that was asked may be the one that has just been killed.
                Err(error) => missing = chain(&*error),
            }
            if started.elapsed() > within {
                return Err(not_seen(claim, within, &missing));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until something is so that no description tells; returns how long that took.
    ///
    /// # Errors
    /// After `within`, with what was missing.
    pub async fn until_so(
        &self,
        claim: &str,
        within: Duration,
        mut holds: impl AsyncFnMut(&Self) -> Result<(), String>,
    ) -> Outcome<Duration> {
        let started = Instant::now();
        loop {
            match holds(self).await {
                Ok(()) => return Ok(started.elapsed()),
                Err(missing) if started.elapsed() > within => return Err(not_seen(claim, within, &missing)),
                Err(_) => sleep(LOOK_AGAIN).await,
            }
        }
    }
}

/// Says something before there is a stage.
pub fn say(started: Instant, text: impl AsRef<str>) {
    print(&format!("[{:6.2} s] {}", started.elapsed().as_secs_f64(), text.as_ref()));
}

fn not_seen(claim: &str, within: Duration, missing: &str) -> Box<dyn Error + Send + Sync> {
    let within = humantime::format_duration(within);
    format!("claimed, and not seen within {within}: {claim}: {missing}").into()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("             {line}\n")).collect::<String>().trim_end().to_owned()
}

fn print(text: &str) {
    // A reader that has gone does not make the demonstration fail: the exit code still tells.
    let _ = writeln!(std::io::stdout(), "{text}");
}
