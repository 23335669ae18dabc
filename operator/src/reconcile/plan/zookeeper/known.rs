//! Who the ensemble is, as far as it is known: from the record, the marks on claims, and what its leader says.

use std::collections::{BTreeMap, BTreeSet};

use kv_zookeeper_member::{Membership, Record, RecoveryStep, Role};

use super::{
    super::super::{
        decision::{Action, Finding},
        names::{ENSEMBLE_MARK, SERVED_BY},
    },
    Observed, ZooKeeperPlan,
};

/// Puts into the plan the record as it is to be. A mark counts like a record that says that the ensemble has served: who has lost
/// the record does not begin another one.
pub(super) fn record(observed: &Observed, plan: &mut ZooKeeperPlan) {
    let marked = observed.claims.values().filter_map(mark).max_by_key(|membership| membership.version);
    let written = observed.record.as_ref().map(|files| Record::parse(|name| files.get(name).map(String::as_str)));
    let mut record = match written {
        None => Record::default(),
        Some(Ok(record)) => record,
        Some(Err(error)) => {
            let message =
                format!("the ensemble's record can't be read: {error}: delete the ConfigMap, it is made anew");
            plan.hindrances.push(Finding { reason: "RecordUnreadable", message });
            // Nothing is begun on the strength of what can't be read.
            Record { bootstrapped: true, ..Record::default() }
        }
    };
    if record.recovery.as_ref().is_none_or(|recovery| recovery.step != RecoveryStep::New) {
        record.bootstrapped |= is_marked(observed);
        if let Some(marked) = marked.filter(|marked| marked.version > record.membership.version) {
            record.membership = marked;
        }
        // The last change may have been made just before everybody was lost, and not been read any more.
        let found = observed.reports.values().filter_map(|report| report.found.as_ref());
        let found = found.filter(|found| found.holds_data()).filter_map(|found| found.membership.as_ref());
        let found = found.max_by_key(|membership| membership.version);
        if let Some(found) = found.filter(|found| record.bootstrapped && found.version > record.membership.version) {
            record.membership =
                Membership::new(found.version, found.members().iter().filter(|m| m.role == Role::Participant).cloned())
                    .unwrap_or_else(|_| found.clone());
        }
        // Its leader knows best, whatever was written down.
        if let Some(configuration) = observed.view.configuration.as_ref().filter(|_| record.bootstrapped) {
            record.membership = configuration.clone();
        }
    }
    plan.record = record;
}

/// The record as a ConfigMap's content.
pub(super) fn record_files(record: &Record) -> BTreeMap<String, String> {
    record.files().into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}

/// Ordinals whose claims may hold what was acknowledged: members, and those that are marked.
pub(super) fn holders(observed: &Observed, record: &Record) -> BTreeSet<u32> {
    let marked = observed.claims.iter().filter(|(_, claim)| claim.annotations.contains_key(ENSEMBLE_MARK));
    record.membership.voters().map(|id| id - 1).chain(marked.map(|(ordinal, _)| *ordinal)).collect()
}

/// Pods without which a member would be missing.
pub(super) fn highest(observed: &Observed, record: &Record) -> u32 {
    holders(observed, record).last().map_or(0, |ordinal| ordinal + 1)
}

/// Marks the members' claims with their configuration, and takes the marks off claims that are to go.
pub(super) fn mark_members(observed: &Observed, configuration: &Membership, plan: &mut ZooKeeperPlan) {
    for ordinal in observed.claims.keys().copied() {
        if configuration.votes(ordinal + 1) {
            plan.actions.extend(mark_claim(observed, ordinal, configuration));
            plan.actions.extend(mark_served(observed, ordinal));
        } else if ordinal >= observed.wish {
            plan.actions.extend(unmark(observed, ordinal));
        }
    }
}

/// Marks a claim, unless it is marked so already or not there.
pub(super) fn mark_claim(observed: &Observed, ordinal: u32, configuration: &Membership) -> Option<Action> {
    let text = format!("version={:x}\n{}", configuration.version, configuration.lines());
    annotate(observed, ordinal, ENSEMBLE_MARK, Some(text))
}

/// Writes down that the pod which is there has served, unless that is written already.
fn mark_served(observed: &Observed, ordinal: u32) -> Option<Action> {
    let pod = observed.pods.get(&ordinal).filter(|pod| !pod.deleting && observed.serves(ordinal))?;
    annotate(observed, ordinal, SERVED_BY, Some(pod.uid.clone()))
}

/// Whether the pod that is there has served as one who votes: its claim holds data then, whatever the pod said when it started.
pub(super) fn has_served(observed: &Observed, ordinal: u32) -> bool {
    let served = observed.claims.get(&ordinal).and_then(|claim| claim.annotations.get(SERVED_BY));
    served.is_some_and(|uid| observed.pods.get(&ordinal).is_some_and(|pod| pod.uid == *uid))
}

/// Takes a claim's mark off.
pub(super) fn unmark(observed: &Observed, ordinal: u32) -> Option<Action> {
    annotate(observed, ordinal, ENSEMBLE_MARK, None)
}

/// Whether a claim is marked.
pub(super) fn has_mark(observed: &Observed, ordinal: u32) -> bool {
    observed.claims.get(&ordinal).is_some_and(|claim| claim.annotations.contains_key(ENSEMBLE_MARK))
}

fn is_marked(observed: &Observed) -> bool {
    observed.claims.keys().any(|ordinal| has_mark(observed, *ordinal))
}

fn annotate(observed: &Observed, ordinal: u32, key: &str, text: Option<String>) -> Option<Action> {
    let claim = observed.claims.get(&ordinal).filter(|claim| !claim.deleting)?;
    if claim.annotations.get(key) == text.as_ref() {
        return None;
    }
    let annotations = [(key.to_owned(), text)].into();
    Some(Action::AnnotateClaim { claim: claim.name.clone(), uid: claim.uid.clone(), annotations })
}

fn mark(claim: &super::super::super::world::ClaimState) -> Option<Membership> {
    Membership::read(claim.annotations.get(ENSEMBLE_MARK)?, 0).ok()
}
