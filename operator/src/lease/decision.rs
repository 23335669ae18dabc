//! Whose turn it is, by what was read of the Lease and when. Nobody else's clock is believed.

use std::time::{Duration, Instant};

use k8s_openapi::{api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};

/// How long others leave the Lease to a holder of whom nothing is heard.
pub(super) const LEASE_SECONDS: i32 = 15;
/// A Lease of another program that says it is to be left alone for longer is not believed.
const MAX_LEASE: Duration = Duration::from_secs(10 * 60);

/// A Lease, and since when it has been as it is.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    spec: LeaseSpec,
    since: Instant,
}

/// What is to be done about the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is ours: write that we are still here.
    Renew,
    /// It is nobody's any more: write our name.
    Take,
    /// It is somebody else's.
    Wait {
        /// Whose.
        holder: String,
    },
}

impl Observed {
    /// What was read at `now`, after `before`.
    pub(super) fn new(spec: LeaseSpec, now: Instant, before: Option<&Self>) -> Self {
        let since = before.filter(|before| before.spec == spec).map_or(now, |before| before.since);
        Self { spec, since }
    }

    pub(super) fn turn(&self, identity: &str, now: Instant) -> Turn {
        let Some(holder) = self.spec.holder_identity.as_deref().filter(|holder| !holder.is_empty()) else {
            return Turn::Take;
        };
        let seconds = self.spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let duration = seconds.map_or(Duration::ZERO, Duration::from_secs).min(MAX_LEASE);
        match () {
            () if holder == identity => Turn::Renew,
            // By our own clock, since it was written last: its `renewTime` is by another one's.
            () if now.saturating_duration_since(self.since) >= duration => Turn::Take,
            () => Turn::Wait { holder: holder.to_owned() },
        }
    }
}

/// The Lease with us as its holder.
pub(super) fn held(before: &LeaseSpec, identity: &str, now: Timestamp) -> LeaseSpec {
    let ours = before.holder_identity.as_deref() == Some(identity);
    let transitions = before.lease_transitions.unwrap_or_default();
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(LEASE_SECONDS),
        acquire_time: before.acquire_time.clone().filter(|_| ours).or(Some(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if ours { transitions } else { transitions.saturating_add(1) }),
        ..before.clone()
    }
}

/// The Lease with no holder.
pub(super) fn released(before: &LeaseSpec, now: Timestamp) -> LeaseSpec {
    LeaseSpec { holder_identity: None, acquire_time: None, renew_time: Some(MicroTime(now)), ..before.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(LEASE_SECONDS as u64);
    const MOMENT: Duration = Duration::from_millis(1);

    fn of(holder: &str, renewed: i64) -> LeaseSpec {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let spec = held(&LeaseSpec::default(), holder, at(0));
        LeaseSpec { renew_time: Some(MicroTime(at(renewed))), ..spec }
    }

    #[test]
    fn a_lease_without_holder_is_taken() {
        let now = Instant::now();
        assert_eq!(Observed::new(LeaseSpec::default(), now, None).turn("a", now), Turn::Take);
        let empty = LeaseSpec { holder_identity: Some(String::new()), ..of("b", 0) };
        assert_eq!(Observed::new(empty, now, None).turn("a", now), Turn::Take);
        let released = released(&of("b", 0), Timestamp::UNIX_EPOCH);
        assert_eq!(Observed::new(released, now, None).turn("a", now), Turn::Take);
    }

    #[test]
    fn our_own_lease_is_renewed() {
        let now = Instant::now();
        assert_eq!(Observed::new(of("a", 0), now, None).turn("a", now + LEASE * 2), Turn::Renew);
    }

    #[test]
    fn anothers_lease_is_taken_only_when_it_has_been_still_for_its_duration_by_our_clock() {
        let start = Instant::now();
        // Its holder's clock is decades behind, which says nothing.
        let first = Observed::new(of("b", 0), start, None);
        assert_eq!(first.turn("a", start), Turn::Wait { holder: "b".into() });
        let same = Observed::new(of("b", 0), start + LEASE - MOMENT, Some(&first));
        assert_eq!(same.turn("a", start + LEASE - MOMENT), Turn::Wait { holder: "b".into() });
        assert_eq!(same.turn("a", start + LEASE), Turn::Take);
        let renewed = Observed::new(of("b", 2), start + LEASE, Some(&same));
        assert_eq!(renewed.turn("a", start + LEASE), Turn::Wait { holder: "b".into() });
        assert_eq!(renewed.turn("a", start + LEASE * 2), Turn::Take);
    }

    #[test]
    fn a_duration_that_makes_no_sense_holds_nobody_up_for_ever() {
        let now = Instant::now();
        let with = |seconds| {
            let spec = LeaseSpec { lease_duration_seconds: seconds, ..of("b", 0) };
            Observed::new(spec, now, None)
        };
        assert_eq!(with(None).turn("a", now), Turn::Take);
        assert_eq!(with(Some(-1)).turn("a", now), Turn::Take);
        assert_eq!(with(Some(i32::MAX)).turn("a", now + MAX_LEASE), Turn::Take);
    }

    #[test]
    fn a_change_of_holder_is_counted_and_dated_and_a_renewal_is_not() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let taken = held(&of("b", 0), "a", at(5));
        assert_eq!((taken.lease_transitions, taken.acquire_time.clone()), (Some(2), Some(MicroTime(at(5)))));
        let renewed = held(&taken, "a", at(7));
        assert_eq!((renewed.lease_transitions, renewed.acquire_time), (Some(2), Some(MicroTime(at(5)))));
        assert_eq!(renewed.renew_time, Some(MicroTime(at(7))));
    }
}
