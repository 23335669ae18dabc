use std::{error::Error, time::Duration};

use comfy_table::Cell;
use kv_client::{ChangeKind, Changes, ClusterState, Watch, look_up};
use kv_local::{LocalCluster, Mode, Node, chain};
use tokio::{task::JoinSet, time::sleep};

use super::{
    command::{COMMANDS, Command},
    lines::Lines,
    terminal::Printer,
};
use crate::{describe::describe, tables, traffic};

/// How long the nodes may take to be ready, at the start and at `wait`.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long `status` waits for ZooKeeper.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(4);

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Line,
    Exit,
}

/// Runs the shell on a cluster until its input ends. Returns whether every command succeeded; at a terminal that is
/// always so, since a person has seen what happened.
///
/// # Errors
/// Those of starting, and of reading the input.
pub async fn run(cluster: &mut LocalCluster, mut lines: Lines) -> Result<bool, Box<dyn Error + Send + Sync>> {
    let mut session = Session { cluster, printer: lines.printer().clone(), watch: JoinSet::new() };
    session.introduce(lines.is_terminal()).await?;
    let mut all_well = true;
    let mut number = 0;
    while let Some(line) = lines.next().await? {
        number += 1;
        let outcome = match Command::parse(&line) {
            Ok(None) => continue,
            Ok(Some(command)) => session.execute(command).await,
            Err(misuse) => Err(misuse.into()),
        };
        match outcome {
            Ok(Next::Line) => {}
            Ok(Next::Exit) => break,
            Err(error) => {
                // A person knows which line it was.
                let place = if lines.is_terminal() { String::new() } else { format!("line {number}: ") };
                eprintln!("error: {place}{}", chain(&*error));
                all_well = false;
            }
        }
    }
    Ok(all_well || lines.is_terminal())
}

struct Session<'a> {
    cluster: &'a mut LocalCluster,
    printer: Printer,
    /// The watch in the background, if there is one.
    watch: JoinSet<()>,
}

impl Session<'_> {
    async fn introduce(&mut self, is_terminal: bool) -> Outcome {
        self.cluster.wait_ready(READY_WITHIN).await?;
        if is_terminal {
            self.print(format!("ZooKeeper:  {}", self.cluster.zookeeper_url()));
            self.print(format!("files:      {}", self.cluster.directory().path().display()));
            self.list();
            self.print("`help` lists what can be done.");
        }
        Ok(())
    }

    async fn execute(&mut self, command: Command) -> Result<Next, Box<dyn Error + Send + Sync>> {
        let cluster = &mut *self.cluster;
        match command {
            Command::Help => self.help(),
            Command::List => self.list(),
            Command::NewClient => {
                let id = cluster.add_node().await?;
                cluster.node_mut(id)?.wait_ready(READY_WITHIN).await?;
                self.print(format!("node {id} is there"));
            }
            Command::Get { id, key } => {
                let client = traffic::of_node(cluster.node(id)?.direct_address()).await?;
                match client.get(key.clone()).await? {
                    Some(entry) => self.print(String::from_utf8_lossy(&entry.value)),
                    None => self.print(format!("{key} does not exist")),
                }
            }
            Command::Put { id, key, value } => {
                let client = traffic::of_node(cluster.node(id)?.direct_address()).await?;
                let answer = client.put((key, value)).await?;
                self.print(format!("written, revision {}", answer.revision));
            }
            Command::Delete { id, key } => {
                let client = traffic::of_node(cluster.node(id)?.direct_address()).await?;
                let existed = client.delete(key.clone()).await?.existed;
                self.print(if existed { "deleted".to_owned() } else { format!("{key} did not exist") });
            }
            Command::RmiDown(id) => cluster.rmi_down(id).await?,
            Command::RmiUp(id) => cluster.rmi_up(id).await?,
            Command::ZkDown(id) => cluster.zk_down(id).await?,
            Command::ZkUp(id) => cluster.zk_up(id).await?,
            Command::Kill(id) => cluster.kill(id)?,
            Command::Pause(id) => cluster.pause(id)?,
            Command::Resume(id) => cluster.resume(id)?,
            Command::Start(id) => cluster.start_node(id)?,
            Command::Wipe { id, folder } => cluster.wipe(id, folder)?,
            Command::Status => self.status().await?,
            Command::Shards => self.shards().await?,
            Command::Watch { prefix } => self.watch(prefix).await?,
            Command::WatchOff => self.watch.shutdown().await,
            Command::Wait => cluster.wait_ready(READY_WITHIN).await?,
            Command::Sleep(duration) => sleep(duration).await,
            Command::Exit => return Ok(Next::Exit),
        }
        Ok(Next::Line)
    }

    fn print(&self, text: impl AsRef<str>) {
        self.printer.print(text.as_ref());
    }

    fn help(&self) {
        let mut table = tables::table(&["command", "", ""]);
        for usage in COMMANDS {
            table.add_row([usage.name, usage.arguments, usage.what]);
        }
        self.print(table.trim_fmt());
    }

    fn list(&mut self) {
        let header = ["id", "name", "process", "pid", "address", "direct", "http", "from others", "to ZooKeeper"];
        let mut table = tables::table(&header);
        for id in 0..self.cluster.node_count() {
            let Ok(node) = self.cluster.node_mut(id) else { continue };
            let state = node.state();
            let pid = node.process_id().map_or_else(String::new, |id| id.to_string());
            table.add_row(vec![
                tables::number(id),
                Cell::new(node.name()),
                Cell::new(state),
                tables::number(pid),
                Cell::new(node.advertised_address()),
                Cell::new(node.direct_address()),
                Cell::new(node.http_address()),
                Cell::new(link(node.inbound_proxy().map(|proxy| proxy.mode()))),
                Cell::new(link(node.zookeeper_proxy().map(|proxy| proxy.mode()))),
            ]);
        }
        self.print(table.trim_fmt());
    }

    /// What any client learns, from ZooKeeper; then what the nodes say.
    async fn status(&mut self) -> Outcome {
        match look_up(&self.cluster.zookeeper_url(), LOOK_UP_WITHIN).await {
            Ok(ClusterState::Dead) => {
                self.print("dead");
                return Ok(());
            }
            Ok(ClusterState::Alive { master, members: _ }) => {
                self.print(format!("alive, the master is {} at {}", master.id, master.address));
            }
            Err(error) => self.print(format!("ZooKeeper does not answer: {}", chain(&error))),
        }
        let description = describe(self.cluster).await?;
        if !description.zookeeper_connected {
            self.print(format!("as {} knew it when it last reached ZooKeeper:", description.answered_by));
        }
        self.print(tables::nodes(&description).trim_fmt());
        Ok(())
    }

    async fn shards(&mut self) -> Outcome {
        let description = describe(self.cluster).await?;
        self.print(tables::shards(&description).trim_fmt());
        Ok(())
    }

    async fn watch(&mut self, prefix: String) -> Outcome {
        self.watch.shutdown().await;
        let running = self.cluster.nodes().iter().map(Node::advertised_address).collect::<Vec<_>>();
        let client = traffic::of_nodes(&running).await?;
        let watch = if prefix.is_empty() { Watch::all() } else { Watch::prefix(prefix) };
        let mut stream = client.watch(watch).await?;
        let printer = self.printer.clone();
        self.watch.spawn(async move {
            loop {
                match stream.next().await {
                    Ok(changes) => printer.print(&shown(&changes)),
                    Err(error) => {
                        printer.print(&format!("the watch has ended: {}", chain(&error)));
                        return;
                    }
                }
            }
        });
        Ok(())
    }
}

fn shown(changes: &Changes) -> String {
    let line = |change: &kv_client::Change| {
        let key = String::from_utf8_lossy(&change.entry.key);
        match change.kind {
            ChangeKind::Put => format!("put {key} = {}", String::from_utf8_lossy(&change.entry.value)),
            ChangeKind::Delete => format!("delete {key}"),
            ChangeKind::Expire => format!("expire {key}"),
        }
    };
    changes.changes.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn link(mode: Option<Mode>) -> &'static str {
    match mode {
        None => "no proxy",
        Some(Mode::Pass) => "up",
        Some(Mode::Cut) => "down",
        Some(Mode::Blackhole) => "stalled",
        Some(Mode::Delay(_)) => "slow",
    }
}
