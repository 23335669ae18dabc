use kv_proto::v1::ErrorReason;

use crate::{Error, failure::Failure};

/// What a request does, as far as sending it again is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Changes nothing that a caller could see: free to repeat.
    Harmless,
    /// A write that carries a session: applied at most once, however often it is sent.
    Once,
    /// A write without: applied as often as it arrives.
    Plain,
}

/// What is known of a request from the attempts so far, and so what may be done next.
#[derive(Debug)]
pub(crate) struct Progress {
    kind: Kind,
    /// An attempt ended unknown, so the write may have been applied, whatever later attempts are told.
    maybe_applied: bool,
}

/// What to do after a failed attempt.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Send it again, under the same number if it has one.
    Again,
    /// Open a new session and send it again.
    NewSession,
    /// Tell the caller.
    Fail(Error),
}

impl Progress {
    pub const fn new(kind: Kind) -> Self {
        Self { kind, maybe_applied: false }
    }

    pub fn judge(&mut self, failure: &Failure) -> Verdict {
        use ErrorReason::{Exhausted, NotAvailable, RevisionMismatch, SessionExpired};
        if !failure.is_definite() {
            self.maybe_applied = self.kind != Kind::Harmless;
            return if self.kind == Kind::Plain { self.fail(failure) } else { Verdict::Again };
        }
        match (failure.reason(), self.kind) {
            (NotAvailable | Exhausted, _) => Verdict::Again,
            // The shard judges a request number once and keeps the result: this one is of the first attempt as well.
            (RevisionMismatch, Kind::Once) => Verdict::Fail(failure.clone().into_error()),
            (SessionExpired, Kind::Once) if !self.maybe_applied => Verdict::NewSession,
            _ => self.fail(failure),
        }
    }

    /// The error when there is no time left for another attempt.
    pub fn give_up(&self, last: &Failure) -> Error {
        if self.maybe_applied { Error::OutcomeUnknown(last.info().message.clone()) } else { last.clone().into_error() }
    }

    fn fail(&self, failure: &Failure) -> Verdict {
        Verdict::Fail(self.give_up(failure))
    }
}

#[cfg(test)]
mod tests {
    use kv_proto::v1::ErrorInfo;

    use super::*;

    fn answer(reason: ErrorReason, definite: bool) -> Failure {
        ErrorInfo { reason: reason.into(), definite, message: "m".into(), ..ErrorInfo::default() }.into()
    }

    fn unknown() -> Error {
        Error::OutcomeUnknown("m".into())
    }

    #[test]
    fn what_is_definite_and_passes_is_sent_again() {
        for kind in [Kind::Harmless, Kind::Once, Kind::Plain] {
            let mut progress = Progress::new(kind);
            assert_eq!(progress.judge(&answer(ErrorReason::NotAvailable, true)), Verdict::Again);
            assert_eq!(progress.judge(&answer(ErrorReason::Exhausted, true)), Verdict::Again);
            assert!(progress.give_up(&answer(ErrorReason::NotAvailable, true)).is_definite());
            let invalid = Verdict::Fail(Error::Invalid("m".into()));
            assert_eq!(progress.judge(&answer(ErrorReason::Invalid, true)), invalid);
        }
    }

    #[test]
    fn an_unknown_outcome_is_sent_again_only_under_a_session() {
        let lost = answer(ErrorReason::OutcomeUnknown, false);
        assert_eq!(Progress::new(Kind::Plain).judge(&lost), Verdict::Fail(unknown()));
        assert_eq!(Progress::new(Kind::Once).judge(&lost), Verdict::Again);
        assert_eq!(Progress::new(Kind::Harmless).judge(&lost), Verdict::Again);
    }

    #[test]
    fn after_an_unknown_outcome_no_refusal_makes_it_definite() {
        let refusals =
            [ErrorReason::SessionExpired, ErrorReason::Invalid, ErrorReason::CrossShard, ErrorReason::WrongCluster];
        for reason in refusals {
            let mut progress = Progress::new(Kind::Once);
            progress.judge(&answer(ErrorReason::OutcomeUnknown, false));
            assert_eq!(progress.judge(&answer(reason, true)), Verdict::Fail(unknown()), "{reason:?}");
        }
        let mut progress = Progress::new(Kind::Once);
        progress.judge(&answer(ErrorReason::OutcomeUnknown, false));
        assert_eq!(progress.judge(&answer(ErrorReason::NotAvailable, true)), Verdict::Again);
        assert_eq!(progress.give_up(&answer(ErrorReason::NotAvailable, true)), unknown());
    }

    #[test]
    fn the_kept_result_of_a_request_number_is_definite_on_a_retry_too() {
        let mut progress = Progress::new(Kind::Once);
        progress.judge(&answer(ErrorReason::OutcomeUnknown, false));
        let mismatch = Verdict::Fail(Error::RevisionMismatch { actual: 0 });
        assert_eq!(progress.judge(&answer(ErrorReason::RevisionMismatch, true)), mismatch);
    }

    #[test]
    fn an_expired_session_is_replaced_only_before_anything_is_unknown() {
        let expired = answer(ErrorReason::SessionExpired, true);
        let mut progress = Progress::new(Kind::Once);
        assert_eq!(progress.judge(&answer(ErrorReason::NotAvailable, true)), Verdict::Again);
        assert_eq!(progress.judge(&expired), Verdict::NewSession);
        progress.judge(&answer(ErrorReason::OutcomeUnknown, false));
        assert_eq!(progress.judge(&expired), Verdict::Fail(unknown()));
    }
}
