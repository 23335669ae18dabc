use k8s_openapi::api::core::v1::ResourceRequirements;

use super::{
    Defaults, Invalid, number,
    pods::{self, PodFields},
    storage,
};
use crate::{
    api::{DEFAULT_ZOOKEEPER_NODES, ExternalZooKeeper, KvClusterSpec, VolumeSpec},
    reconcile::{
        names::Names,
        origin::Origin,
        quantity,
        validated::{ManagedZooKeeper, ValidatedNodes, ValidatedZooKeeper},
    },
};

/// Members of an ensemble, at most.
const MAX_MEMBERS: u32 = 7;
/// Java's heap, in MiB, at least and at most.
const HEAP_MIB: (u64, u64) = (64, 4096);
/// Memory of a member, at least: less than twice the smallest heap would be ended by the kernel.
const MIN_MEMORY: (u64, &str) = ((2 * HEAP_MIB.0) << 20, "128Mi");
/// Memory that the heap is chosen for if nothing limits it.
const UNLIMITED_MEMORY: u64 = 512 << 20;
/// Where clusters are kept in an external ZooKeeper that doesn't say.
const DEFAULT_ROOT: &str = "/kvclusters";

pub(super) fn validated(
    spec: &KvClusterSpec,
    names: &Names,
    nodes: &ValidatedNodes,
    origin: &Origin,
    defaults: &Defaults,
) -> Result<ValidatedZooKeeper, Invalid> {
    let zookeeper = &spec.zookeeper;
    if let Some(external) = &zookeeper.external {
        return self::external(external, names);
    }
    let count = number("spec.zookeeper.nodes", zookeeper.nodes.unwrap_or(DEFAULT_ZOOKEEPER_NODES), MAX_MEMBERS)?;
    if count.is_multiple_of(2) {
        return Err(invalid(format!("spec.zookeeper.nodes is {count}: write an odd number from 1 to {MAX_MEMBERS}")));
    }
    let default_image = origin.zookeeper_image.as_ref().unwrap_or(&defaults.zookeeper_image);
    let pods = PodFields {
        image: zookeeper.image.as_ref().unwrap_or(default_image),
        resources: ("spec.zookeeper.resources", zookeeper.resources.as_ref(), pods::ZOOKEEPER_RESOURCES),
        scheduling: zookeeper.scheduling.as_ref().unwrap_or(&spec.scheduling),
    };
    let pods = pods.validated(spec)?;
    let unnamed = VolumeSpec::default();
    let volume = zookeeper.storage.as_ref().unwrap_or(&unnamed);
    Ok(ValidatedZooKeeper::Managed(Box::new(ManagedZooKeeper {
        count,
        init_image: nodes.pods.image.clone(),
        volume: storage::volume("spec.zookeeper.storage", volume, storage::ZOOKEEPER_SIZE)?,
        heap_mib: heap(&pods.resources)?,
        pods,
    })))
}

/// Half of the memory limit: the rest is for Java itself, buffers, and the probes that run beside it.
fn heap(resources: &ResourceRequirements) -> Result<u32, Invalid> {
    let limit = resources.limits.as_ref().and_then(|limits| limits.get("memory"));
    let memory = match limit {
        None => UNLIMITED_MEMORY,
        Some(limit) => quantity::bytes(&limit.0)
            .map_err(|error| invalid(format!("spec.zookeeper.resources.limits.memory: {error}")))?,
    };
    if memory < MIN_MEMORY.0 {
        let limit = limit.map(|limit| limit.0.as_str()).unwrap_or_default();
        let message = format!("spec.zookeeper.resources.limits.memory is {limit}: write at least {}", MIN_MEMORY.1);
        return Err(Invalid::new("InvalidResources", message));
    }
    let heap = ((memory / 2) >> 20).clamp(HEAP_MIB.0, HEAP_MIB.1);
    u32::try_from(heap).map_err(|_| invalid("the heap is out of bounds".into()))
}

fn external(external: &ExternalZooKeeper, names: &Names) -> Result<ValidatedZooKeeper, Invalid> {
    let ExternalZooKeeper { connect, root } = external;
    if let Some(server) = connect.split(',').find(|server| !is_host_port(server)) {
        return Err(invalid(format!(
            "spec.zookeeper.external.connect: {server:?}: write host:port with a port from 1 to 65535, and commas between"
        )));
    }
    let root = root.as_deref().unwrap_or(DEFAULT_ROOT);
    let parts = root.strip_prefix('/').unwrap_or_default();
    // ZooKeeper keeps the first for itself, and takes the others for none.
    let own = parts == "zookeeper" || parts.starts_with("zookeeper/");
    if own || parts.split('/').any(|part| ["", ".", ".."].contains(&part)) {
        return Err(invalid(format!(
            "spec.zookeeper.external.root is {root:?}: write a path such as {DEFAULT_ROOT}, with no part '.' or '..', and not \
             below /zookeeper"
        )));
    }
    // The last part is the cluster's name, as its nodes take it.
    let root = format!("{root}/{}/{}", names.namespace, names.cluster);
    Ok(ValidatedZooKeeper::External { connect: connect.clone(), root })
}

/// As a node reads it.
fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !host.is_empty() && host.bytes().all(allowed) && port.parse().is_ok_and(|port: u16| port != 0)
}

fn invalid(message: String) -> Invalid {
    Invalid::new("InvalidZooKeeper", message)
}
