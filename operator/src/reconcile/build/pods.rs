//! What the pods of nodes and members have in common.

use k8s_openapi::{
    api::core::v1::{
        Affinity, Container, PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec,
        SeccompProfile, TopologySpreadConstraint, Volume, WeightedPodAffinityTerm,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::metadata::{selector, unless_empty};
use crate::{
    api::AntiAffinity,
    reconcile::{
        names::Component,
        validated::{ValidatedCluster, ValidatedPods},
    },
};

const MACHINE: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// What nodes and members have each of their own.
pub(super) struct PodParts {
    pub component: Component,
    pub init_containers: Vec<Container>,
    pub container: Container,
    pub volumes: Vec<Volume>,
    /// User and group that the programs run as, and that volumes belong to.
    pub user: i64,
    /// Seconds from the request to end until a pod is killed.
    pub grace: i64,
}

/// The template of a component's pods. What it says makes their revision: it depends on nothing that changes while a cluster
/// is scaled, is at rest, or gets a newer operator.
pub(super) fn template(cluster: &ValidatedCluster, pods: &ValidatedPods, parts: PodParts) -> PodTemplateSpec {
    let mut labels = pods.template.labels.clone();
    labels.extend(cluster.names.labels(parts.component));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: unless_empty(pods.template.annotations.clone()),
            ..ObjectMeta::default()
        }),
        spec: Some(spec(cluster, pods, parts)),
    }
}

fn spec(cluster: &ValidatedCluster, pods: &ValidatedPods, parts: PodParts) -> PodSpec {
    let PodParts { component, init_containers, container, volumes, user, grace } = parts;
    let scheduling = &pods.scheduling;
    let affinity = scheduling.affinity.clone();
    let spread = scheduling.topology_spread_constraints.clone();
    PodSpec {
        affinity: Some(affinity.unwrap_or_else(|| apart(cluster, component, scheduling.anti_affinity))),
        // The programs speak to nobody's API, and find others by DNS.
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        containers: vec![container],
        image_pull_secrets: unless_empty(pods.image_pull_secrets.clone()),
        init_containers: unless_empty(init_containers),
        node_selector: unless_empty(scheduling.node_selector.clone()),
        priority_class_name: scheduling.priority_class_name.clone(),
        security_context: Some(PodSecurityContext {
            fs_group: Some(user),
            // Otherwise every file of a large volume is gone through at each start.
            fs_group_change_policy: Some("OnRootMismatch".into()),
            run_as_group: Some(user),
            run_as_non_root: Some(true),
            run_as_user: Some(user),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        service_account_name: Some(cluster.names.nodes()),
        termination_grace_period_seconds: Some(grace),
        tolerations: unless_empty(scheduling.tolerations.clone()),
        topology_spread_constraints: unless_empty(spread.unwrap_or_else(|| vec![by_zone(cluster, component)])),
        volumes: unless_empty(volumes),
        ..PodSpec::default()
    }
}

/// On different machines.
fn apart(cluster: &ValidatedCluster, component: Component, how: AntiAffinity) -> Affinity {
    let term = PodAffinityTerm {
        label_selector: Some(selector(cluster, component)),
        topology_key: MACHINE.into(),
        ..PodAffinityTerm::default()
    };
    let terms = match how {
        AntiAffinity::Preferred => PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                pod_affinity_term: term,
                weight: 100,
            }]),
            ..PodAntiAffinity::default()
        },
        AntiAffinity::Required => PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: Some(vec![term]),
            ..PodAntiAffinity::default()
        },
    };
    Affinity { pod_anti_affinity: Some(terms), ..Affinity::default() }
}

/// Evenly over the zones, as far as there is room.
fn by_zone(cluster: &ValidatedCluster, component: Component) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        label_selector: Some(selector(cluster, component)),
        max_skew: 1,
        topology_key: ZONE.into(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        ..TopologySpreadConstraint::default()
    }
}
