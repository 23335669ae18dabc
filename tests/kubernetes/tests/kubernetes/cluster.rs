//! The cluster itself: what the other suites take for granted, and the faults that they make.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread::sleep,
    time::{Duration, Instant},
};

use kv_kubernetes::{Cluster, MACHINES, run, run_to_end, run_with_input};

const PODS: &str = include_str!("cluster.yaml");
/// Whatever is waited for comes within this time, or never.
const WITHIN: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Three pods with claims in a namespace of their own, which goes with this.
struct Web<'c> {
    cluster: &'c Cluster,
    namespace: &'static str,
}

impl<'c> Web<'c> {
    fn start(cluster: &'c Cluster, namespace: &'static str) -> Self {
        let web = Self { cluster, namespace };
        web.remove();
        web.kubectl(&["create", "namespace", namespace]);
        web.kubectl(&["label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted"]);
        let mut apply = cluster.kubectl();
        apply.args(["--namespace", namespace, "apply", "-f", "-"]);
        run_with_input(&mut apply, PODS).expect("the manifest is good");
        let started = Instant::now();
        web.wait_ready();
        eprintln!("three pods with claims: {:.1?}", started.elapsed());
        web
    }

    fn wait_ready(&self) {
        self.kubectl(&["rollout", "status", "statefulset/web", "--timeout=90s"]);
    }

    fn kubectl(&self, words: &[&str]) -> String {
        self.try_kubectl(words).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_kubectl(&self, words: &[&str]) -> kv_kubernetes::Result<String> {
        run_to_end(self.cluster.kubectl().args(["--namespace", self.namespace]).args(words))
    }

    fn get(&self, what: &str, path: &str) -> String {
        self.kubectl(&["get", what, "--output", &format!("jsonpath={{{path}}}")])
    }

    fn fetch(&self, pod: &str, url: &str) -> String {
        // Its own option for a timeout makes busybox's wget crash.
        self.kubectl(&["exec", pod, "--", "timeout", "5", "wget", "-q", "-O", "-", url]).trim().to_owned()
    }

    fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) -> Duration {
        let started = Instant::now();
        while !holds(self) {
            assert!(started.elapsed() < WITHIN, "{what}: not within {WITHIN:?}: {}", self.kubectl(&["get", "pods"]));
            sleep(LOOK_EVERY);
        }
        started.elapsed()
    }

    fn remove(&self) {
        self.kubectl(&["delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=90s"]);
    }
}

/// From this host, without a client that the machine may lack.
fn fetch_from_here(address: &str) -> String {
    let address = address.parse().expect("an address");
    let mut stream =
        TcpStream::connect_timeout(&address, Duration::from_secs(5)).expect("the pod is reached from here");
    stream.write_all(b"GET /name HTTP/1.0\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn pods_with_claims_reach_each_other_by_address_by_service_and_by_name() {
    run(&[], async |cluster| {
        let web = Web::start(cluster, "cluster-web");
        let machines: Vec<_> = (0..3).map(|pod| web.get(&format!("pod/web-{pod}"), ".spec.nodeName")).collect();
        for machine in MACHINES {
            assert!(machines.iter().any(|name| name == machine), "one on each machine: {machines:?}");
        }
        for pod in 0..3 {
            let name = format!("web-{pod}");
            let address = web.get(&format!("pod/{name}"), ".status.podIP");
            assert_eq!(web.fetch("web-0", &format!("http://{address}:8000/name")), name);
            assert_eq!(web.fetch("web-1", &format!("http://{name}.web-pods:8000/name")), name);
            assert_eq!(fetch_from_here(&format!("{address}:8000")), name);
        }
        assert!(web.fetch("web-2", "http://web/name").starts_with("web-"));
        assert!(web.fetch("web-2", "http://web.cluster-web.svc.cluster.local/name").starts_with("web-"));
        let service = web.get("service/web", ".spec.clusterIP");
        assert!(fetch_from_here(&format!("{service}:80")).starts_with("web-"));

        let folder = cluster.volume_folder("cluster-web", "data-web-0").expect("the claim's folder");
        assert_eq!(std::fs::read_to_string(folder.join("name")).expect("its file").trim(), "web-0");
        cluster.wipe_volume("cluster-web", "data-web-0").expect("it is emptied");
        assert_eq!(web.kubectl(&["exec", "web-0", "--", "ls", "/data"]), "");

        let client = cluster.client().await.expect("a client");
        let version = client.apiserver_version().await.expect("the API server answers it");
        assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "34"));
        web.remove();
    });
}

#[test]
#[ignore = "the suite of lost machines cuts one too; with --include-ignored"]
fn the_pod_of_a_machine_that_is_cut_off_is_lost_and_comes_back() {
    run(&[], async |cluster| {
        let web = Web::start(cluster, "cluster-cut");
        let machine = cluster.machine(&web.get("pod/web-1", ".spec.nodeName")).expect("one of ours");
        let first = web.get("pod/web-1", ".metadata.uid");
        machine.cut().expect("the link goes down");
        let noticed = web.until("it is noticed", |web| {
            web.get(&format!("node/{}", machine.name()), ".status.conditions[?(@.type==\"Ready\")].status") == "Unknown"
        });
        let lost =
            web.until("the pod is given up", |web| !web.get("pod/web-1", ".metadata.deletionTimestamp").is_empty());
        eprintln!("{}: noticed after {noticed:.1?}, its pod given up {lost:.1?} later", machine.name());
        assert!(
            web.try_kubectl(&["exec", "--request-timeout=3s", "web-1", "--", "true"]).is_err(),
            "it is out of reach"
        );
        machine.heal().expect("the link comes back");
        let back = web.until("another one is made", |web| {
            let pod = web.try_kubectl(&["get", "pod/web-1", "--output", "jsonpath={.metadata.uid}"]);
            pod.is_ok_and(|uid| uid != first)
        });
        web.wait_ready();
        eprintln!("back after {back:.1?}");
        assert_eq!(web.fetch("web-0", "http://web-1.web-pods:8000/name"), "web-1");
        web.remove();
    });
}

#[test]
fn a_killed_container_and_a_machine_without_power_come_back() {
    run(&[], async |cluster| {
        let web = Web::start(cluster, "cluster-kills");
        let restarts = |web: &Web<'_>| web.get("pod/web-2", ".status.containerStatuses[0].restartCount");
        assert_eq!(restarts(&web), "0");
        cluster.kill_container("cluster-kills", "web-2", "web").expect("it is killed");
        let back = web.until("it is started again", |web| restarts(web) == "1");
        web.wait_ready();
        eprintln!("a killed container: seen to be back after {back:.1?}");

        let machine = cluster.machine(&web.get("pod/web-2", ".spec.nodeName")).expect("one of ours");
        machine.power_off().expect("it goes");
        machine.power_on().expect("it boots");
        let back = web.until("it is started again", |web| restarts(web) == "2");
        web.wait_ready();
        eprintln!("a machine that lost its power: its pod is back after {back:.1?}");
        assert_eq!(web.fetch("web-0", "http://web-2.web-pods:8000/name"), "web-2");
        web.remove();
    });
}

#[test]
fn pods_go_on_without_the_api_server_and_writes_to_it_are_on_record() {
    run(&[], async |cluster| {
        let web = Web::start(cluster, "cluster-api");
        let address = web.get("pod/web-0", ".status.podIP");
        cluster.stop_api_server().expect("it ends");
        assert!(web.try_kubectl(&["get", "pods"]).is_err(), "it is gone");
        assert_eq!(fetch_from_here(&format!("{address}:8000")), "web-0");
        cluster.start_api_server().expect("it is back");

        let mark = cluster.audit_mark().expect("the audit log");
        web.kubectl(&["create", "configmap", "written", "--from-literal=a=b"]);
        web.kubectl(&["get", "configmap", "written"]);
        let writes = cluster.writes_since(mark).expect("the audit log");
        let ours: Vec<_> = writes.iter().filter(|write| write.object_ref.name == "written").collect();
        assert_eq!(ours.len(), 1, "a write, and no read: {ours:?}");
        assert_eq!((ours[0].verb.as_str(), ours[0].user.username.as_str()), ("create", "administrator"));
        assert!(ours[0].user_agent.starts_with("kubectl"), "{ours:?}");
        web.remove();
    });
}
