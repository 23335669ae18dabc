//! The next safe step of volumes that are to grow, or to be of another class before they have been made.
//!
//! A StatefulSet's claim templates can't be changed: the claims are dealt with first, then the StatefulSet is deleted without its
//! pods and made anew (kubernetes/enhancements 661).

use super::super::{
    decision::{Action, Decisions, Finding},
    names::Component,
    validated::{ValidatedCluster, ValidatedVolume},
    world::{ClaimState, ClaimTemplate, StatefulSetState, World},
};

/// Decides on the claims. To be called after the replicas have been decided.
pub(super) fn plan(cluster: &ValidatedCluster, world: &World, decisions: &mut Decisions) {
    for ((component, template), volume) in cluster.volumes() {
        let wish = ClaimTemplate { size: volume.size.clone(), storage_class: volume.storage_class.clone() };
        let (set, replicas) = match component {
            Component::Node => (world.node_set.as_ref(), decisions.node_replicas),
            Component::ZooKeeper => (world.zookeeper_set.as_ref(), decisions.zookeeper_replicas),
        };
        let written = set.and_then(|set| set.claim_templates.get(template));
        decisions.claim_templates.insert((component, template), written.unwrap_or(&wish).clone());
        let Some(replicas) = replicas else { continue };

        let name = |ordinal| cluster.names.claim(template, component, ordinal);
        let claims: Vec<_> = (0..replicas).filter_map(|ordinal| world.claims.get(&name(ordinal))).collect();
        let all_bound = claims.len() == replicas as usize && claims.iter().all(|claim| claim.bound);
        if let Some(message) = missing_class(world, component, template, volume).filter(|_| !all_bound) {
            decisions.storage.push(Finding { reason: "StorageClassMissing", message });
        }
        // Each is looked at, whatever the one before came to.
        let done: Vec<_> = claims.iter().map(|claim| tend(world, claim, volume, decisions)).collect();
        if let Some(set) = set.filter(|_| done.iter().all(|done| *done) && written.is_some_and(|old| *old != wish)) {
            recreate(cluster, component, set, decisions);
        }
    }
}

/// Takes the next step with a claim. Returns whether nothing hinders that its StatefulSet be made anew.
fn tend(world: &World, claim: &ClaimState, volume: &ValidatedVolume, decisions: &mut Decisions) -> bool {
    let wished = match &volume.storage_class {
        Some(class) => Some(class.as_str()),
        // What is the default may change, and claims that are bound by then are as well as before.
        None if claim.bound => None,
        None => default_class(world),
    };
    if let Some(wished) = wished.filter(|wished| claim.storage_class.as_deref() != Some(wished)) {
        return other_class(claim, wished, decisions);
    }
    if claim.requested_bytes < volume.bytes {
        return grow(world, claim, volume, decisions);
    }
    if claim.bound && claim.capacity_bytes < volume.bytes {
        let message = match &claim.trouble {
            Some(trouble) => format!("claim {} does not grow: {}: {}", claim.name, trouble.reason, trouble.message),
            None => format!("claim {} grows to {}", claim.name, volume.size),
        };
        decisions.storage.push(Finding { reason: "Resizing", message });
    }
    true
}

/// The class that claims get which name none, if it can be read.
fn default_class(world: &World) -> Option<&str> {
    let mut classes = world.storage_classes.as_ref()?.iter();
    classes.find(|(_, class)| class.default).map(|(name, _)| name.as_str())
}

fn other_class(claim: &ClaimState, wished: &str, decisions: &mut Decisions) -> bool {
    let ClaimState { name, uid, .. } = claim;
    if !claim.bound {
        if !claim.deleting {
            decisions.actions.push(Action::DeleteClaim { claim: name.clone(), uid: uid.clone() });
        }
        return true;
    }
    let class = claim.storage_class.as_deref().unwrap_or("none");
    let message = format!(
        "claim {name} is of storage class {class}, and a volume can't move to {wished}: write {class} again, or create \
         another cluster and copy the data"
    );
    decisions.storage.push(Finding { reason: "ClassFixed", message });
    false
}

fn grow(world: &World, claim: &ClaimState, volume: &ValidatedVolume, decisions: &mut Decisions) -> bool {
    let name = &claim.name;
    let class = claim.storage_class.as_deref().unwrap_or_default();
    let classes = world.storage_classes.as_ref();
    if classes.and_then(|classes| classes.get(class)).is_some_and(|class| !class.expandable) {
        let message = format!(
            "claim {name} can't grow to {}: its storage class {class} does not allow expansion: set its \
             allowVolumeExpansion to true if its provisioner can do it, or create another cluster and copy the data",
            volume.size
        );
        decisions.storage.push(Finding { reason: "ClassCannotExpand", message });
    } else if claim.bound {
        decisions.actions.push(Action::GrowClaim { claim: name.clone(), size: volume.size.clone() });
    } else {
        let message = format!("claim {name} can't grow to {} before it is bound", volume.size);
        decisions.storage.push(Finding { reason: "ClaimUnbound", message });
    }
    false
}

fn recreate(cluster: &ValidatedCluster, component: Component, set: &StatefulSetState, decisions: &mut Decisions) {
    let action = Action::RecreateStatefulSet { name: cluster.names.stateful_set(component), uid: set.uid.clone() };
    // Both volumes of a node have one StatefulSet.
    if !set.deleting && !decisions.actions.contains(&action) {
        decisions.actions.push(action);
    }
}

/// What to say if the class of a volume does not exist. None if it does, or if classes can't be read.
fn missing_class(world: &World, component: Component, template: &str, volume: &ValidatedVolume) -> Option<String> {
    let classes = world.storage_classes.as_ref()?;
    let field = match component {
        Component::Node => format!("spec.storage.{template}.storageClassName"),
        Component::ZooKeeper => "spec.zookeeper.storage.storageClassName".into(),
    };
    match &volume.storage_class {
        Some(class) if !classes.contains_key(class) => {
            let known: Vec<_> = classes.keys().map(String::as_str).collect();
            Some(format!("there is no storage class {class} ({field}): make it, or write one of: {}", known.join(", ")))
        }
        None if !classes.values().any(|class| class.default) => {
            Some(format!("there is no default storage class, and {field} names none: write one"))
        }
        _ => None,
    }
}
