use std::time::{Duration, Instant};

use kv_client::{Client, ClusterState, description::ClusterDescription};
use kv_local::{LocalCluster, Options};
use tokio::{task::JoinSet, time::sleep};

use super::{
    claims::{in_sync, served_by, whole},
    stage::{Outcome, Stage, say},
    summary::{outages, shown},
};
use crate::{
    tables,
    traffic::{self, Load, prefix_within},
};

/// Keys that are written before anything happens.
const KEYS: usize = 3_000;
/// How long the load runs undisturbed before each fault.
const UNDISTURBED: Duration = Duration::from_secs(1);
/// Bounds that mean "stuck"; what is measured is far below.
const START_WITHIN: Duration = Duration::from_secs(60);
const FAILOVER_WITHIN: Duration = Duration::from_secs(20);
const RECOVERY_WITHIN: Duration = Duration::from_secs(30);
const REFUSAL_WITHIN: Duration = Duration::from_secs(20);
/// How long a node that is asked directly may take, its refusals repeated meanwhile.
const DIRECT_DEADLINE: Duration = Duration::from_secs(1);
const DEAD_WITHIN: Duration = Duration::from_secs(20);

/// Runs the demonstration on a new cluster of three nodes or more.
///
/// # Errors
/// Whatever it claims and does not see.
pub async fn run(options: Options) -> Outcome {
    let started = Instant::now();
    say(
        started,
        format!("Starting a real ZooKeeper and {} nodes, each shard in {} copies.", options.nodes, options.copies),
    );
    let mut cluster = LocalCluster::start(options).await?;
    cluster.wait_ready(START_WITHIN).await?;
    let client = traffic::of_cluster(&cluster.zookeeper_url()).await?;
    let mut stage = Stage::new(cluster, client, started);
    let took = shown(started.elapsed());
    stage.seen("ZooKeeper and all nodes are there", took);

    let (description, _) = stage.until("every copy is in sync", START_WITHIN, whole).await?;
    let written = write_some_keys(&mut stage, &description).await?;
    show_who_holds_what(&mut stage).await?;

    let load = Load::start(&stage.client, &description.shards);
    stage
        .say("From now on, in the background, every shard is written and read, and every acknowledgement is recorded.");
    let killed = kill_the_master(&mut stage, &load, &written).await?;
    restart(&mut stage, killed).await?;
    cut_off_zookeeper(&mut stage, &load, killed).await?;
    nothing_was_lost(&mut stage, load, &written).await?;
    stop(&mut stage).await?;

    stage.say("All of it happened:");
    stage.show(stage.summary.table());
    stage.say("Done.");
    Ok(())
}

type Written = Vec<(Vec<u8>, String)>;

async fn write_some_keys(stage: &mut Stage, description: &ClusterDescription) -> Outcome<Written> {
    stage.say(format!("Writing {KEYS} keys, spread over all shards."));
    let prefixes: Vec<_> =
        description.shards.iter().filter_map(|shard| prefix_within(&shard.start, &shard.end)).collect();
    if prefixes.is_empty() {
        return Err("there is no shard to write to".into());
    }
    let keys: Written = (0..KEYS)
        .map(|number| {
            let prefix = &prefixes[number % prefixes.len()];
            ([prefix, format!("key-{number:06}").as_bytes()].concat(), format!("value of {number}"))
        })
        .collect();
    let begun = Instant::now();
    let mut writes = JoinSet::new();
    for (key, value) in keys.clone() {
        let client = stage.client.clone();
        writes.spawn(async move { client.put((key, value)).await });
    }
    while let Some(write) = writes.join_next().await {
        write??;
    }
    let took = shown(begun.elapsed());
    stage.seen(format!("{KEYS} keys are written, each on the disks of all copies"), took);
    Ok(keys)
}

/// How many of the keys hold what was written. All have to be answered.
async fn read_back(client: &Client, written: &Written) -> Outcome<usize> {
    let mut reads = JoinSet::new();
    for (key, value) in written.clone() {
        let client = client.clone();
        reads.spawn(async move {
            let entry = client.get(key).await?;
            Ok::<_, kv_client::Error>(entry.is_some_and(|entry| entry.value == value))
        });
    }
    let mut right = 0;
    while let Some(read) = reads.join_next().await {
        right += usize::from(read??);
    }
    Ok(right)
}

async fn all_are_there(client: &Client, written: &Written) -> Outcome<String> {
    let right = read_back(client, written).await?;
    if right < written.len() {
        return Err(format!("{} of {} keys are not what was written", written.len() - right, written.len()).into());
    }
    Ok(format!("{right} of {right} read"))
}

async fn show_who_holds_what(stage: &mut Stage) -> Outcome {
    let master = stage.master().await?;
    let description = stage.describe().await?;
    stage.say("Who holds what:");
    stage.show(tables::nodes(&description).trim_fmt());
    stage.show(tables::shards(&description).trim_fmt());
    let sub_master = description.sub_master.clone();
    stage.seen("a master is elected, and a sub-master", format!("{} at {}, {sub_master}", master.id, master.address));
    Ok(())
}

async fn kill_the_master(stage: &mut Stage, load: &Load, written: &Written) -> Outcome<usize> {
    sleep(UNDISTURBED).await;
    let before = stage.describe().await?;
    let members = stage.members().await?;
    let [master, sub_master, next, ..] = &members[..] else {
        return Err(format!("three nodes should be registered: {members:?}").into());
    };
    let killed = stage.cluster.index_of(master).ok_or("the master is none of the nodes")?;
    let concerned = served_by(&before, master);
    stage.say(format!("Killing the master, {master} (SIGKILL), under load. It serves {} shards.", concerned.len()));
    let at = Instant::now();
    stage.cluster.kill(killed)?;

    let claim = "the dead node's keys are written again, from the copies in bkpdata";
    stage
        .until_so(claim, FAILOVER_WITHIN, async |_| {
            if load.all_acknowledged_since(&concerned, at + Duration::from_millis(100)) {
                Ok(())
            } else {
                Err("a shard acknowledges no write".into())
            }
        })
        .await?;
    let silences = load.longest_silences(&concerned, at, Instant::now());
    stage.seen("crash of the master to the next acknowledged write", outages(silences));

    let (after, _) = stage
        .until(claim, FAILOVER_WITHIN, |description| {
            let of_the_dead = description.shards.iter().filter(|shard| concerned.contains(&shard.shard));
            for shard in of_the_dead {
                if !shard.available || shard.primary == *master || shard.served_from != "bkpdata" {
                    let (number, primary, from) = (shard.shard, &shard.primary, &shard.served_from);
                    return Err(format!("shard {number} is served by {primary} from {from:?}"));
                }
            }
            Ok(())
        })
        .await?;
    stage.show(tables::shards(&after).trim_fmt());
    let read = all_are_there(&stage.client, written).await?;
    stage.seen("all keys are read with the master dead, its own from others' bkpdata", read);

    let claim = format!("{sub_master} is master and {next} is sub-master");
    stage
        .until_so(&claim, FAILOVER_WITHIN, async |stage| {
            let master = stage.master().await.map_err(|error| error.to_string())?;
            let members = stage.members().await.map_err(|error| error.to_string())?;
            let right = master.id == *sub_master && members.first() == Some(sub_master) && members.get(1) == Some(next);
            if right { Ok(()) } else { Err(format!("the master is {}, the members are {members:?}", master.id)) }
        })
        .await?;
    stage.seen(format!("the sub-master is promoted: {claim}"), shown(at.elapsed()));

    let address = stage.master().await?.address;
    let promoted = stage.cluster.index_of(sub_master).ok_or("the new master is none of the nodes")?;
    let right = stage.cluster.node(promoted)?.advertised_address().to_string();
    if address != right {
        return Err(format!("ZooKeeper names {address}, and {sub_master} is at {right}").into());
    }
    let newcomer = traffic::of_cluster(&stage.cluster.zookeeper_url()).await?;
    let (key, value) = &written[0];
    if newcomer.get(key.clone()).await?.is_none_or(|entry| entry.value != *value) {
        return Err("a client that found the cluster through ZooKeeper does not read what was written".into());
    }
    stage.seen("a client that asks ZooKeeper gets the new master's address, and reads", address);
    Ok(killed)
}

async fn restart(stage: &mut Stage, killed: usize) -> Outcome {
    let name = stage.cluster.node(killed)?.name().to_owned();
    stage.say(format!("Starting {name} again, with the disks that it had."));
    let at = Instant::now();
    stage.cluster.start_node(killed)?;
    stage.cluster.node_mut(killed)?.wait_alive(RECOVERY_WITHIN).await?;
    let mut data_first = false;
    stage
        .until("bkpdata is in sync", RECOVERY_WITHIN, |description| {
            let bkpdata = in_sync(description, &name, "bkpdata");
            data_first |= bkpdata.is_err() && in_sync(description, &name, "data").is_ok();
            bkpdata
        })
        .await?;
    if data_first {
        return Err("data was in sync before bkpdata: the order is the other way round".into());
    }
    stage.seen(format!("first {name}'s bkpdata is in sync again"), shown(at.elapsed()));
    stage.until("data is in sync", RECOVERY_WITHIN, |description| in_sync(description, &name, "data")).await?;
    stage.seen(format!("then {name}'s data is in sync again"), shown(at.elapsed()));
    let (description, _) = stage.until("the shards are back at their homes", RECOVERY_WITHIN, whole).await?;
    let back = served_by(&description, &name).len();
    stage.seen(format!("its shards are handed back to {name}"), format!("{back} shards, {}", shown(at.elapsed())));
    Ok(())
}

async fn cut_off_zookeeper(stage: &mut Stage, load: &Load, index: usize) -> Outcome {
    sleep(UNDISTURBED).await;
    let name = stage.cluster.node(index)?.name().to_owned();
    let direct = stage.cluster.node(index)?.direct_address();
    let before = stage.describe().await?;
    let concerned = served_by(&before, &name);
    let own = before.shards.iter().find(|shard| shard.primary == name).ok_or("the node serves nothing")?;
    let own_key = prefix_within(&own.start, &own.end).ok_or("its shard has no room for a key")?;
    stage.say(format!("Cutting {name} off ZooKeeper. It serves {} shards; its peers still reach it.", concerned.len()));
    let at = Instant::now();
    stage.cluster.zk_down(index).await?;
    let client = traffic::of_node(direct).await?.with_deadline(DIRECT_DEADLINE);
    let mut refusal = (at, String::new());
    stage
        .until_so("the node that is cut off refuses", REFUSAL_WITHIN, async |_| {
            let asked = Instant::now();
            refusal = (asked, refused(&client, &own_key).await?);
            Ok(())
        })
        .await?;
    let (asked, said) = refusal;
    stage.say(format!("  {name}, asked directly, says: {said}"));
    let measured = format!("{} after the cut", shown(asked - at));
    stage.seen(format!("{name}, cut off ZooKeeper, refuses reads and writes"), measured);
    let claim = "the other nodes serve its keys";
    stage
        .until(claim, FAILOVER_WITHIN, |description| {
            let all = description.shards.iter().all(|shard| shard.available && shard.primary != name);
            if all { Ok(()) } else { Err(format!("a shard is not served, or by {name}")) }
        })
        .await?;
    let since = Instant::now();
    stage
        .until_so(claim, FAILOVER_WITHIN, async |_| {
            if load.all_acknowledged_since(&concerned, since) {
                Ok(())
            } else {
                Err("a shard acknowledges nothing".into())
            }
        })
        .await?;
    stage.seen(claim, outages(load.longest_silences(&concerned, at, Instant::now())));
    refused(&client, &own_key).await?;

    stage.say(format!("Connecting {name} to ZooKeeper again."));
    let at = Instant::now();
    stage.cluster.zk_up(index).await?;
    stage.until("it takes its shards back", RECOVERY_WITHIN, whole).await?;
    stage.seen(format!("{name} registers anew, resynchronizes and takes its shards back"), shown(at.elapsed()));
    Ok(())
}

/// That a node refuses to read and to write a key; returns what it says.
async fn refused(client: &Client, key: &[u8]) -> Result<String, String> {
    let read = client.get(key.to_vec()).await;
    let write = client.put((key.to_vec(), "written through a node that is cut off")).await;
    match (read, write) {
        (Err(error), Err(_)) => Ok(error.to_string()),
        (Ok(_), _) => Err("it still answers reads".to_owned()),
        (_, Ok(_)) => Err("it still answers writes".to_owned()),
    }
}

async fn nothing_was_lost(stage: &mut Stage, load: Load, written: &Written) -> Outcome {
    stage.say("Reading every key whose write was ever acknowledged.");
    let verdict = load.finish(&stage.client).await;
    if let [first, ..] = &verdict.lost[..] {
        return Err(format!("{} acknowledged writes are lost, the first: {first}", verdict.lost.len()).into());
    }
    all_are_there(&stage.client, written).await?;
    let writes = verdict.acknowledged + written.len();
    let measured = format!("{writes} writes, {} reads meanwhile, {} errors", verdict.reads, verdict.errors);
    stage.seen("no acknowledged write was lost, no read was out of date", measured);
    Ok(())
}

async fn stop(stage: &mut Stage) -> Outcome {
    stage.say("Stopping all nodes (SIGTERM).");
    let at = Instant::now();
    if !stage.cluster.stop_nodes().await? {
        return Err("a node did not leave in order".into());
    }
    let dead = async |stage: &Stage| match stage.zookeeper().await {
        Ok(ClusterState::Dead) => Ok(()),
        Ok(ClusterState::Alive { master, .. }) => Err(format!("ZooKeeper still names {}", master.id)),
        Err(error) => Err(error.to_string()),
    };
    stage.until_so("ZooKeeper names no master", DEAD_WITHIN, dead).await?;
    match traffic::of_cluster(&stage.cluster.zookeeper_url()).await {
        Err(kv_client::Error::ClusterDead) => {}
        Err(other) => return Err(format!("a client should learn \"dead\", and learns: {other}").into()),
        Ok(_) => return Err("a client should learn \"dead\", and connects".into()),
    }
    stage.seen("all that a client learns of the stopped cluster is \"dead\"", shown(at.elapsed()));
    Ok(())
}
