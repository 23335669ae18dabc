use std::collections::BTreeMap;

use kv_zookeeper_member::{Membership, Record, Recovery, RecoveryStep};

use super::{
    super::super::{
        names::{Component, ENSEMBLE_MARK, Names, SERVED_BY},
        world::{ClaimState, PodState, StatefulSetState, Trouble},
    },
    *,
};
use crate::zookeeper::{Did, EnsembleView, Found, HeldData, MemberView, Mode, StartReport};

const VERSION: u64 = 0x1_0000_0003;

/// An ensemble of so many members, all well, whose leader is the second one.
fn well(members: u32) -> Observed {
    let names = Names { namespace: "ns".into(), cluster: "demo".into(), domain: "local".into() };
    let set = StatefulSetState {
        replicas: members,
        update_revision: "new".into(),
        observed: true,
        ..StatefulSetState::default()
    };
    let mut observed = Observed {
        names,
        wish: members,
        set: Some(set),
        pods: BTreeMap::new(),
        reports: BTreeMap::new(),
        claims: BTreeMap::new(),
        record: None,
        view: EnsembleView::default(),
        request: None,
        may_replace: true,
    };
    (0..members).for_each(|ordinal| add(&mut observed, ordinal));
    let lines = (0..members).map(|ordinal| observed.member(ordinal));
    let membership = Membership::new(VERSION, lines).expect("valid");
    let record = Record { bootstrapped: true, membership: membership.clone(), recovery: None };
    for (ordinal, claim) in &mut observed.claims {
        let mark = format!("version={VERSION:x}\n{}", membership.lines());
        claim.annotations.insert(ENSEMBLE_MARK.into(), mark);
        claim.annotations.insert(SERVED_BY.into(), observed.pods[ordinal].uid.clone());
    }
    observed.record = Some(known::record_files(&record));
    observed.view.configuration = Some(membership);
    lead(&mut observed, 1.min(members - 1), members - 1, 0);
    observed
}

/// A pod that is ready and serves, with its claim.
fn add(observed: &mut Observed, ordinal: u32) {
    let name = observed.names.pod(Component::ZooKeeper, ordinal);
    let pod = PodState { uid: format!("uid-{name}"), name, revision: "new".into(), ready: true, ..PodState::default() };
    observed.pods.insert(ordinal, pod);
    let name = observed.claim(ordinal);
    observed.claims.insert(ordinal, ClaimState { uid: format!("uid-{name}"), name, ..ClaimState::default() });
    observed.view.serving.insert(ordinal, MemberView { mode: Mode::Follower, zxid: 9 });
}

fn lead(observed: &mut Observed, leader: u32, synced_voters: u32, synced_joiners: u32) {
    let mode = Mode::Leader { synced_voters, synced_joiners };
    observed.view.serving.insert(leader, MemberView { mode, zxid: 9 });
}

/// No quorum: nobody serves, and these are what the claims were found with; none: the pod has not started.
fn lost(zxids: &[Option<u64>]) -> Observed {
    let mut observed = well(zxids.len() as u32);
    observed.view = EnsembleView::default();
    for (ordinal, zxid) in (0..).zip(zxids) {
        let pod = observed.pods.get_mut(&ordinal).expect("a pod");
        pod.ready = false;
        pod.uid.push_str("-anew");
        match zxid {
            None => pod.trouble = Some(Trouble { reason: "Unschedulable".into(), message: "no machine".into() }),
            Some(zxid) => drop(observed.reports.insert(ordinal, report(*zxid, Did::Joiner, None))),
        }
    }
    observed
}

fn report(zxid: u64, did: Did, token: Option<u64>) -> StartReport {
    let data = Some(HeldData { epoch: 1, zxid }).filter(|data| data.zxid > 0);
    StartReport { found: Some(Found { data, ..Found::default() }), did, reason: String::new(), token }
}

/// Every member has said what it holds.
fn held(zxids: &[u64], request: &str) -> Observed {
    let mut observed = lost(&vec![Some(0); zxids.len()]);
    for (ordinal, zxid) in (0..).zip(zxids) {
        observed.reports.insert(ordinal, report(*zxid, Did::Held, Some(4)));
    }
    let recovery = Some(Recovery { token: 4, step: RecoveryStep::Hold });
    let record = Record { recovery, ..plan(&lost(&vec![Some(0); zxids.len()])).record };
    observed.record = Some(known::record_files(&record));
    observed.request = Some(request.to_owned());
    observed
}

fn deleted(plan: &ZooKeeperPlan) -> Vec<&str> {
    let pod = |action: &'_ Action| matches!(action, Action::DeletePod { .. });
    let names = plan.actions.iter().filter(|action| pod(action)).map(|action| match action {
        Action::DeletePod { pod, .. } => pod.as_str(),
        _ => "",
    });
    names.collect()
}

fn step(plan: &ZooKeeperPlan) -> Option<&RecoveryStep> {
    plan.record.recovery.as_ref().map(|recovery| &recovery.step)
}

#[test]
fn an_ensemble_at_rest_is_left_alone() {
    let observed = well(3);
    let plan = plan(&observed);
    assert!(plan.actions.is_empty() && plan.progress.is_empty() && plan.quorum.is_none(), "{plan:?}");
    assert_eq!((plan.replicas, Some(known::record_files(&plan.record))), (3, observed.record));
}

#[test]
fn the_first_member_serves_then_its_claim_is_marked_then_the_record_says_so() {
    let mut observed = well(1);
    (observed.wish, observed.record, observed.set) = (3, None, None);
    let mark = observed.claims[&0].annotations.clone();
    observed.claims.get_mut(&0).expect("a claim").annotations.clear();
    observed.pods.clear();
    let (begun, view) = (Observed { view: EnsembleView::default(), ..observed.clone() }, observed.view.clone());
    let first = plan(&begun);
    assert_eq!((first.replicas, first.record.bootstrapped), (1, false));
    let serves = plan(&Observed { view, ..observed.clone() });
    assert!(matches!(&serves.actions[..], [Action::AnnotateClaim { claim, .. }] if claim == "data-demo-zk-0"));
    assert_eq!((serves.replicas, serves.record.bootstrapped), (1, false));
    observed.claims.get_mut(&0).expect("a claim").annotations = mark;
    let marked = plan(&observed);
    assert_eq!((marked.replicas, marked.record.bootstrapped, marked.record.membership.version), (3, true, VERSION));
}

#[test]
fn a_lost_record_is_made_again_from_the_marks_and_nobody_begins_anew() {
    let mut observed = lost(&[Some(5), Some(0), Some(0)]);
    let before = plan(&observed).record;
    observed.record = None;
    assert_eq!(plan(&observed).record, before);
    observed.record = Some([("bootstrapped".to_owned(), "perhaps".to_owned())].into());
    let unreadable = plan(&observed);
    assert!(unreadable.record == before && unreadable.hindrances[0].reason == "RecordUnreadable");
}

#[test]
fn joiners_run_are_synced_and_marked_before_one_change_adds_them_all() {
    let mut observed = well(3);
    observed.wish = 5;
    let raised = plan(&observed);
    assert!(raised.replicas == 5 && raised.actions.is_empty());
    add(&mut observed, 3);
    lead(&mut observed, 1, 2, 1);
    assert!(plan(&observed).actions.is_empty(), "one of two runs");
    add(&mut observed, 4);
    assert!(plan(&observed).actions.is_empty(), "one of two is synced");
    lead(&mut observed, 1, 2, 2);
    let marks = plan(&observed);
    assert_eq!(marks.actions.len(), 2);
    for action in marks.actions {
        let Action::AnnotateClaim { claim, annotations, .. } = action else { panic!("{action:?}") };
        let claim = observed.claims.values_mut().find(|of| of.name == claim).expect("a claim");
        claim.annotations.extend(annotations.into_iter().filter_map(|(key, value)| Some((key, value?))));
    }
    let joined = plan(&observed);
    let [Action::Reconfigure { version: VERSION, joining, leaving }] = &joined.actions[..] else {
        panic!("{joined:?}")
    };
    assert!(
        leaving.is_empty() && joining[0].starts_with("server.4=demo-zk-3.demo-zk.ns.svc.local:2888:3888:participant")
    );
    assert_eq!(joining.len(), 2);
}

#[test]
fn leavers_leave_then_lose_their_marks_and_then_their_pods() {
    let mut observed = well(5);
    observed.wish = 3;
    let leave = plan(&observed);
    let expected = Action::Reconfigure { version: VERSION, joining: Vec::new(), leaving: vec![4, 5] };
    assert_eq!((leave.actions, leave.replicas), (vec![expected], 5));
    observed.view.configuration = well(3).view.configuration;
    lead(&mut observed, 1, 2, 2);
    let unmark = plan(&observed);
    assert!(unmark.replicas == 5 && unmark.actions.iter().filter(|action| matches!(action, Action::AnnotateClaim { annotations, .. } if annotations[ENSEMBLE_MARK].is_none())).count() == 2);
    for ordinal in [3, 4] {
        observed.claims.get_mut(&ordinal).expect("a claim").annotations.clear();
    }
    assert_eq!(plan(&observed).replicas, 3);
    observed.view = EnsembleView::default();
    assert_eq!(plan(&observed).replicas, 5, "nobody says who the members are");
}

#[test]
fn pods_are_replaced_one_at_a_time_and_the_leader_last() {
    let mut observed = well(3);
    observed.pods.values_mut().for_each(|pod| pod.revision = "old".into());
    for expected in ["demo-zk-2", "demo-zk-0", "demo-zk-1"] {
        let next = plan(&observed);
        assert_eq!(deleted(&next), [expected]);
        lead(&mut observed, 1, 1, 0);
        assert!(deleted(&plan(&observed)).is_empty(), "one is not synced");
        lead(&mut observed, 1, 2, 0);
        observed.may_replace = false;
        assert!(deleted(&plan(&observed)).is_empty());
        observed.may_replace = true;
        observed.pods.values_mut().find(|pod| pod.name == expected).expect("a pod").revision = "new".into();
    }
    let stuck = observed.pods.get_mut(&0).expect("a pod");
    (stuck.ready, stuck.revision) = (false, "old".into());
    observed.view.serving.remove(&0);
    observed.may_replace = false;
    assert_eq!(deleted(&plan(&observed)), ["demo-zk-0"], "a newer revision may be what repairs it");
}

#[test]
fn a_member_that_has_served_is_not_called_empty_though_it_was_when_its_pod_started() {
    let mut observed = lost(&[Some(0), Some(0), Some(0)]);
    let pod = observed.pods[&0].uid.clone();
    observed.claims.get_mut(&0).expect("a claim").annotations.insert(SERVED_BY.into(), pod);
    let plan = plan(&observed);
    assert_eq!(plan.proposal.as_deref(), Some("from-member-0"));
    assert!(plan.quorum.expect("it is lost").message.contains("data-demo-zk-0 holds data"));
}

#[test]
fn a_lost_quorum_names_members_and_claims_and_what_to_do() {
    let said = |zxids: &[Option<u64>]| {
        let plan = plan(&lost(zxids));
        (plan.quorum.expect("it is lost"), plan.proposal)
    };
    let (finding, proposal) = said(&[Some(0), Some(0x1_0000_0007), Some(0)]);
    assert!(finding.reason == "QuorumLost" && proposal.as_deref() == Some("from-member-1"));
    for part in [
        "data-demo-zk-0 was empty",
        "data-demo-zk-1 holds data up to 100000007",
        "kvcluster.io/recover-zookeeper=from-member-1",
    ] {
        assert!(finding.message.contains(part), "{}", finding.message);
    }
    assert_eq!(said(&[Some(0), Some(0), Some(0)]).1.as_deref(), Some("new-ensemble"));
    let (finding, proposal) = said(&[Some(0), Some(7), None]);
    assert!(proposal.is_none() && finding.message.contains("demo-zk-2 does not run (Unschedulable: no machine)"));
    assert!(said(&[Some(7), Some(7), Some(0)]).1.is_none(), "they will elect");
    let mut passing = lost(&[Some(7), Some(7), Some(7)]);
    passing.pods.values_mut().for_each(|pod| pod.ready = true);
    assert_eq!(plan(&passing).quorum, None);
}

#[test]
fn a_recovery_stops_everybody_first_and_decides_from_what_all_say_then() {
    let mut observed = lost(&[Some(0), Some(7), Some(0)]);
    observed.request = Some("from-member-1".into());
    let begun = plan(&observed);
    assert!(step(&begun) == Some(&RecoveryStep::Hold) && begun.actions.is_empty());
    observed.record = Some(known::record_files(&begun.record));
    assert_eq!(deleted(&plan(&observed)).len(), 3, "what was said before may be out of date");

    let decided = plan(&held(&[0, 7, 0], "from-member-1"));
    assert_eq!(step(&decided), Some(&RecoveryStep::Release { mark: vec![0] }));
    let five = plan(&held(&[0, 7, 0, 0, 0], "from-member-1"));
    assert_eq!(step(&five), Some(&RecoveryStep::Release { mark: vec![0, 2] }), "two more are needed for three");
    let enough = plan(&held(&[6, 7, 0], "new-ensemble"));
    assert_eq!(step(&enough), Some(&RecoveryStep::Release { mark: Vec::new() }), "nothing was lost after all");
    assert_eq!(step(&plan(&held(&[0, 0, 0], "new-ensemble"))), Some(&RecoveryStep::New));
}

#[test]
fn a_recovery_that_would_lose_what_is_there_is_refused() {
    for (zxids, request, advice) in [
        ([0, 7, 0], "new-ensemble", "write from-member-1"),
        ([0, 7, 0], "from-member-0", "write from-member-1"),
        ([0, 0, 0], "from-member-0", "write new-ensemble"),
        ([0, 7, 0], "anything", "neither from-member-ORDINAL nor new-ensemble"),
    ] {
        let refused = plan(&held(&zxids, request));
        assert_eq!(step(&refused), Some(&RecoveryStep::Hold));
        assert!(refused.hindrances[0].message.contains(advice), "{:?}", refused.hindrances);
    }
    let mut unreadable = held(&[0, 0, 0], "new-ensemble");
    unreadable.reports.get_mut(&2).expect("a report").found = None;
    assert_eq!(step(&plan(&unreadable)), Some(&RecoveryStep::Hold));
}

#[test]
fn a_request_that_is_not_needed_and_one_that_is_done_are_taken_off() {
    let finishes = |observed: &Observed| matches!(plan(observed).actions[..], [Action::FinishRecovery { .. }]);
    let mut observed = well(3);
    observed.request = Some("new-ensemble".into());
    assert!(finishes(&observed));
    let recovery = Some(Recovery { token: 4, step: RecoveryStep::Release { mark: vec![0] } });
    let record = Record { recovery, ..plan(&well(3)).record };
    observed.record = Some(known::record_files(&record));
    assert!(finishes(&observed) && plan(&observed).record.recovery.is_none());
}
