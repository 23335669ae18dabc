//! The recovery of a quorum that is lost for good, which a person asks for. Its steps are kept in the record:
//!
//! 1. *hold*: every pod is made anew and its init container does not let ZooKeeper start, but says what the claim holds. So nothing
//!    of the old ensemble runs any more, and what is said can't be out of date. Every claim that may hold what was acknowledged
//!    has to be reported; one whose volume is gone is deleted by a person, which is the assertion that it is gone.
//! 2. Decided from all reports together: *release* with marks on exactly so many empty claims as are a quorum with those that
//!    hold data (never without them), if the one asked for holds the most; or *new* if none holds anything. Else it is said
//!    why not, and the person asks for something else, or takes the request back.
//! 3. When there is a quorum the record forgets the recovery, and the annotation is removed.
//!
//! A claim is marked only while it carries the token of this very hold: one that was wiped since is not.

use std::collections::BTreeMap;

use kv_zookeeper_member::{Membership, Recovery, RecoveryStep};

use super::{
    super::super::decision::{Action, Finding},
    Observed, ZooKeeperPlan, known, lost, rolling,
};
use crate::{
    api::RECOVER_ZOOKEEPER,
    zookeeper::{Did, Found, HeldData},
};

/// What a person may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    FromMember(u32),
    NewEnsemble,
}

/// Takes the next step of a recovery; false if there is none under way or asked for.
pub(super) fn recover(observed: &Observed, plan: &mut ZooKeeperPlan) -> bool {
    let request = observed.request.as_deref();
    match plan.record.recovery.clone() {
        None => request.is_some_and(|text| begin(observed, text, plan)),
        Some(Recovery { token, step: RecoveryStep::Hold }) => {
            match request {
                // Taken back: everybody starts again as after any other stop.
                None => plan.record.recovery = None,
                Some(text) => hold(observed, token, text, plan),
            }
            true
        }
        Some(Recovery { token, step }) => {
            release(observed, token, &step, plan);
            true
        }
    }
}

fn begin(observed: &Observed, text: &str, plan: &mut ZooKeeperPlan) -> bool {
    if observed.view.configuration.is_some() {
        let message = format!("{RECOVER_ZOOKEEPER}={text} is not needed: ZooKeeper has a quorum");
        plan.actions.push(Action::FinishRecovery { message });
        return false;
    }
    if lost::is_passing(observed, plan) {
        return false;
    }
    if parse(text).is_none() {
        refuse(plan, format!("{RECOVER_ZOOKEEPER}={text} is neither from-member-ORDINAL nor new-ensemble"));
        return false;
    }
    enter_hold(observed, plan);
    describe(plan, "all members are stopped, to see what each claim holds".to_owned());
    true
}

/// With a token that nobody has seen.
fn enter_hold(observed: &Observed, plan: &mut ZooKeeperPlan) {
    let seen = observed.reports.values().filter_map(|report| report.token);
    let known = plan.record.recovery.as_ref().map(|recovery| recovery.token);
    let token = seen.chain(known).max().unwrap_or(0) + 1;
    plan.record.recovery = Some(Recovery { token, step: RecoveryStep::Hold });
}

fn hold(observed: &Observed, token: u64, text: &str, plan: &mut ZooKeeperPlan) {
    let mut members = known::holders(observed, &plan.record);
    members.extend(observed.pods.keys());
    let mut found: BTreeMap<u32, &Found> = BTreeMap::new();
    let mut silent = Vec::new();
    for ordinal in &members {
        let report = observed.reports.get(ordinal);
        match report {
            Some(report) if report.token == Some(token) && report.did == Did::Held => {
                found.extend(report.found.as_ref().map(|found| (*ordinal, found)));
            }
            // It may run. One that has said nothing yet does not, and will see the hold.
            Some(_) => plan.actions.extend(observed.delete_pod(*ordinal, "ZooKeeper is recovered")),
            None => {}
        }
        let deleting = observed.pods.get(ordinal).is_some_and(|pod| pod.deleting);
        if deleting || !found.contains_key(ordinal) {
            silent.push(*ordinal);
        }
    }
    if !silent.is_empty() {
        let trouble = |ordinal: &u32| format!("{} ({})", observed.pod(*ordinal), observed.trouble(*ordinal));
        let waits: Vec<_> = silent.iter().map(trouble).collect();
        let message = format!(
            "recovery waits until each member has said what its claim holds: {}; if a volume is gone for good, delete its \
             claim and its pod",
            waits.join(", ")
        );
        rolling::replace_stuck(observed, plan);
        return describe(plan, message);
    }
    match decide(observed, &found, text, plan) {
        Ok((step, membership)) => {
            plan.record.membership = membership;
            plan.record.recovery = Some(Recovery { token, step });
            describe(plan, "the members are started".to_owned());
        }
        Err(message) => {
            refuse(plan, message.clone());
            describe(plan, message);
        }
    }
}

/// From what all claims hold.
fn decide(
    observed: &Observed,
    found: &BTreeMap<u32, &Found>,
    text: &str,
    plan: &ZooKeeperPlan,
) -> Result<(RecoveryStep, Membership), String> {
    let reported = found.values().filter(|found| found.holds_data()).filter_map(|found| found.membership.as_ref());
    let newest = reported.chain([&plan.record.membership]).max_by_key(|membership| membership.version);
    let configuration = newest.unwrap_or(&plan.record.membership).clone();
    let unreported: Vec<_> = configuration.voters().filter(|id| !found.contains_key(&(id - 1))).collect();
    if !unreported.is_empty() {
        // The record learns of them; their pods are made, and say what they hold.
        return Ok((RecoveryStep::Hold, configuration));
    }
    let holding: Vec<(HeldData, u32)> = found
        .iter()
        .filter(|(ordinal, found)| found.holds_data() && configuration.votes(*ordinal + 1))
        .filter_map(|(ordinal, found)| Some((found.data?, *ordinal)))
        .collect();
    if holding.len() >= configuration.quorum() {
        return Ok((RecoveryStep::Release { mark: Vec::new() }, configuration));
    }
    match parse(text) {
        None => Err(format!("{RECOVER_ZOOKEEPER}={text} is neither from-member-ORDINAL nor new-ensemble")),
        Some(Request::NewEnsemble) => {
            if let Some((_, ordinal)) = holding.iter().max() {
                let claim = observed.claim(*ordinal);
                return Err(format!("no new ensemble is begun: {claim} holds data: write from-member-{ordinal}"));
            }
            if let Some((ordinal, _)) = found.iter().find(|(_, found)| found.holds_data()) {
                return Err(format!("no new ensemble is begun: {}", of_no_member(observed, *ordinal)));
            }
            // A claim that an earlier, larger ensemble has left holds a configuration that would count as the newer one.
            match observed.claims.keys().find(|ordinal| !found.contains_key(ordinal)) {
                Some(ordinal) => Err(format!(
                    "no new ensemble is begun while {} is left from an earlier one: delete the claim",
                    observed.claim(*ordinal)
                )),
                None => Ok((RecoveryStep::New, Membership::default())),
            }
        }
        Some(Request::FromMember(wanted)) => match holding.iter().max() {
            None => match found.iter().find(|(_, found)| found.holds_data()) {
                Some((ordinal, _)) => Err(of_no_member(observed, *ordinal)),
                None => Err("no member's claim holds data: write new-ensemble".to_owned()),
            },
            Some((best, ordinal)) if !holding.iter().any(|(data, of)| *of == wanted && data == best) => {
                Err(format!("{} holds the most: write from-member-{ordinal}", observed.claim(*ordinal)))
            }
            Some(_) => {
                let needed = configuration.quorum() - holding.len();
                let empty = configuration.voters().map(|id| id - 1);
                let empty = empty.filter(|ordinal| holding.iter().all(|(_, of)| of != ordinal));
                Ok((RecoveryStep::Release { mark: empty.take(needed).collect() }, configuration))
            }
        },
    }
}

/// One that was to join, or has left: no configuration counts on its vote, so that no quorum can be made with it.
pub(super) fn of_no_member(observed: &Observed, ordinal: u32) -> String {
    let claim = observed.claim(ordinal);
    format!(
        "{claim} holds data and is no member's: delete the claim and its pod if it is not wanted, then write new-ensemble"
    )
}

fn release(observed: &Observed, token: u64, step: &RecoveryStep, plan: &mut ZooKeeperPlan) {
    if let Some(configuration) = &observed.view.configuration {
        return finish(observed, step, configuration, plan);
    }
    if *step == RecoveryStep::New {
        // What was marked is gone; were the record lost now, member 0 would have to be able to begin.
        plan.actions.extend(observed.claims.keys().filter_map(|ordinal| known::unmark(observed, *ordinal)));
    }
    let report = |ordinal: &u32| observed.reports.get(ordinal).filter(|report| report.token == Some(token));
    if has_failed(observed, step, token, plan) {
        match observed.request {
            Some(_) => enter_hold(observed, plan),
            None => plan.record.recovery = None,
        }
        return describe(plan, "what a claim held has changed: the recovery begins again".to_owned());
    }
    for ordinal in observed.pods.keys() {
        // It would be started by and by; a new pod is at once.
        if report(ordinal).is_some_and(|report| report.did == Did::Held) {
            plan.actions.extend(observed.delete_pod(*ordinal, "ZooKeeper is recovered"));
        }
    }
    describe(plan, "the members are started".to_owned());
}

/// Whether those who were to make a quorum can't do so any more: one was wiped since, say.
fn has_failed(observed: &Observed, step: &RecoveryStep, token: u64, plan: &ZooKeeperPlan) -> bool {
    let (voters, needed): (Vec<u32>, usize) = match step {
        RecoveryStep::New => (vec![0], 1),
        RecoveryStep::Release { .. } | RecoveryStep::Hold => {
            (plan.record.membership.voters().map(|id| id - 1).collect(), plan.record.membership.quorum())
        }
    };
    let did = |ordinal: &u32| {
        observed.reports.get(ordinal).filter(|report| report.token == Some(token)).map(|report| report.did)
    };
    let failed = voters.iter().filter(|ordinal| matches!(did(ordinal), Some(Did::Joiner | Did::Refused))).count();
    voters.len() - failed < needed
}

fn finish(observed: &Observed, step: &RecoveryStep, configuration: &Membership, plan: &mut ZooKeeperPlan) {
    known::mark_members(observed, configuration, plan);
    let is_new = *step == RecoveryStep::New;
    if is_new {
        // As at the first boot the mark comes first, and no mark of the old ensemble may be left.
        let others = observed.claims.keys().filter(|ordinal| !configuration.votes(**ordinal + 1));
        plan.actions.extend(others.filter_map(|ordinal| known::unmark(observed, *ordinal)));
        plan.actions.dedup();
        if !plan.actions.is_empty() || !known::has_mark(observed, 0) {
            return describe(plan, "the new ensemble serves".to_owned());
        }
    }
    plan.record.membership = configuration.clone();
    plan.record.recovery = None;
    if observed.request.is_some() {
        let message = if is_new { "ZooKeeper serves again, and is empty" } else { "ZooKeeper serves again" };
        plan.actions.push(Action::FinishRecovery { message: message.to_owned() });
    }
}

fn parse(text: &str) -> Option<Request> {
    match text.trim() {
        "new-ensemble" => Some(Request::NewEnsemble),
        other => Some(Request::FromMember(other.strip_prefix("from-member-")?.parse().ok()?)),
    }
}

fn describe(plan: &mut ZooKeeperPlan, message: String) {
    plan.quorum = Some(Finding { reason: "Recovering", message });
}

fn refuse(plan: &mut ZooKeeperPlan, message: String) {
    plan.hindrances.push(Finding { reason: "RecoveryRefused", message });
}
