use kv_client::{Client, Discovery};

use crate::{
    arguments::{Arguments, Command},
    bench,
    exit::Failed,
};

mod change;
mod data;
mod describe;
mod follow;

/// Does what the arguments say.
pub async fn run(arguments: Arguments, target: Discovery) -> Result<(), Failed> {
    let Arguments { connection, formats, command } = arguments;
    let options = connection.options(target, &command);
    match command {
        // Finds the cluster by itself: a dead one is an answer and not an error.
        Command::Status => return describe::status(options, formats.output).await,
        Command::Bench(bench) => return bench::run(options, bench, formats.output).await,
        _ => {}
    }
    let client = Client::connect(options).await?;
    match command {
        Command::Get { key, raw, confirmed } => data::get(&client, formats, &key, raw, confirmed).await,
        Command::Put(put) => data::put(&client, formats, put).await,
        Command::Delete { key, expected_revision, previous } => {
            data::delete(&client, formats, &key, expected_revision, previous).await
        }
        Command::Scan { range, limit, reverse, keys_only } => {
            follow::scan(&client, formats, range, follow::ScanOptions { limit, reverse, keys_only }).await
        }
        Command::Watch { range, token, count } => follow::watch(&client, formats, range, token, count).await,
        Command::Shards => describe::shards(&client, formats).await,
        Command::Drain { node, undo, wait } => change::drain(&client, formats.output, &node, undo, wait).await,
        Command::Handover { shard, node } => change::handover(&client, formats.output, shard, &node).await,
        Command::Split { shard, at } => change::split(&client, formats, shard, at).await,
        Command::Move { shard, node } => change::move_home(&client, formats.output, shard, &node).await,
        Command::ForcePromote { shard, node, empty, yes } => {
            change::force_promote(&client, formats.output, shard, &node, empty, yes).await
        }
        Command::RebuildZookeeper { yes } => change::rebuild_zookeeper(&client, formats.output, yes).await,
        Command::Status | Command::Bench(_) | Command::Completions { .. } => Ok(()),
    }
}
