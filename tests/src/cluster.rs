use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use kv_client::{Client, ClientOptions, ClusterState, Discovery, Master, description::ClusterDescription, look_up};
use kv_local::{LocalCluster, Options};

use crate::{claims, programs, wait};

/// What means "stuck" for a start.
pub const START_WITHIN: Duration = Duration::from_secs(60);
/// How long an application's request may take: longer than any outage that the cluster gets over by itself.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long a node that is asked directly may take.
const DIRECT_DEADLINE: Duration = Duration::from_secs(1);
/// Deadline of a description: the nodes that don't answer are among what is to be seen.
const DESCRIBE_WITHIN: Duration = Duration::from_secs(10);

/// A cluster of its own for one test. Its files stay if the test fails, and then it says where they are.
#[derive(Debug)]
pub struct TestCluster {
    /// The processes.
    pub local: LocalCluster,
    /// Dropped after the processes that write there.
    _files: Files,
}

/// Removed, unless the test fails.
#[derive(Debug)]
struct Files {
    directory: PathBuf,
    started: Instant,
}

/// Short sessions, the lease as shipped.
#[must_use]
pub fn options(nodes: usize) -> Options {
    let node_arguments = ["--segment-size", "4MiB"].map(str::to_owned).to_vec();
    Options { session_timeout: Duration::from_secs(3), node_arguments, ..Options::with_nodes(nodes) }
}

impl TestCluster {
    /// Starts it, and waits until every shard has all its copies and is served by its home.
    ///
    /// # Panics
    /// If that does not come about.
    pub async fn start(name: &str, options: Options) -> Self {
        let cluster = Self::start_bare(name, options).await;
        cluster.until_whole("the start").await;
        cluster
    }

    /// Starts it, and waits for ZooKeeper only.
    ///
    /// # Panics
    /// If a process does not start.
    pub async fn start_bare(name: &str, options: Options) -> Self {
        let directory = programs::target().with_file_name("kv-tests").join(name);
        if directory.exists() {
            fs::remove_dir_all(&directory).expect("an earlier run's files can go");
        }
        let options = Options { directory: Some(directory.clone()), ..options };
        let started = Instant::now();
        let local = LocalCluster::start(options).await.unwrap_or_else(|error| panic!("{error}: {error:?}"));
        Self { local, _files: Files { directory, started } }
    }

    /// A client as an application has it: it knows ZooKeeper's address and nothing else.
    ///
    /// # Panics
    /// If it can't connect.
    pub async fn client(&self) -> Client {
        let discovery = Discovery::ZooKeeper(self.local.zookeeper_url());
        let options = ClientOptions { deadline: DEADLINE, ..ClientOptions::new(discovery) };
        Client::connect(options).await.expect("the cluster is alive")
    }

    /// A client that knows the nodes' addresses, and nothing of ZooKeeper.
    ///
    /// # Panics
    /// If it can't connect.
    pub async fn client_of_nodes(&self) -> Client {
        let addresses = self.local.nodes().iter().map(|node| node.advertised_address().to_string()).collect();
        let options = ClientOptions { deadline: DEADLINE, ..ClientOptions::new(Discovery::Nodes(addresses)) };
        Client::connect(options).await.expect("a node answers")
    }

    /// A client that asks this one node past its proxy, and no other, and is told each failure at once.
    ///
    /// # Panics
    /// If it can't connect.
    pub async fn client_of(&self, index: usize) -> Client {
        let address = self.local.node(index).expect("there is such a node").direct_address().to_string();
        let options = ClientOptions {
            retries: false,
            deadline: DIRECT_DEADLINE,
            attempt_timeout: DIRECT_DEADLINE,
            follow_locations: false,
            ..ClientOptions::new(Discovery::Nodes(vec![address]))
        };
        Client::connect(options).await.expect("the node answers")
    }

    /// A client that asks these nodes and no others, and is told each failure: it sends nothing again.
    ///
    /// # Panics
    /// If it can't connect.
    pub async fn client_without_retries(&self, nodes: &[usize]) -> Client {
        let address = |index: &usize| self.local.nodes()[*index].advertised_address().to_string();
        let options = ClientOptions {
            retries: false,
            attempt_timeout: DEADLINE,
            deadline: DEADLINE,
            follow_locations: false,
            ..ClientOptions::new(Discovery::Nodes(nodes.iter().map(address).collect()))
        };
        Client::connect(options).await.expect("a node answers")
    }

    /// What the cluster says of itself, asked of the first node that answers.
    ///
    /// # Errors
    /// What the last node said.
    pub async fn description(&self) -> Result<ClusterDescription, String> {
        let mut last = "no node is there".to_owned();
        for node in self.local.nodes() {
            let address = node.direct_address().to_string();
            let options =
                ClientOptions { deadline: DESCRIBE_WITHIN, ..ClientOptions::new(Discovery::Nodes(vec![address])) };
            let described = async { Client::connect(options).await?.describe(false).await };
            match tokio::time::timeout(Duration::from_secs(2), described).await {
                Ok(Ok(description)) if description.zookeeper_connected => return Ok(description),
                Ok(Ok(_)) => last = format!("{} does not reach ZooKeeper", node.name()),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = format!("{} does not answer", node.name()),
            }
        }
        Err(last)
    }

    /// As [`TestCluster::description`].
    ///
    /// # Panics
    /// If no node answers.
    pub async fn describe(&self) -> ClusterDescription {
        let mut found = None;
        wait::until("a description", START_WITHIN, async || {
            found = Some(self.description().await?);
            Ok(())
        })
        .await;
        found.expect("it was waited for")
    }

    /// Waits until the description is as claimed, and returns how long that took.
    ///
    /// # Panics
    /// After `within`.
    pub async fn until(
        &self,
        what: &str,
        within: Duration,
        mut claim: impl FnMut(&ClusterDescription) -> Result<(), String>,
    ) -> Duration {
        wait::until(what, within, async || claim(&self.description().await?)).await
    }

    /// Waits until all nodes are there and ready, and every shard has all its copies and is served by its home.
    ///
    /// # Panics
    /// After a minute.
    pub async fn until_whole(&self, after: &str) -> Duration {
        let nodes = self.local.node_count();
        let what = format!("the cluster is whole after {after}");
        self.until(&what, START_WITHIN, |description| claims::whole_with(description, nodes)).await
    }

    /// What ZooKeeper says of the cluster.
    ///
    /// # Errors
    /// [`kv_client::Error::ZooKeeper`].
    pub async fn state(&self) -> kv_client::Result<ClusterState> {
        look_up(&self.local.zookeeper_url(), DEADLINE).await
    }

    /// The master, and the names of all members in the order in which they become master.
    ///
    /// # Errors
    /// That there is none.
    pub async fn master(&self) -> Result<(Master, Vec<String>), String> {
        match self.state().await {
            Ok(ClusterState::Alive { master, members }) => {
                Ok((master, members.into_iter().map(|member| member.id).collect()))
            }
            Ok(ClusterState::Dead) => Err("there is no master".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The number of the master.
    ///
    /// # Panics
    /// If there is none.
    pub async fn master_index(&self) -> usize {
        let (master, _) = self.master().await.expect("the cluster is alive");
        self.local.index_of(&master.id).expect("it is one of the nodes")
    }

    /// Waits until a node other than `old` is master.
    ///
    /// # Panics
    /// After a minute.
    pub async fn until_another_master(&self, old: &str) -> Duration {
        wait::until("another node is master", START_WITHIN, async || match self.master().await? {
            (master, _) if master.id == old => Err(format!("{old} still is")),
            _ => Ok(()),
        })
        .await
    }

    /// A node's name.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn name(&self, index: usize) -> String {
        self.local.node(index).expect("there is such a node").name().to_owned()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if thread::panicking() {
            let (path, ran) = (self.directory.display(), self.started.elapsed());
            eprintln!("the logs and volumes of this cluster are in {path} (it ran for {ran:?})");
        } else if let Err(error) = fs::remove_dir_all(&self.directory) {
            // The next run removes it.
            eprintln!("{}: {error}", self.directory.display());
        }
    }
}
