use std::time::Duration;

use kv_client::{
    Client, ClientOptions, ClusterState, Discovery, Error,
    description::{ClusterDescription, NodeDescription, ReplicaDescription, ShardDescription},
};
use serde_json::{Value, json};

use crate::{
    arguments::Formats,
    exit::{self, Failed},
    format::Format,
    output::{self, Output, size, table},
};

/// Alive or dead, the master only when alive, and the nodes as far as one can be asked.
pub async fn status(options: ClientOptions, output: Output) -> Result<(), Failed> {
    let mut known_master = None;
    if let Discovery::ZooKeeper(zookeeper) = &options.discovery {
        match kv_client::look_up(zookeeper, options.deadline).await? {
            ClusterState::Dead => {
                match output {
                    Output::Json => output::json(&json!({"state": "dead"}))?,
                    Output::Table => output::line("dead")?,
                }
                return Err(Failed::silent(exit::UNAVAILABLE));
            }
            ClusterState::Alive { master, .. } => known_master = Some((master.id, master.address)),
        }
    }
    let described = describe(options).await;
    let master = known_master.or_else(|| match &described {
        Ok(description) => master_of(description),
        Err(_) => None,
    });
    match (master, described) {
        (Some(master), described) => print_status(output, &master, described),
        (None, Ok(description)) => {
            let state = if description.zookeeper_connected { "without a master" } else { "without ZooKeeper" };
            match output {
                Output::Json => output::json(&status_json(state, None, Some(&description)))?,
                Output::Table => {
                    output::line(state)?;
                    output::line(&nodes_table(&description))?;
                }
            }
            Err(Failed::silent(exit::UNAVAILABLE))
        }
        (None, Err(error)) => Err(error.into()),
    }
}

async fn describe(options: ClientOptions) -> Result<ClusterDescription, Error> {
    Client::connect(options).await?.describe(false).await
}

fn master_of(description: &ClusterDescription) -> Option<(String, String)> {
    let node = description.nodes.iter().find(|node| node.node == description.master && !node.node.is_empty())?;
    Some((node.node.clone(), node.address.clone()))
}

fn print_status(
    output: Output,
    master: &(String, String),
    described: Result<ClusterDescription, Error>,
) -> Result<(), Failed> {
    let (name, address) = master;
    match (output, &described) {
        (Output::Json, described) => output::json(&status_json("alive", Some(master), described.as_ref().ok()))?,
        (Output::Table, Ok(description)) => {
            output::line("alive")?;
            output::line(&format!("master: {address} ({name})"))?;
            if !description.zookeeper_connected {
                let node = &description.answered_by;
                output::line(&format!("{node} answered without reaching ZooKeeper: this may be out of date"))?;
            }
            output::line("")?;
            output::line(&nodes_table(description))?;
            for NodeDescription { node, detail, .. } in description.nodes.iter().filter(|node| !node.detail.is_empty())
            {
                output::line(&format!("{node}: {detail}"))?;
            }
        }
        (Output::Table, Err(_)) => {
            output::line("alive")?;
            output::line(&format!("master: {address} ({name})"))?;
        }
    }
    // ZooKeeper says it is alive all the same; what is missing are the nodes' own words.
    described.map(drop).map_err(Failed::from)
}

fn nodes_table(description: &ClusterDescription) -> String {
    let header = ["NODE", "ADDRESS", "ROLE", "READY", "SHARDS", "IN SYNC", "LAG", "DATA", "BKPDATA", "VERSION"];
    let rows = description.nodes.iter().map(|node| {
        let ready = match (node.answered, node.ready, node.draining) {
            (false, _, _) => "no answer",
            (true, _, true) => "draining",
            (true, true, false) => "yes",
            (true, false, false) => "no",
        };
        vec![
            node.node.clone(),
            node.address.clone(),
            node.role.clone(),
            ready.to_owned(),
            node.shards_served.to_string(),
            format!("{}/{}", node.copies_in_sync, node.copies_placed),
            node.lag.to_string(),
            size(node.data_bytes),
            size(node.bkpdata_bytes),
            node.version.clone(),
        ]
    });
    table(&header, &["SHARDS", "IN SYNC", "LAG", "DATA", "BKPDATA"], rows)
}

fn status_json(state: &str, master: Option<&(String, String)>, description: Option<&ClusterDescription>) -> Value {
    let mut status = json!({"state": state});
    if let Some((id, address)) = master {
        status["master"] = json!({"id": id, "address": address});
    }
    if let Some(description) = description {
        status["cluster"] = json!(description.cluster);
        status["name"] = json!(description.name);
        status["zookeeper_connected"] = json!(description.zookeeper_connected);
        status["sub_master"] = json!(description.sub_master);
        status["answered_by"] = json!(description.answered_by);
        status["nodes"] = description.nodes.iter().map(node_json).collect();
    }
    status
}

fn node_json(node: &NodeDescription) -> Value {
    json!({
        "node": node.node,
        "address": node.address,
        "role": node.role,
        "zone": node.zone,
        "version": node.version,
        "ready": node.ready,
        "detail": node.detail,
        "draining": node.draining,
        "answered": node.answered,
        "shards_served": node.shards_served,
        "copies_in_sync": node.copies_in_sync,
        "copies_placed": node.copies_placed,
        "lag": node.lag,
        "data_volume": node.data_volume,
        "bkpdata_volume": node.bkpdata_volume,
        "data_bytes": node.data_bytes,
        "bkpdata_bytes": node.bkpdata_bytes,
    })
}

pub async fn shards(client: &Client, formats: Formats) -> Result<(), Failed> {
    let description = client.with_deadline(Duration::from_secs(10)).describe(false).await?;
    match formats.output {
        Output::Json => {
            let shards: Vec<_> = description.shards.iter().map(|shard| shard_json(formats.key_format, shard)).collect();
            output::json(&json!({"shards": shards}))
        }
        Output::Table => output::line(&shards_table(formats.key_format, &description)),
    }
}

fn shards_table(format: Format, description: &ClusterDescription) -> String {
    let header = ["SHARD", "START", "END", "EPOCH", "HOME", "PRIMARY", "FROM", "COPIES", "LAG", "SIZE", "STATE"];
    let rows = description.shards.iter().map(|shard| {
        let state = match (shard.available, shard.fully_replicated) {
            (false, _) => "unavailable",
            (true, false) => "degraded",
            (true, true) => "ok",
        };
        let copies: Vec<_> = shard.replicas.iter().map(copy).collect();
        let key = |key: &[u8]| if key.is_empty() { "-".to_owned() } else { format.line(key) };
        vec![
            shard.shard.to_string(),
            key(&shard.start),
            key(&shard.end),
            shard.epoch.to_string(),
            shard.home.clone(),
            if shard.primary.is_empty() { "-".to_owned() } else { shard.primary.clone() },
            shard.served_from.clone(),
            copies.join(" "),
            shard.replicas.iter().map(|replica| replica.lag).max().unwrap_or(0).to_string(),
            size(shard.size_bytes),
            state.to_owned(),
        ]
    });
    table(&header, &["SHARD", "EPOCH", "LAG", "SIZE"], rows)
}

/// `node:folder`, with a mark for what is not as it should be.
fn copy(replica: &ReplicaDescription) -> String {
    let ReplicaDescription { node, folder, in_sync, placed, state, .. } = replica;
    let mark = match (in_sync, placed) {
        (true, true) => String::new(),
        (true, false) => "(leaving)".into(),
        (false, _) => format!("({state})"),
    };
    format!("{node}:{folder}{mark}")
}

fn shard_json(format: Format, shard: &ShardDescription) -> Value {
    let replicas: Vec<_> = shard.replicas.iter().map(replica_json).collect();
    let (start, end) = (format.json(&shard.start), format.json(&shard.end));
    let mut object = json!({
        "shard": shard.shard,
        "start": start.text,
        "end": end.text,
        "epoch": shard.epoch,
        "lineage": shard.lineage,
        "home": shard.home,
        "primary": shard.primary,
        "served_from": shard.served_from,
        "available": shard.available,
        "fully_replicated": shard.fully_replicated,
        "last_seq": shard.last_seq,
        "commit_seq": shard.commit_seq,
        "size_bytes": shard.size_bytes,
        "replicas": replicas,
    });
    for (name, fallback) in [("start_format", start.fallback), ("end_format", end.fallback)] {
        if let Some(fallback) = fallback {
            object[name] = json!(fallback);
        }
    }
    object
}

fn replica_json(replica: &ReplicaDescription) -> Value {
    json!({
        "node": replica.node,
        "folder": replica.folder,
        "volume": replica.volume,
        "in_sync": replica.in_sync,
        "placed": replica.placed,
        "lag": replica.lag,
        "state": replica.state,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> ClusterDescription {
        let node = |name: &str, role: &str| NodeDescription {
            node: name.into(),
            address: format!("{name}:7000"),
            role: role.into(),
            answered: true,
            ready: true,
            copies_in_sync: 3,
            copies_placed: 4,
            ..NodeDescription::default()
        };
        let replica = |node: &str, folder: &str, in_sync| ReplicaDescription {
            node: node.into(),
            folder: folder.into(),
            in_sync,
            placed: true,
            lag: if in_sync { 0 } else { 12 },
            state: if in_sync { "member".into() } else { "learner".into() },
            ..ReplicaDescription::default()
        };
        let shard = ShardDescription {
            shard: 1,
            end: vec![0x80].into(),
            epoch: 7,
            home: "n0".into(),
            primary: "n1".into(),
            served_from: "bkpdata".into(),
            replicas: vec![replica("n0", "data", false), replica("n1", "bkpdata", true)],
            available: true,
            ..ShardDescription::default()
        };
        ClusterDescription {
            master: "n1".into(),
            nodes: vec![node("n0", "slave"), node("n1", "master")],
            shards: vec![shard],
            ..ClusterDescription::default()
        }
    }

    #[test]
    fn the_master_is_the_node_of_that_name() {
        assert_eq!(master_of(&description()), Some(("n1".into(), "n1:7000".into())));
        assert_eq!(master_of(&ClusterDescription::default()), None);
    }

    #[test]
    fn a_dead_cluster_says_nothing_but_that() {
        assert_eq!(status_json("dead", None, None), json!({"state": "dead"}));
        let alive = status_json("alive", Some(&("n1".into(), "n1:7000".into())), Some(&description()));
        assert_eq!(alive["master"]["address"], "n1:7000");
        assert_eq!(alive["nodes"][0]["copies_in_sync"], 3);
    }

    #[test]
    fn tables_show_roles_and_copies() {
        let nodes = nodes_table(&description());
        assert!(nodes.lines().nth(2).is_some_and(|line| line.contains("master") && line.contains("3/4")), "{nodes}");
        let shards = shards_table(Format::Utf8, &description());
        let line = shards.lines().nth(1).expect("a row");
        for part in ["\\x80", "n0:data(learner) n1:bkpdata", "degraded", "12"] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
}
