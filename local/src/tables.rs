use comfy_table::{Cell, CellAlignment, Table, presets::NOTHING};
use kv_client::description::{ClusterDescription, NodeDescription, ShardDescription};

/// A table without lines: columns are told apart by space, so that it reads well and cuts well.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.iter().map(|title| Cell::new(title.to_uppercase())));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// A number, at the right of its column.
pub fn number(value: impl ToString) -> Cell {
    Cell::new(value).set_alignment(CellAlignment::Right)
}

/// The nodes: role, what they serve and hold, how far they lag.
pub fn nodes(description: &ClusterDescription) -> Table {
    let mut nodes = table(&["node", "role", "address", "ready", "served", "in sync", "placed", "lag", "detail"]);
    for node in &description.nodes {
        let NodeDescription { node: name, role, address, ready, detail, .. } = node;
        nodes.add_row(vec![
            Cell::new(name),
            Cell::new(role),
            Cell::new(address),
            Cell::new(if *ready { "yes" } else { "no" }),
            number(node.shards_served),
            number(node.copies_in_sync),
            number(node.copies_placed),
            number(node.lag),
            Cell::new(detail),
        ]);
    }
    nodes
}

/// The shards: who serves each from where, and where its copies are.
pub fn shards(description: &ClusterDescription) -> Table {
    let mut shards = table(&["shard", "first key", "home", "served by", "from", "copies", "epoch", "last seq"]);
    for shard in &description.shards {
        let primary = if shard.available { shard.primary.as_str() } else { "(nobody)" };
        shards.add_row(vec![
            number(shard.shard),
            Cell::new(shard.start.escape_ascii().to_string()),
            Cell::new(&shard.home),
            Cell::new(primary),
            Cell::new(&shard.served_from),
            Cell::new(copies(shard)),
            number(shard.epoch),
            number(shard.last_seq),
        ]);
    }
    shards
}

/// Such as `kv-0/data kv-1/bkpdata(120 behind)`.
fn copies(shard: &ShardDescription) -> String {
    let copies = shard.replicas.iter().map(|replica| {
        let place = format!("{}/{}", replica.node, replica.folder);
        match (replica.in_sync, replica.state.as_str()) {
            (true, _) => place,
            (false, "learner") => format!("{place}({} behind)", replica.lag),
            (false, state) => format!("{place}({state})"),
        }
    });
    copies.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use kv_client::description::ReplicaDescription;

    use super::*;

    #[test]
    fn a_copy_that_is_not_in_sync_says_so() {
        let replica = |node: &str, in_sync, state: &str, lag| ReplicaDescription {
            node: node.into(),
            folder: "data".into(),
            in_sync,
            state: state.into(),
            lag,
            ..ReplicaDescription::default()
        };
        let replicas = vec![
            replica("kv-0", true, "primary", 0),
            replica("kv-1", false, "learner", 7),
            replica("kv-2", false, "absent", 0),
        ];
        let shard = ShardDescription { replicas, ..ShardDescription::default() };
        assert_eq!(copies(&shard), "kv-0/data kv-1/data(7 behind) kv-2/data(absent)");
        let description = ClusterDescription { shards: vec![shard], ..ClusterDescription::default() };
        assert!(shards(&description).to_string().contains("(nobody)"));
    }
}
