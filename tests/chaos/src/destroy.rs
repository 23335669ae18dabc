//! Faults that destroy something.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use kv_client::description::ClusterDescription;
use kv_local::Folder;
use rand::{RngExt as _, rngs::SmallRng, seq::SliceRandom as _};
use tokio::{process::Command, time::Instant};

use crate::{
    Result,
    nemesis::{Begun, Heal, Nemesis},
    observe,
    plan::Fault,
    rule,
};

/// How long the others may take to go on without nodes that are to lose their volumes.
const MOVED_WITHIN: Duration = Duration::from_secs(10);
/// How long a lost ZooKeeper may take to be rebuilt.
const REBUILT_WITHIN: Duration = Duration::from_secs(90);
/// Volumes that are destroyed at once, at most.
const MAX_VOLUMES: usize = 4;

type Chosen = Vec<(usize, Folder)>;

impl Nemesis<'_> {
    /// Begins a destructive fault in a cluster that has all its copies, if the rule allows it.
    pub(crate) async fn destroy(&mut self, fault: Fault, entry: usize, random: &mut SmallRng) -> Result<Begun> {
        let description = match self.calm().await? {
            Ok(description) => description,
            Err(why) => return Ok(Err(why)),
        };
        self.journal.begin_now(entry);
        if fault == Fault::ZooKeeperLost {
            return self.lose_zookeeper().await;
        }
        let chosen = match self.choose(fault, &description, random) {
            Ok(chosen) => chosen,
            Err(why) => return Ok(Err(why)),
        };
        let nodes: BTreeSet<usize> = chosen.iter().map(|(node, _)| *node).collect();
        for index in &nodes {
            self.kill(*index)?;
        }
        // At once: it comes back while it still counts as in sync. Else: the others have gone on without it.
        let at_once = random.random_bool(0.5);
        if !at_once && let Err(why) = self.until_moved(&chosen).await {
            for index in nodes {
                self.down.remove(&index);
                self.cluster.start_node(index)?;
            }
            return Ok(Err(format!("the others did not go on without it: {why}")));
        }
        let mut on = Vec::new();
        for (index, folder) in chosen {
            let volume = rule::volume(index, folder);
            if fault == Fault::Wipe {
                self.rule.emptied(volume, &description);
                self.cluster.wipe(index, folder)?;
                on.push(format!("kv-{index}/{}", folder.name()));
            } else {
                self.rule.flipped(volume);
                let path = self.cluster.node(index)?.volume(folder);
                let flipped = flip(&path, random)?;
                on.push(format!("kv-{index}/{}: {flipped}", folder.name()));
            }
        }
        let how = if at_once { "at once" } else { "when the others had gone on" };
        Ok(Ok((format!("{}, {how}", on.join(", ")), Heal::Start(nodes.into_iter().collect()))))
    }

    /// As many volumes as are drawn, and as the rule allows.
    fn choose(
        &self,
        fault: Fault,
        description: &ClusterDescription,
        random: &mut SmallRng,
    ) -> std::result::Result<Chosen, String> {
        let mut all: Chosen =
            (0..self.cluster.node_count()).flat_map(|node| [(node, Folder::Data), (node, Folder::Bkpdata)]).collect();
        all.shuffle(random);
        // Often all of a node.
        if random.random_bool(0.4)
            && let Some((first, _)) = all.first().copied()
        {
            all.sort_by_key(|(node, _)| *node != first);
        }
        let wanted = if fault == Fault::Flip { 1 } else { random.random_range(1..=MAX_VOLUMES) };
        let mut chosen = Chosen::new();
        let mut refused = String::new();
        for candidate in all {
            let volumes: Vec<_> =
                chosen.iter().chain([&candidate]).map(|(node, folder)| rule::volume(*node, *folder)).collect();
            match self.rule.allows(description, &volumes) {
                Ok(()) => chosen.push(candidate),
                Err(why) => refused = why,
            }
            if chosen.len() == wanted {
                break;
            }
        }
        if chosen.is_empty() { Err(format!("the rule forbids it: {refused}")) } else { Ok(chosen) }
    }

    /// Waits until no shard counts on what is to be destroyed, and each has a copy in sync elsewhere.
    async fn until_moved(&mut self, chosen: &Chosen) -> std::result::Result<(), String> {
        let lost: BTreeSet<_> = chosen.iter().map(|(node, folder)| rule::volume(*node, *folder)).collect();
        let moved = |description: &ClusterDescription| {
            description.shards.iter().try_for_each(|shard| {
                let mut in_sync = shard.replicas.iter().filter(|copy| copy.in_sync);
                let counts =
                    in_sync.any(|copy| lost.iter().any(|(node, folder)| *node == copy.node && *folder == copy.folder));
                let served = shard.available && !lost.iter().any(|(node, _)| *node == shard.primary);
                if counts || !served { Err(format!("shard {} has not", shard.shard)) } else { Ok(()) }
            })
        };
        observe::until(self.cluster, MOVED_WITHIN, moved).await.map(drop)
    }

    async fn lose_zookeeper(&mut self) -> Result<Begun> {
        let zookeeper = self.cluster.zookeeper_mut();
        zookeeper.stop_all()?;
        zookeeper.wipe_all()?;
        zookeeper.start_all().await?;
        let address = self.cluster.node(0)?.direct_address().to_string();
        let began = Instant::now();
        loop {
            let mut kvctl = Command::new(program("kvctl")?);
            kvctl.args(["--node", &address, "rebuild-zookeeper", "--yes"]).stdin(Stdio::null()).kill_on_drop(true);
            let output = kvctl.output().await?;
            let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).trim().to_owned();
            if output.status.success() {
                return Ok(Ok((format!("rebuilt after {:.1?}", began.elapsed()), Heal::Done)));
            }
            if began.elapsed() > REBUILT_WITHIN {
                self.failures.push(format!("ZooKeeper was not rebuilt within {REBUILT_WITHIN:?}: {text}"));
                return Ok(Ok(("not rebuilt".to_owned(), Heal::Done)));
            }
            self.pause().await;
        }
    }
}

/// A program of this workspace, built beside this one.
fn program(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    // Tests lie one directory further down.
    let above = this.parent().map(|directory| directory.with_file_name(name));
    let found = [Some(this.with_file_name(name)), above].into_iter().flatten().find(|path| path.is_file());
    found.ok_or_else(|| format!("no {name} beside {}: run `cargo build --workspace --bins`", this.display()).into())
}

/// Flips a bit somewhere in the log or the table of a volume at rest, mostly where something is written. Says where.
fn flip(volume: &Path, random: &mut SmallRng) -> Result<String> {
    let mut files = Vec::new();
    collect(volume, &mut files)?;
    // Whose volume it is, is no content: a node refuses one that it can't tell.
    files.retain(|path| path.file_name().is_some_and(|name| name != "identity.json" && name != "lock"));
    files.sort();
    files.shuffle(random);
    for path in files {
        let mut bytes = fs::read(&path)?;
        let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        if written.is_empty() {
            continue;
        }
        let at = if random.random_bool(0.9) {
            written[random.random_range(0..written.len())]
        } else {
            random.random_range(0..bytes.len())
        };
        let bit = random.random_range(0..8);
        bytes[at] ^= 1 << bit;
        fs::write(&path, &bytes)?;
        let name = path.strip_prefix(volume).unwrap_or(&path).display();
        return Ok(format!("bit {bit} of byte {at} of {} in {name}", bytes.len()));
    }
    Ok("nothing to flip".to_owned())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
