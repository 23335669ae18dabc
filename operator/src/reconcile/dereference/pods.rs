use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use kube::{Resource, ResourceExt};

use crate::reconcile::world::{PodState, Trouble};

/// The label that a StatefulSet gives its pods.
const REVISION: &str = "controller-revision-hash";
/// Reasons of waiting that are part of every start.
const USUAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];

pub(super) fn state(pod: &Pod) -> PodState {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let ready = conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    PodState {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        revision: pod.labels().get(REVISION).cloned().unwrap_or_default(),
        ready,
        deleting: pod.meta().deletion_timestamp.is_some(),
        machine: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        address: status.and_then(|status| status.pod_ip.clone()),
        trouble: if ready { None } else { status.and_then(trouble) },
        start_report: status.and_then(start_report),
    }
}

fn trouble(status: &PodStatus) -> Option<Trouble> {
    let unscheduled = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled" && condition.status == "False" && condition.reason.is_some()
    });
    if let Some(condition) = unscheduled {
        let message = condition.message.clone().unwrap_or_default();
        return Some(Trouble { reason: condition.reason.clone().unwrap_or_default(), message });
    }
    let containers = [&status.init_container_statuses, &status.container_statuses];
    containers.into_iter().flat_map(|statuses| statuses.iter().flatten()).find_map(of_container)
}

fn of_container(status: &ContainerStatus) -> Option<Trouble> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.clone().filter(|reason| !USUAL.contains(&reason.as_str()))?;
    let mut message = waiting.message.clone().unwrap_or_default();
    // Of a container that ends again and again, its last words say more than how long it is waited for.
    let ended = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    if let Some(ended) = ended {
        let words = ended.message.as_deref().map(str::trim).filter(|words| !words.is_empty());
        message = format!("container {} ended with exit code {}", status.name, ended.exit_code);
        if let Some(words) = words {
            message.push_str(": ");
            message.push_str(words);
        }
    }
    Some(Trouble { reason, message })
}

/// What the init container wrote as its termination message, also if it failed and is tried again.
fn start_report(status: &PodStatus) -> Option<String> {
    let container = status.init_container_statuses.as_ref()?.first()?;
    let ended = [&container.state, &container.last_state];
    let mut ended = ended.into_iter().filter_map(|state| state.as_ref()?.terminated.as_ref()?.message.clone());
    ended.next()
}
