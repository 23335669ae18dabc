//! What a person is told about an ensemble without a quorum.

use super::{super::super::decision::Finding, Observed, ZooKeeperPlan, known, recovery};
use crate::{
    api::RECOVER_ZOOKEEPER,
    zookeeper::{HeldData, StartReport},
};

/// Says which members are missing, what each claim held when its pod started, and what can be done. Nothing is said while enough
/// pods are ready: an election takes a second.
pub(super) fn describe(observed: &Observed, plan: &mut ZooKeeperPlan) {
    let members = known::holders(observed, &plan.record);
    let quorum = plan.record.membership.quorum();
    if is_passing(observed, plan) {
        return;
    }
    let (mut sentences, mut silent, mut holding, mut of_others) = (Vec::new(), 0, Vec::new(), None);
    for ordinal in &members {
        let (pod, claim) = (observed.pod(*ordinal), observed.claim(*ordinal));
        match observed.reports.get(ordinal) {
            Some(_) if known::has_served(observed, *ordinal) => {
                sentences.push(format!("{pod} has served: {claim} holds data"));
                // How much is seen when the recovery asks for it.
                holding.push((HeldData::default(), *ordinal));
            }
            None => {
                silent += 1;
                sentences.push(format!("{pod} does not run ({})", observed.trouble(*ordinal)));
            }
            Some(report) => match held(report) {
                Some(data) => {
                    let ready = if observed.is_ready(*ordinal) { "is ready" } else { "waits for the others" };
                    sentences.push(format!("{pod} {ready}: {claim} holds data up to {:x}", data.zxid));
                    if plan.record.membership.votes(ordinal + 1) {
                        holding.push((data, *ordinal));
                    } else {
                        of_others = Some(*ordinal);
                    }
                }
                None => sentences.push(format!("{pod}: {claim} was empty when the pod started")),
            },
        }
    }
    let advice = if silent > 0 {
        "a member whose volume is gone for good: delete its claim and its pod, then this says how to go on".to_owned()
    } else if holding.len() >= quorum {
        "enough of them hold data and should serve soon: look at their logs if they don't".to_owned()
    } else if let Some(other) = of_others.filter(|_| holding.is_empty()) {
        recovery::of_no_member(observed, other)
    } else {
        let (value, consequence) = match holding.iter().max() {
            Some((_, best)) => (format!("from-member-{best}"), "what only the lost volumes held stays lost"),
            None => ("new-ensemble".to_owned(), "it begins empty; then run kvctl rebuild-zookeeper at a node"),
        };
        let advice = format!("to recover, annotate the KvCluster with {RECOVER_ZOOKEEPER}={value} ({consequence})");
        plan.proposal = Some(value);
        advice
    };
    let reason = if plan.proposal.is_some() { "QuorumLost" } else { "MembersMissing" };
    let message = format!("{quorum} of {} members are needed: {}; {advice}", members.len(), sentences.join("; "));
    plan.quorum = Some(Finding { reason, message });
}

/// Whether so many members are ready that a missing leader is a matter of moments.
pub(super) fn is_passing(observed: &Observed, plan: &ZooKeeperPlan) -> bool {
    let ready = plan.record.membership.voters().filter(|id| observed.is_ready(id - 1)).count();
    ready >= plan.record.membership.quorum()
}

/// What a claim held; none if it certainly held nothing. What could not be looked at may hold something.
pub(super) fn held(report: &StartReport) -> Option<HeldData> {
    match &report.found {
        None => Some(HeldData::default()),
        Some(found) => found.data.filter(|data| data.zxid > 0),
    }
}
