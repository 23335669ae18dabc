use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{Container, PodTemplateSpec},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use kube::Resource as _;

use super::*;
use crate::reconcile::{
    decision::Decisions,
    fixtures::{cluster, defaults, external, resource},
    names::{Component, DATA},
    origin::Origin,
    validate::{Defaults, validate},
    world::{ClaimTemplate, World},
};

const PASSWORD: Option<&str> = Some("secret");

fn decisions() -> Decisions {
    Decisions { node_replicas: Some(3), zookeeper_replicas: Some(3), ..Decisions::default() }
}

fn built(spec: &str) -> Resources<Prepared> {
    build(&cluster(spec), &decisions(), PASSWORD)
}

fn sets(resources: &Resources<Prepared>) -> Vec<StatefulSet> {
    let zookeeper = resources.zookeeper.as_ref().and_then(|zookeeper| zookeeper.set.clone());
    resources.node_set.clone().into_iter().chain(zookeeper).collect()
}

fn templates(resources: &Resources<Prepared>) -> Vec<PodTemplateSpec> {
    sets(resources).into_iter().map(|set| set.spec.expect("it has one").template).collect()
}

fn containers(template: &PodTemplateSpec) -> Vec<Container> {
    let spec = template.spec.clone().expect("it has one");
    spec.init_containers.unwrap_or_default().into_iter().chain(spec.containers).collect()
}

fn all_metadata(resources: &Resources<Prepared>) -> Vec<(String, ObjectMeta)> {
    fn of<K: kube::Resource<DynamicType = ()>>(object: &K) -> (String, ObjectMeta) {
        (K::kind(&()).into_owned(), object.meta().clone())
    }
    let mut found = vec![of(&resources.service_account), of(&resources.node_headless), of(&resources.node_client)];
    found.extend(sets(resources).iter().map(of));
    found.extend(resources.node_budget.iter().map(of));
    found.extend(resources.node_policy.iter().map(of));
    found.extend(resources.service_monitor.iter().map(|object| ("ServiceMonitor".into(), object.metadata.clone())));
    if let Some(zookeeper) = &resources.zookeeper {
        found.extend([of(&zookeeper.record), of(&zookeeper.secret), of(&zookeeper.headless), of(&zookeeper.client)]);
        found.extend(zookeeper.budget.iter().map(of));
        found.extend(zookeeper.policy.iter().map(of));
    }
    found
}

#[test]
fn every_object_belongs_to_the_cluster_and_has_a_name_of_its_own() {
    let objects = all_metadata(&built("{monitoring: {serviceMonitor: true}}"));
    assert_eq!(objects.len(), 14);
    let mut names: Vec<_> = objects.iter().map(|(kind, metadata)| (kind, &metadata.name)).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), objects.len());
    for (kind, metadata) in &objects {
        let owners = metadata.owner_references.as_deref().unwrap_or_default();
        assert!(
            matches!(owners, [owner] if owner.controller == Some(true) && owner.name == "demo"),
            "{kind} {owners:?}"
        );
        let labels = metadata.labels.clone().unwrap_or_default();
        assert_eq!(labels.get("app.kubernetes.io/instance").map(String::as_str), Some("demo"), "{kind}");
        assert_eq!(metadata.namespace.as_deref(), Some("default"), "{kind}");
    }
}

#[test]
fn scaling_the_ensembles_record_and_a_newer_operator_change_no_template() {
    let first = built("{nodes: 3, zookeeper: {nodes: 1}}");
    let annotations = first.node_headless.metadata.annotations.clone().expect("the origin is remembered");
    let world = World { origin: Origin::from_annotations(&annotations), ..World::default() };
    let newer = Defaults {
        node_image: "kvcluster/kv-node:newer".into(),
        zookeeper_image: "zookeeper:newer".into(),
        ..defaults()
    };
    let decisions = Decisions {
        node_replicas: Some(7),
        zookeeper_replicas: Some(5),
        ensemble_record: BTreeMap::from([("members".into(), "server.1=…".into())]),
        ..Decisions::default()
    };
    let spec = "{nodes: 7, zookeeper: {nodes: 5}, paused: true, storage: {onDelete: Delete, data: {size: 20Gi}}, \
                networkPolicy: {enabled: false}, monitoring: {serviceMonitor: true}}";
    let changed = validate(&resource(spec), &world, &newer).expect("valid");
    let changed = build(&changed, &decisions, Some("another"));
    assert_eq!(templates(&first), templates(&changed));
    assert_eq!(changed.node_headless.metadata.annotations, Some(annotations));
    let replicas: Vec<_> = sets(&changed).iter().map(|set| set.spec.as_ref().and_then(|spec| spec.replicas)).collect();
    assert_eq!(replicas, [Some(7), Some(5)]);
}

#[test]
fn what_makes_a_difference_to_a_pod_changes_its_template() {
    let before = templates(&built("{}"));
    let nodes_only = ["{copies: 3}", "{settings: {logFilter: debug}}", "{resources: {limits: {memory: 2Gi}}}"];
    let members_only = ["{zookeeper: {image: 'zk:4'}}", "{zookeeper: {resources: {limits: {memory: 2Gi}}}}"];
    let both = ["{image: 'kv:2'}", "{podTemplate: {labels: {team: a}}}", "{scheduling: {antiAffinity: Required}}"];
    let cases = nodes_only.map(|spec| (spec, [true, false])).into_iter();
    let cases =
        cases.chain(members_only.map(|spec| (spec, [false, true]))).chain(both.map(|spec| (spec, [true, true])));
    for (spec, expected) in cases {
        let after = templates(&built(spec));
        assert_eq!([before[0] != after[0], before[1] != after[1]], expected, "{spec}");
    }
}

#[test]
fn pods_meet_the_restricted_level_and_write_to_volumes_only() {
    for template in templates(&built("{}")) {
        let spec = template.spec.clone().expect("it has one");
        let security = spec.security_context.clone().expect("it has one");
        assert_eq!(security.run_as_non_root, Some(true));
        assert_eq!(security.fs_group, security.run_as_user);
        assert_eq!(security.seccomp_profile.map(|profile| profile.type_), Some("RuntimeDefault".into()));
        assert_eq!((spec.automount_service_account_token, spec.enable_service_links), (Some(false), Some(false)));
        for container in containers(&template) {
            let security = container.security_context.expect("it has one");
            assert_eq!(security.allow_privilege_escalation, Some(false));
            assert_eq!(security.read_only_root_filesystem, Some(true));
            assert_eq!(security.capabilities.and_then(|capabilities| capabilities.drop), Some(vec!["ALL".into()]));
        }
        let allowed =
            |volume: &k8s_openapi::api::core::v1::Volume| volume.empty_dir.is_some() || volume.config_map.is_some();
        assert!(spec.volumes.iter().flatten().all(allowed), "{:?}", spec.volumes);
    }
}

#[test]
fn every_mount_has_a_volume_or_a_claim() {
    for set in sets(&built("{}")) {
        let spec = set.spec.expect("it has one");
        let claims = spec.volume_claim_templates.iter().flatten().filter_map(|claim| claim.metadata.name.clone());
        let volumes =
            spec.template.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).map(|volume| volume.name.clone());
        let known: Vec<_> = claims.chain(volumes).collect();
        for container in containers(&spec.template) {
            for mount in container.volume_mounts.into_iter().flatten() {
                assert!(known.contains(&mount.name), "{} of {} is none of {known:?}", mount.name, container.name);
            }
        }
    }
}

#[test]
fn the_labels_of_the_operator_win_and_no_text_is_taken_for_a_variable() {
    let spec = "{podTemplate: {labels: {app.kubernetes.io/instance: other, team: a}, annotations: {note: b}}, \
                settings: {logFilter: '$(POD_NAME)'}, shards: {splitKeys: ['$(HOME)', '$x']}}";
    let template = templates(&built(spec)).remove(0);
    let metadata = template.metadata.clone().expect("it has one");
    let labels = metadata.labels.unwrap_or_default();
    assert_eq!([&labels["app.kubernetes.io/instance"], &labels["team"]], ["demo", "a"]);
    assert_eq!(metadata.annotations.unwrap_or_default()["note"], "b");
    let node = containers(&template).remove(0);
    let arguments = node.args.unwrap_or_default();
    assert!(arguments.contains(&"--split-keys=$$(HOME),$$x".to_owned()), "{arguments:?}");
    assert!(arguments.contains(&"--name=$(POD_NAME)".to_owned()), "{arguments:?}");
    let filter = node.env.into_iter().flatten().find(|env| env.name == "KV_LOG").and_then(|env| env.value);
    assert_eq!(filter.as_deref(), Some("$$(POD_NAME)"));
}

#[test]
fn claim_templates_that_exist_are_not_changed() {
    let size = "5Gi".to_owned();
    let mut decisions = decisions();
    decisions
        .claim_templates
        .insert((Component::Node, DATA), ClaimTemplate { size, storage_class: Some("old".into()) });
    let resources = build(&cluster("{storage: {data: {size: 20Gi}, bkpdata: {size: 30Gi}}}"), &decisions, PASSWORD);
    let claims = resources.node_set.and_then(|set| set.spec?.volume_claim_templates).unwrap_or_default();
    let sizes: BTreeMap<_, _> = claims
        .into_iter()
        .map(|claim| {
            let spec = claim.spec.unwrap_or_default();
            let requests = spec.resources.and_then(|resources| resources.requests).unwrap_or_default();
            (claim.metadata.name.unwrap_or_default(), (requests["storage"].0.clone(), spec.storage_class_name))
        })
        .collect();
    let expected =
        [("bkpdata".to_owned(), ("30Gi".into(), None)), ("data".to_owned(), ("5Gi".into(), Some("old".into())))];
    assert_eq!(sizes, expected.into());
}

#[test]
fn a_single_pod_has_no_budget_and_several_lose_one_at_a_time() {
    let resources = built("{nodes: 1, zookeeper: {nodes: 3}}");
    assert_eq!(resources.node_budget, None);
    let budget = resources.zookeeper.and_then(|zookeeper| zookeeper.budget?.spec).expect("three members have one");
    assert_eq!((budget.max_unavailable, budget.min_available), (Some(IntOrString::Int(1)), None));
}

#[test]
fn with_an_external_zookeeper_there_is_no_object_of_an_ensemble() {
    let resources = build(&external("{}"), &decisions(), None);
    assert!(resources.zookeeper.is_none() && resources.node_set.is_some());
    assert_eq!(all_metadata(&resources).len(), 6);
}

#[test]
fn nothing_is_made_before_it_has_been_decided() {
    let resources = build(&cluster("{}"), &Decisions::default(), PASSWORD);
    assert!(resources.node_set.is_none());
    let zookeeper = resources.zookeeper.expect("it is managed");
    assert!(zookeeper.set.is_none() && zookeeper.headless.spec.is_some());
}

#[test]
fn the_service_monitor_selects_one_service_and_our_labels_win() {
    assert_eq!(built("{}").service_monitor, None);
    let spec = "{monitoring: {serviceMonitor: true, labels: {release: prometheus, app.kubernetes.io/instance: x}}}";
    let resources = built(spec);
    let monitor = resources.service_monitor.expect("it is wished for");
    let labels = monitor.metadata.labels.unwrap_or_default();
    assert_eq!([&labels["release"], &labels["app.kubernetes.io/instance"]], ["prometheus", "demo"]);
    let selected = &monitor.data["spec"]["selector"]["matchLabels"];
    let selects = |service: &Service| {
        let labels = service.meta().labels.clone().unwrap_or_default();
        let selected = selected.as_object().expect("labels");
        selected.iter().all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str())
    };
    assert!(selects(&resources.node_headless) && !selects(&resources.node_client));
}
