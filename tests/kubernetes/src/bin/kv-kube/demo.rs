//! What README's section "On Kubernetes" types, and the loss of a master.

use std::time::Instant;

use kv_kubernetes::{Cluster, Layout, Result, run_to_end};

/// What a step that waits is given.
const TIMEOUT: &str = "--timeout=180s";
const RUNNING: &str = "--for=jsonpath={.status.phase}=Running";
const COLUMN_OF_MASTER: &str = "jsonpath={.status.master}";

pub(crate) fn run(cluster: &Cluster, layout: &Layout) -> Result<()> {
    let demo = Demo { cluster, layout };
    println!("\nThe operator, as README says:");
    demo.helm("upgrade --install kv charts/kv-operator --namespace kv-system --create-namespace --wait")?;
    println!("\nA store of three nodes with its own ZooKeeper, from a manifest that says nothing but a name:");
    let started = Instant::now();
    demo.kubectl("apply -f manifests/samples/minimal.yaml")?;
    demo.kubectl(&format!("wait kvcluster/demo {RUNNING} {TIMEOUT}"))?;
    println!("it runs after {:.1} s", started.elapsed().as_secs_f64());
    demo.kubectl("get kvclusters")?;
    demo.kubectl("get pods,persistentvolumeclaims --output wide")?;
    println!("\nWritten at one node, read at another:");
    demo.kubectl("exec demo-0 -- kvctl --node demo:7400 put greeting hello")?;
    demo.kubectl("exec demo-2 -- kvctl --node demo:7400 get greeting")?;

    let master = demo.quietly(&["get", "kvcluster", "demo", "--output", COLUMN_OF_MASTER])?;
    println!("\nThe master is {master}. Its pod is killed:");
    demo.kubectl(&format!("delete pod {master} --grace-period 0 --force"))?;
    let killed = Instant::now();
    let reader = if master == "demo-2" { "demo-1" } else { "demo-2" };
    demo.kubectl(&format!("exec {reader} -- kvctl --node demo:7400 get greeting"))?;
    println!("answered {:.1} s after the kill", killed.elapsed().as_secs_f64());
    demo.kubectl("get kvclusters")?;
    demo.kubectl(&format!("wait kvcluster/demo {RUNNING} {TIMEOUT}"))?;
    demo.kubectl("get kvclusters")?;
    demo.kubectl("events --for kvcluster/demo")?;
    println!("\n`make kube-shell` goes on from here; `make kube-down` ends it all.");
    Ok(())
}

struct Demo<'a> {
    cluster: &'a Cluster,
    layout: &'a Layout,
}

impl Demo<'_> {
    fn kubectl(&self, words: &str) -> Result<()> {
        println!("$ kubectl {words}");
        print!("{}", run_to_end(self.cluster.kubectl().args(words.split(' ')).current_dir(self.layout.tree()))?);
        Ok(())
    }

    fn helm(&self, words: &str) -> Result<()> {
        println!("$ helm {words}");
        print!("{}", run_to_end(self.cluster.helm().args(words.split(' ')).current_dir(self.layout.tree()))?);
        Ok(())
    }

    fn quietly(&self, words: &[&str]) -> Result<String> {
        run_to_end(self.cluster.kubectl().args(words))
    }
}
