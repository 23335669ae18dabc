use std::time::Duration;

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, Resource, ResourceExt, api::PostParams};
use tokio::time::timeout;

use super::{Change, Importance};
use crate::{api::KvCluster, reconcile::names::MANAGER};

/// Events of one round, at most.
const MAX_EVENTS: usize = 16;
/// How long the events of one round may take, all together.
const TELL_WITHIN: Duration = Duration::from_secs(5);
/// The API server takes notes of at most 1,024 bytes.
const MAX_NOTE_BYTES: usize = 1000;
/// …and reasons and actions of at most 128.
const MAX_WORD_BYTES: usize = 128;
/// What names of objects begin with, so that the API server's ending fits.
const MAX_PREFIX_BYTES: usize = 200;

/// Tells people of changes, each in an Event of its own: one that is folded into a series shows what the first of them said.
/// What can't be written is logged and lost.
pub async fn tell(client: &Client, resource: &KvCluster, changes: &[Change]) {
    let namespace = resource.namespace().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let written = async {
        for change in changes.iter().take(MAX_EVENTS) {
            api.create(&PostParams::default(), &event(resource, change)).await?;
        }
        Ok::<_, kube::Error>(())
    };
    let cluster = resource.name_any();
    match timeout(TELL_WITHIN, written).await {
        Ok(Ok(())) if changes.len() <= MAX_EVENTS => {}
        Ok(Ok(())) => {
            tracing::warn!(
                namespace,
                cluster,
                changes = changes.len(),
                "only {MAX_EVENTS} changes were told in events"
            );
        }
        Ok(Err(error)) => tracing::warn!(namespace, cluster, %error, "an event was not written"),
        Err(_) => tracing::warn!(namespace, cluster, "events were not written within {TELL_WITHIN:?}"),
    }
}

fn event(resource: &KvCluster, change: &Change) -> Event {
    let regarding = ObjectReference { resource_version: resource.resource_version(), ..resource.object_ref(&()) };
    let importance = match change.importance {
        Importance::Normal => "Normal",
        Importance::Warning => "Warning",
    };
    let name = resource.name_any();
    Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", cut(&name, MAX_PREFIX_BYTES))),
            namespace: resource.namespace(),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(Timestamp::now())),
        type_: Some(importance.into()),
        reason: Some(cut(&change.reason, MAX_WORD_BYTES).into()),
        action: Some(cut(change.action, MAX_WORD_BYTES).into()),
        note: Some(cut(&change.note, MAX_NOTE_BYTES).into()),
        regarding: Some(regarding),
        reporting_controller: Some(format!("{}/{MANAGER}", crate::api::GROUP)),
        reporting_instance: Some(MANAGER.into()),
        ..Event::default()
    }
}

/// The beginning of a text, at most so many bytes of it.
fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
