use crate::{
    claim::Claim,
    membership::{Member, Membership, MembershipError, Role},
    record::{Record, Recovery, RecoveryStep},
};

/// What is to be done to a claim before ZooKeeper starts on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It begins the ensemble: nothing was on it, and nobody has served.
    FirstBoot(Membership),
    /// It goes on with the configuration that it holds.
    LaterBoot,
    /// It goes on with this configuration, which counts on its vote: the one that it holds is older and does not.
    Adopt(Membership),
    /// It joins: it knows the others, and does not count itself among those who vote.
    Join {
        /// The others, and itself as observer.
        membership: Membership,
        /// Empties the data folders first: they hold nothing but what an unfinished recovery has left.
        blank: bool,
    },
    /// It votes though it holds nothing, so that those who hold something are a quorum again.
    Recover(Membership),
    /// It does not start, and says what it holds.
    Hold {
        /// The recovery.
        token: u64,
    },
}

/// Why ZooKeeper must not start.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The claim belongs to another member.
    #[error("the claim is that of member {found}, and this is member {own}: mount this member's own")]
    OtherMember {
        /// Id on the claim.
        found: u32,
        /// Own id.
        own: u32,
    },
    /// It would have to begin an ensemble, and must not.
    #[error(
        "this claim holds {held}, and no other member is known that could be joined: a new ensemble is begun only where none \
         was, or by the recovery that the condition ZooKeeperQuorum tells"
    )]
    Alone {
        /// What the claim holds.
        held: &'static str,
    },
    /// It is to vote with nothing, and the record does not list it.
    #[error("this member is to help in recovery {token}, and is not among the recorded members")]
    NotRecorded {
        /// The recovery.
        token: u64,
    },
    /// Lists of members that contradict each other.
    #[error("the members can't be written")]
    Members(#[from] MembershipError),
}

/// Decides what is to be done. `own` is the member itself, as one who votes.
///
/// Never yields a membership in which nobody but itself votes, but for [`Step::FirstBoot`]: a second such view of the same
/// ensemble would be a second ensemble. Never has a member vote with an empty database but at the first boot and in a
/// recovery, and there only on a claim that was seen to be empty under the very recovery.
///
/// # Errors
/// Any [`Refusal`].
pub fn decide(own: &Member, record: &Record, claim: &Claim) -> Result<Step, Refusal> {
    if let Some(found) = claim.id.filter(|id| *id != own.id) {
        return Err(Refusal::OtherMember { found, own: own.id });
    }
    let ordinal = own.id - 1;
    let alone = || Membership::new(0, [own.clone()]);
    let mut left_over = false;
    if let Some(Recovery { token, step }) = &record.recovery {
        let seen_empty = claim.held == Some(*token) && !claim.holds_data();
        match step {
            RecoveryStep::Hold => return Ok(Step::Hold { token: *token }),
            RecoveryStep::New if ordinal == 0 && seen_empty => return Ok(Step::FirstBoot(alone()?)),
            RecoveryStep::Release { mark } if mark.contains(&ordinal) && seen_empty => {
                let listed = record.membership.votes(own.id) && record.membership.voters().count() > 1;
                let refused = Refusal::NotRecorded { token: *token };
                return if listed { Ok(Step::Recover(record.membership.clone())) } else { Err(refused) };
            }
            // What an earlier recovery has left may vote, and must not: who may is decided for all of them together.
            RecoveryStep::New => left_over = ordinal != 0,
            RecoveryStep::Release { mark } => left_over = !mark.contains(&ordinal),
        }
        left_over &= claim.data.is_some() && !claim.holds_data();
    }
    if !record.bootstrapped && ordinal == 0 && claim.data.is_none() {
        return Ok(Step::FirstBoot(alone()?));
    }
    if claim.votes(own.id) && !left_over && (claim.marker || goes_on(own, record, claim)) {
        return Ok(Step::LaterBoot);
    }
    if claim.holds_data() { rejoin(own, record, claim) } else { join(own, &record.membership, 0, claim, left_over) }
}

/// Whether the configuration that a claim holds may be voted by. One that holds data may. An empty database votes only as one of
/// the recorded ensemble: what a recovery has left that came to nothing may hold the configuration of an ensemble before it.
fn goes_on(own: &Member, record: &Record, claim: &Claim) -> bool {
    let Some(held) = claim.membership.as_ref().filter(|_| claim.data.is_some()) else { return false };
    let alone = |membership: &Membership| membership.voters().eq([own.id]);
    let recorded = &record.membership;
    let is_recorded = held.version == recorded.version || alone(held) && alone(recorded);
    claim.holds_data() || recorded.members().is_empty() || is_recorded
}

/// One that holds data, and a configuration that does not count on its vote. It takes up the newest configuration that is known to
/// have been agreed on. If that one doesn't count on its vote either, it adds itself as observer under the version below: so it
/// learns the current one from the others, and does not vote before for members that hold an old one themselves, which could be a
/// second ensemble. Who votes is never made up, since members that lag behind take it over.
fn rejoin(own: &Member, record: &Record, claim: &Claim) -> Result<Step, Refusal> {
    let recorded = &record.membership;
    let newer = |held: &&Membership| recorded.members().is_empty() || held.version > recorded.version;
    let known = claim.membership.as_ref().filter(newer).unwrap_or(recorded);
    if known.votes(own.id) && known.voters().count() > 1 {
        return Ok(Step::Adopt(known.clone()));
    }
    join(own, known, known.version.saturating_sub(1), claim, false)
}

fn join(own: &Member, known: &Membership, version: u64, claim: &Claim, blank: bool) -> Result<Step, Refusal> {
    let others = known.members().iter().filter(|member| member.id != own.id);
    let members: Vec<_> = others.cloned().chain([own.with_role(Role::Observer)]).collect();
    if !members.iter().any(|member| member.role == Role::Participant) {
        let held = match (claim.holds_data(), claim.data.is_some()) {
            (true, _) => "data without a configuration that counts on its vote",
            (false, true) => "an empty database",
            (false, false) => "nothing",
        };
        return Err(Refusal::Alone { held });
    }
    Ok(Step::Join {
        membership: Membership::new(version, members)?,
        blank: blank || claim.data.is_some() && !claim.holds_data(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Data;

    fn member(id: u32) -> Member {
        format!("server.{id}=h{id}:1:2;3").parse().expect("valid")
    }

    fn voters(ids: &[u32], version: u64) -> Membership {
        Membership::new(version, ids.iter().map(|id| member(*id))).expect("valid")
    }

    fn record(ids: &[u32], recovery: Option<RecoveryStep>) -> Record {
        let recovery = recovery.map(|step| Recovery { token: 7, step });
        Record { bootstrapped: true, membership: voters(ids, 0x100), recovery }
    }

    fn holding(zxid: u64, ids: &[u32]) -> Claim {
        let data = Some(Data { zxid, epoch: 1, accepted_epoch: 1 });
        Claim { membership: Some(voters(ids, 0x90)), data, ..Claim::default() }
    }

    /// Every claim and record that differ in what counts.
    fn all_cases() -> Vec<(Record, Claim)> {
        let steps = [
            None,
            Some(RecoveryStep::Hold),
            Some(RecoveryStep::New),
            Some(RecoveryStep::Release { mark: vec![0] }),
            Some(RecoveryStep::Release { mark: vec![1, 2] }),
        ];
        let mut cases = Vec::new();
        for step in steps {
            for ids in [&[][..], &[1], &[2], &[1, 2, 3]] {
                for bootstrapped in [false, true] {
                    let record = Record { bootstrapped, ..record(ids, step.clone()) };
                    for listed in
                        [None, Some(voters(&[1], 0x90)), Some(voters(&[1, 2, 3], 0x90)), Some(voters(&[2, 3], 1))]
                    {
                        for zxid in [None, Some(0), Some(5)] {
                            for (marker, held) in [(false, None), (true, None), (false, Some(6)), (false, Some(7))] {
                                let data = zxid.map(|zxid| Data { zxid, epoch: 0, accepted_epoch: 0 });
                                let claim =
                                    Claim { data, membership: listed.clone(), marker, held, ..Claim::default() };
                                cases.push((record.clone(), claim));
                            }
                        }
                    }
                }
            }
        }
        cases
    }

    #[test]
    fn only_a_first_boot_makes_a_view_with_one_voter_and_only_where_nobody_has_served() {
        for (record, claim) in all_cases() {
            for id in 1..=3 {
                match decide(&member(id), &record, &claim) {
                    Ok(Step::FirstBoot(membership)) => {
                        let anew = record.recovery == Some(Recovery { token: 7, step: RecoveryStep::New });
                        assert!(!record.bootstrapped || anew && claim.held == Some(7), "{record:?} {claim:?}");
                        assert!(id == 1 && !claim.holds_data() && membership.voters().eq([1]));
                    }
                    Ok(Step::Join { membership, blank }) => {
                        assert!(!membership.votes(id) && membership.voters().count() > 0, "{record:?} {claim:?}");
                        assert!(!blank || !claim.holds_data());
                    }
                    Ok(Step::Recover(membership)) => {
                        assert!(membership.quorum() > 1 && claim.held == Some(7) && !claim.holds_data());
                    }
                    Ok(Step::LaterBoot) => assert!(claim.votes(id)),
                    Ok(Step::Adopt(membership)) => {
                        assert!(claim.holds_data() && membership.votes(id) && membership.quorum() > 1);
                    }
                    Ok(Step::Hold { token }) => assert_eq!(token, 7),
                    Err(_) => {}
                }
            }
        }
    }

    #[test]
    fn a_member_goes_on_with_what_it_holds_whatever_the_record_says() {
        for ids in [&[][..], &[1], &[1, 2, 3]] {
            assert_eq!(decide(&member(2), &record(ids, None), &holding(9, &[1, 2, 3])), Ok(Step::LaterBoot));
        }
        assert_eq!(decide(&member(1), &record(&[1], None), &holding(0, &[1])), Ok(Step::LaterBoot));
    }

    #[test]
    fn a_joiner_with_data_holds_the_version_below_the_recorded_one_and_one_without_holds_none() {
        let version = |claim: &Claim| match decide(&member(4), &record(&[1, 2, 3], None), claim) {
            Ok(Step::Join { membership, blank: false }) => Some((membership.version, membership.members().len())),
            _ => None,
        };
        assert_eq!(version(&holding(9, &[1, 2, 3])), Some((0xff, 4)));
        assert_eq!(version(&Claim::default()), Some((0, 4)));
    }

    #[test]
    fn one_that_holds_data_takes_up_the_newest_configuration_that_counts_on_its_vote() {
        let claim = holding(9, &[1, 2, 3]);
        assert_eq!(
            decide(&member(4), &record(&[1, 2, 3, 4, 5], None), &claim),
            Ok(Step::Adopt(voters(&[1, 2, 3, 4, 5], 0x100)))
        );
        // It was removed since, and knows it.
        let removed = Claim { membership: Some(voters(&[1, 2, 3], 0x110)), ..claim };
        let joins = decide(&member(4), &record(&[1, 2, 3, 4, 5], None), &removed);
        assert!(
            matches!(&joins, Ok(Step::Join { membership, .. }) if membership.version == 0x10f && membership.voters().eq([1, 2, 3]))
        );
    }

    #[test]
    fn an_empty_database_of_another_ensemble_does_not_vote() {
        let left = holding(0, &[1, 2, 3]);
        assert!(matches!(decide(&member(2), &record(&[1], None), &left), Ok(Step::Join { blank: true, .. })));
        let recorded = Claim { membership: Some(voters(&[1, 2, 3], 0x100)), ..left };
        assert_eq!(decide(&member(2), &record(&[1, 2, 3], None), &recorded), Ok(Step::LaterBoot));
    }

    #[test]
    fn a_wiped_member_joins_and_the_only_member_is_refused() {
        let joins = decide(&member(2), &record(&[1, 2, 3], None), &Claim::default());
        assert!(matches!(&joins, Ok(Step::Join { membership, .. }) if membership.voters().eq([1, 3])), "{joins:?}");
        let conf_only = Claim { data: None, ..holding(9, &[1, 2, 3]) };
        assert!(matches!(decide(&member(2), &record(&[1, 2, 3], None), &conf_only), Ok(Step::Join { .. })));
        assert!(matches!(decide(&member(1), &record(&[1], None), &Claim::default()), Err(Refusal::Alone { .. })));
    }

    #[test]
    fn a_claim_is_marked_once_and_only_as_it_was_seen() {
        let release = record(&[1, 2, 3], Some(RecoveryStep::Release { mark: vec![1] }));
        let seen = Claim { held: Some(7), ..Claim::default() };
        assert!(matches!(decide(&member(2), &release, &seen), Ok(Step::Recover(_))));
        // Wiped again since, or never looked at: it lost what it may have voted for.
        assert!(matches!(decide(&member(2), &release, &Claim::default()), Ok(Step::Join { .. })));
        assert!(matches!(decide(&member(3), &release, &seen), Ok(Step::Join { .. })));
        let data = Claim { held: Some(7), ..holding(9, &[1, 2, 3]) };
        assert_eq!(decide(&member(2), &release, &data), Ok(Step::LaterBoot));
    }

    #[test]
    fn what_an_unfinished_recovery_left_does_not_vote_in_the_next_and_what_this_one_made_does() {
        let release = record(&[1, 2, 3], Some(RecoveryStep::Release { mark: vec![1] }));
        let left = Claim { held: Some(7), ..holding(0, &[1, 2, 3]) };
        assert!(matches!(decide(&member(3), &release, &left), Ok(Step::Join { blank: true, .. })));
        assert!(matches!(decide(&member(2), &release, &left), Ok(Step::Recover(_))));
        let made = Claim { held: None, membership: Some(voters(&[1, 2, 3], 0x100)), ..left };
        assert_eq!(decide(&member(2), &release, &made), Ok(Step::LaterBoot));
        let new = record(&[], Some(RecoveryStep::New));
        assert_eq!(decide(&member(1), &new, &holding(0, &[1])), Ok(Step::LaterBoot));
    }

    #[test]
    fn the_claim_of_another_member_is_refused() {
        let claim = Claim { id: Some(3), ..Claim::default() };
        let refused = decide(&member(2), &record(&[1, 2, 3], None), &claim);
        assert_eq!(refused, Err(Refusal::OtherMember { found: 3, own: 2 }));
    }
}
