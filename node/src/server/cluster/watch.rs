//! The description whenever it changes.

use std::{sync::Arc, time::Duration};

use futures::{Stream, stream::unfold};
use kv_proto::v1::ClusterDescription;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tonic::Status;

use crate::server::{describe, edge::Edge, status::ErrorAnswer};

/// At most four a second.
const LEAST_PAUSE: Duration = Duration::from_millis(250);
/// What ZooKeeper's view doesn't show (progress, lag, readiness) is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Descriptions, each other than the one before; ends when the server closes.
pub(super) fn descriptions(
    edge: &Arc<Edge>,
    local: bool,
) -> Result<impl Stream<Item = Result<ClusterDescription, Status>> + use<>, ErrorAnswer> {
    let permit = edge.admit_watcher()?;
    let counted = edge.metrics.watcher();
    let views = edge.driver.cluster().views();
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let state = (Arc::clone(edge), views, look, None::<ClusterDescription>, (permit, counted));
    Ok(unfold(state, move |(edge, mut views, mut look, mut last, held)| async move {
        loop {
            if last.is_some() {
                sleep(LEAST_PAUSE).await;
                tokio::select! {
                    changed = views.changed() => changed.ok()?,
                    _ = look.tick() => {}
                    () = edge.closing.cancelled() => return None,
                }
            }
            views.borrow_and_update();
            let now = if local { describe::local(&edge) } else { Box::pin(describe::whole(&edge)).await };
            if last.as_ref() != Some(&now) {
                last = Some(now.clone());
                return Some((Ok(now), (edge, views, look, last, held)));
            }
        }
    }))
}
