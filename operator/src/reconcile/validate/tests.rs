use super::*;
use crate::reconcile::{
    fixtures::{cluster, defaults, external, resource},
    validated::ValidatedZooKeeper,
};

fn refusal(spec: &str) -> Invalid {
    validate(&resource(spec), &World::default(), &defaults()).expect_err(spec)
}

/// Says `parts`, and nothing else is wrong.
fn refused(spec: &str, reason: &str, parts: &[&str]) {
    let invalid = refusal(spec);
    assert_eq!(invalid.reason, reason, "{spec}: {invalid}");
    for part in parts {
        assert!(invalid.message.contains(part), "{spec}: {invalid} does not say {part:?}");
    }
}

fn flags(cluster: &ValidatedCluster) -> Vec<String> {
    cluster.nodes.flags.iter().map(|(flag, value)| format!("--{flag}={value}")).collect()
}

#[test]
fn an_empty_specification_is_three_nodes_with_two_copies_and_three_members() {
    let cluster = cluster("{}");
    assert_eq!((cluster.nodes.count, cluster.nodes.copies), (3, 2));
    assert_eq!(flags(&cluster), ["--nodes=3", "--log-format=json"]);
    assert_eq!(cluster.nodes.pods.image, "kvcluster/kv-node:test");
    assert_eq!(cluster.nodes.data.bytes, 10 << 30);
    assert_eq!(cluster.network_policy, Some(Vec::new()));
    let managed = cluster.managed_zookeeper().expect("it is managed");
    assert_eq!((managed.count, managed.heap_mib, managed.volume.bytes), (3, 256, 2 << 30));
    assert_eq!(
        (managed.pods.image.as_str(), managed.init_image.as_str()),
        ("zookeeper:test", "kvcluster/kv-node:test")
    );
    assert_eq!(cluster.zookeeper_connect(), "demo-zk-client.default.svc.cluster.local:2181/kvclusters/demo");
    assert_eq!((cluster.owner.controller, cluster.owner.block_owner_deletion), (Some(true), None));
}

#[test]
fn flags_are_those_that_the_resource_sets_in_a_fixed_order() {
    let cluster = cluster(
        "{nodes: 5, copies: 3, minInSyncCopies: 2, shards: {initial: 60}, settings: {splitSize: 1GiB, valueLimit: '4096', \
         lease: 1s, rehomeAfter: 7d, sessionTimeout: 10s, logFormat: text, logFilter: debug}}",
    );
    let expected = [
        "--nodes=5",
        "--copies=3",
        "--shards=60",
        "--min-in-sync=2",
        "--lease=1s",
        "--session-timeout=10s",
        "--rehome-after=7d",
        "--value-limit=4096",
        "--split-size=1GiB",
        "--log-format=text",
    ];
    assert_eq!(flags(&cluster), expected);
    assert_eq!(cluster.nodes.log_filter, "debug");
    assert_eq!(
        flags(&self::cluster("{nodes: 1, shards: {splitKeys: ['0x00', g, '0xff']}}"))[..2],
        ["--nodes=1", "--split-keys=0x00,g,0xff"]
    );
}

#[test]
fn what_was_so_at_the_creation_stays() {
    let image = Some("kvcluster/kv-node:old".to_owned());
    let origin = Origin { image, zookeeper_image: Some("zookeeper:old".into()), nodes: Some(3) };
    let world = World { origin: origin.clone(), ..World::default() };
    let cluster = validate(&resource("{nodes: 5}"), &world, &defaults()).expect("valid");
    assert_eq!((cluster.nodes.count, &cluster.nodes.flags[0].1), (5, &"3".to_owned()));
    assert_eq!(cluster.nodes.pods.image, "kvcluster/kv-node:old");
    let managed = cluster.managed_zookeeper().expect("it is managed");
    assert_eq!((managed.pods.image.as_str(), managed.init_image.as_str()), ("zookeeper:old", "kvcluster/kv-node:old"));
    assert_eq!(cluster.origin, origin);

    let named =
        validate(&resource("{image: 'mine:2', zookeeper: {image: 'zk:3'}}"), &world, &defaults()).expect("valid");
    assert_eq!((named.nodes.pods.image.as_str(), &named.origin), ("mine:2", &origin));
}

#[test]
fn a_setting_beyond_its_bounds_is_refused_with_what_to_write() {
    let settings = [
        ("lease: 50ms", "spec.settings.lease is \"50ms\": write 100ms to 10s, such as 800ms"),
        ("sessionTimeout: 2m", "write 1s to 1m, such as 6s"),
        ("rehomeAfter: 8d", "write 1s to 7days, such as 10m"),
        ("valueLimit: 17MiB", "spec.settings.valueLimit is \"17MiB\": write 1KiB to 16MiB, such as 1MiB"),
        ("requestTimeout: 1ms", "write 10ms to 1m, such as 5s"),
        ("logRetention: 2TiB", "write 1MiB to 1TiB, such as 256MiB"),
        ("memtableSize: 99999999999999999999GiB", "write 1MiB to 1GiB, such as 16MiB"),
        ("splitSize: 1KiB", "write 1MiB to 1TiB, such as 256MiB"),
        ("logRetention: 6GiB", "at most half of that, or raise spec.storage"),
    ];
    for (setting, message) in settings {
        refused(&format!("{{settings: {{{setting}}}}}"), "InvalidSetting", &[message]);
    }
}

#[test]
fn volumes_that_no_node_could_work_with_are_refused() {
    refused("{storage: {data: {size: 1Mi}}}", "InvalidSize", &["spec.storage.data.size: 1Mi: write 256Mi to"]);
    refused("{storage: {bkpdata: {size: 10GB}}}", "InvalidSize", &["spec.storage.bkpdata.size", "\"10GB\""]);
    refused("{zookeeper: {storage: {size: '0'}}}", "InvalidSize", &["spec.zookeeper.storage.size: 0"]);
}

#[test]
fn resources_that_no_pod_could_have_are_refused() {
    let parts = ["spec.resources.requests.memory is 2Gi", "which is 1Gi"];
    refused("{resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}}", "InvalidResources", &parts);
    refused("{resources: {limits: {cpu: lots}}}", "InvalidResources", &["spec.resources.limits.cpu", "\"lots\""]);
    refused("{resources: {claims: [{name: gpu}]}}", "InvalidResources", &["spec.resources.claims"]);
    refused("{zookeeper: {resources: {limits: {memory: 100Mi}}}}", "InvalidResources", &["is 100Mi", "at least 128Mi"]);
}

#[test]
fn the_heap_is_half_of_the_memory_within_bounds() {
    let heap = |limit: &str| {
        let cluster = cluster(&format!("{{zookeeper: {{resources: {{{limit}}}}}}}"));
        cluster.managed_zookeeper().map(|managed| managed.heap_mib)
    };
    assert_eq!(heap("limits: {memory: 1Gi}"), Some(512));
    assert_eq!(heap("limits: {memory: 128Mi}"), Some(64));
    assert_eq!(heap("limits: {memory: 64Gi}"), Some(4096));
    assert_eq!(heap("requests: {cpu: 1}"), Some(256));
}

#[test]
fn split_keys_that_a_node_would_refuse_are_refused() {
    for keys in ["[b, a]", "[a, a]", "['0xf']", "['0xzz']", "['0x']", "['a,b']", "['0x62', a]"] {
        refused(&format!("{{shards: {{splitKeys: {keys}}}}}"), "InvalidShards", &["spec.shards.splitKeys[", "write "]);
    }
    refused("{shards: {splitKeys: []}}", "InvalidShards", &["1 to 255"]);
    refused("{shards: {initial: 257}}", "InvalidShards", &["257", "1 to 256"]);
}

#[test]
fn numbers_that_the_schema_refuses_are_refused_here_too() {
    refused("{nodes: 0}", "InvalidNumber", &["spec.nodes is 0: write a number from 1 to 99"]);
    refused("{nodes: 2, copies: 3}", "InvalidNumber", &["spec.copies is 3: write a number from 1 to 2"]);
    refused("{nodes: 1, minInSyncCopies: 2}", "InvalidNumber", &["spec.minInSyncCopies is 2"]);
    refused("{zookeeper: {nodes: 2}}", "InvalidZooKeeper", &["write an odd number"]);
}

#[test]
fn an_external_zookeeper_has_a_root_for_each_cluster() {
    let cluster = external("{}");
    assert_eq!(cluster.zookeeper_connect(), "zk-a:2181/kvclusters/default/demo");
    assert_eq!(cluster.managed_zookeeper(), None);
    let rooted = self::cluster("{zookeeper: {external: {connect: 'a:1,b.c:65535', root: /team/kv}}}");
    let root = "/team/kv/default/demo".to_owned();
    assert_eq!(rooted.zookeeper, ValidatedZooKeeper::External { connect: "a:1,b.c:65535".into(), root });

    for external in [
        "connect: 'a:0'",
        "connect: 'a:65536'",
        "connect: 'a:1,'",
        "connect: 'ä:1'",
        "connect: 'a:1', root: /kv/..",
        "connect: 'a:1', root: /zookeeper/kv",
    ] {
        let spec = format!("{{zookeeper: {{external: {{{external}}}}}}}");
        refused(&spec, "InvalidZooKeeper", &["spec.zookeeper.external.", "write "]);
    }
}

#[test]
fn the_schedule_of_members_is_that_of_nodes_unless_they_have_their_own() {
    let labels = |spec: &str| {
        let cluster = cluster(spec);
        let managed = cluster.managed_zookeeper().expect("it is managed").clone();
        managed.pods.scheduling.node_selector.into_values().collect::<Vec<_>>()
    };
    assert_eq!(labels("{scheduling: {nodeSelector: {a: b}}}"), ["b"]);
    assert!(labels("{scheduling: {nodeSelector: {a: b}}, zookeeper: {scheduling: {}}}").is_empty());
}
