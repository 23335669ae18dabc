use super::{
    conditions::was_served,
    faults::Fault,
    seen::{Seen, Verdict, bounded},
};
use crate::api::{
    ClusterPhase, ConditionKind,
    ConditionStatus::{False, True},
};

pub(super) fn phase(seen: &Seen<'_>, conditions: &[(ConditionKind, Verdict)], degraded: &Verdict) -> ClusterPhase {
    let available = conditions.iter().find(|(kind, _)| *kind == ConditionKind::Available);
    let available = available.map(|(_, verdict)| verdict.status);
    if seen.cluster.is_err() {
        ClusterPhase::Invalid
    } else if seen.paused {
        ClusterPhase::Paused
    } else if available != Some(True) && !was_served(seen) {
        ClusterPhase::Creating
    } else if available == Some(False) {
        ClusterPhase::Unavailable
    } else if degraded.status == True {
        ClusterPhase::Degraded
    } else if !seen.decisions.progress.is_empty() {
        ClusterPhase::Updating
    } else {
        ClusterPhase::Running
    }
}

/// The most important thing to know; empty if all is well.
pub(super) fn message(seen: &Seen<'_>, faults: &[Fault]) -> String {
    let invalid = seen.cluster.err().map(|invalid| invalid.message.as_str());
    let fault = faults.first().map(|fault| fault.message.as_str());
    let progress = seen.decisions.progress.first().map(|finding| finding.message.as_str());
    bounded(invalid.or(fault).or(progress).unwrap_or_default())
}
