use kv_operator::{api::KvCluster, reconcile::{build, decision::Decisions, validate::{validate, Defaults}, world::World}};
use kube::Resource;
fn main() {
    std::fs::write("/tmp/b5/out/crd.yaml", kv_operator::crd_yaml()).unwrap();
    std::fs::write("/tmp/b5/out/reference.md", kv_operator::reference()).unwrap();
    for name in ["minimal", "production", "small", "external-zookeeper"] {
        let text = std::fs::read_to_string(format!("manifests/samples/{name}.yaml")).unwrap();
        let mut cluster: KvCluster = serde_yaml::from_str(&text).unwrap();
        cluster.meta_mut().namespace = Some("default".into());
        cluster.meta_mut().uid = Some("0c5ff27e-0000-4000-8000-000000000001".into());
        let d = Defaults { node_image: "kvcluster/kv-node:0.1.0".into(), zookeeper_image: "zookeeper:3.9.4".into(), cluster_domain: "cluster.local".into() };
        let v = validate(&cluster, &World::default(), &d).unwrap();
        let dec = Decisions { node_replicas: Some(3), zookeeper_replicas: Some(1), ensemble_record: [("bootstrapped".to_string(), "false".to_string())].into(), ..Decisions::default() };
        let r = build::build(&v, &dec, Some("secret"));
        let mut out = String::new();
        let mut add = |v: serde_json::Value| { out += &serde_yaml::to_string(&v).unwrap(); out += "---\n"; };
        fn j<T: serde::Serialize>(t: &T) -> serde_json::Value { serde_json::to_value(t).unwrap() }
        add(j(&r.service_account)); add(j(&r.node_headless)); add(j(&r.node_client));
        for o in &r.node_set { add(j(o)); } for o in &r.node_budget { add(j(o)); } for o in &r.node_policy { add(j(o)); }
        if let Some(z) = &r.zookeeper { add(j(&z.record)); add(j(&z.secret)); add(j(&z.headless)); add(j(&z.client));
            for o in &z.set { add(j(o)); } for o in &z.budget { add(j(o)); } for o in &z.policy { add(j(o)); } }
        std::fs::write(format!("/tmp/b5/out/{name}.yaml"), out).unwrap();
        if let Some(m) = &r.service_monitor { std::fs::write(format!("/tmp/b5/out/{name}-monitor.yaml"), serde_yaml::to_string(m).unwrap()).unwrap(); }
    }
}
