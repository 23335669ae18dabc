//! Force-promote, on the node whose copy is to lead.

use kv_cluster::View;
use kv_proto::v1::{ForcePromoteRequest, ForcePromoteResponse};
use kv_types::ShardId;
use tonic::Status;
use tracing::warn;

use crate::{
    driver::request::CopyReport,
    server::{edge::Edge, status::ErrorAnswer},
};

/// Says what would be lost, or with `confirmed` does it.
pub(super) async fn promote(edge: &Edge, request: ForcePromoteRequest) -> Result<ForcePromoteResponse, Status> {
    let ForcePromoteRequest { shard, node: _, empty, confirmed } = request;
    let shard = ShardId(shard);
    let driver = &edge.driver;
    let view = driver.cluster().view();
    if !view.shards.contains_key(&shard) {
        return Err(ErrorAnswer::no_such(format!("there is no shard {shard}")).into());
    }
    let copies: Vec<_> = driver.copies().into_iter().filter(|copy| copy.shard == shard).collect();
    if !empty && copies.is_empty() {
        let text = format!(
            "{} has no copy of shard {shard}: name a node that has one, or say that it is to be empty",
            driver.node()
        );
        return Err(ErrorAnswer::refused(text).into());
    }
    if !confirmed {
        let message = loss(&view, shard, &copies, empty);
        return Ok(ForcePromoteResponse { done: false, message });
    }
    warn!(%shard, empty, "a shard is being forced, as confirmed by a person");
    let message = driver.force_promote(shard, empty).await.map_err(ErrorAnswer::from)?;
    Ok(ForcePromoteResponse { done: true, message })
}

/// What a person has to know before.
fn loss(view: &View, shard: ShardId, copies: &[CopyReport], empty: bool) -> String {
    let config = view.shards.get(&shard).map(|config| &config.value);
    let last_in_sync = config.into_iter().flat_map(|config| &config.isr).map(|volume| {
        let Some(info) = view.node_with(*volume) else { return format!("volume {volume} of an unknown node") };
        let state = if view.member_with(*volume).is_some() { "registered" } else { "gone" };
        format!("{} ({state})", info.node)
    });
    let last_in_sync: Vec<_> = last_in_sync.collect();
    let (range, epoch) = config.map_or_else(Default::default, |config| (config.range.to_string(), config.epoch.0));
    let kept = if empty {
        "nothing is kept: all keys of the range are lost".to_owned()
    } else {
        let best = copies.iter().max_by_key(|copy| copy.core.last);
        let last = best.map(|copy| copy.core.last).unwrap_or_default();
        format!(
            "this copy is kept up to entry {} of epoch {}: what was acknowledged after that is lost",
            last.seq, last.epoch
        )
    };
    format!("shard {shard}, keys {range}, epoch {epoch}; last in sync: {}; {kept}", last_in_sync.join(", "))
}
