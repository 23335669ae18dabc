use kv_proto::v1::{ErrorInfo, ErrorReason};

use crate::Error;

/// Why one attempt at a request failed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    info: Box<ErrorInfo>,
    /// The node did not answer, as against answering with an error.
    pub unanswered: bool,
}

impl Failure {
    /// The request never reached a node.
    pub fn not_sent(message: impl Into<String>) -> Self {
        Self::of(ErrorReason::NotAvailable, message.into(), true, true)
    }

    /// The request was handed to a connection that gave no answer.
    pub fn unanswered(message: impl Into<String>) -> Self {
        Self::of(ErrorReason::OutcomeUnknown, message.into(), false, true)
    }

    /// A bound of this client was reached; nothing was sent.
    pub fn exhausted(message: impl Into<String>) -> Self {
        Self::of(ErrorReason::Exhausted, message.into(), true, false)
    }

    /// The node broke the protocol.
    pub fn protocol(message: impl Into<String>) -> Self {
        Self::of(ErrorReason::Fault, message.into(), false, false)
    }

    fn of(reason: ErrorReason, message: String, definite: bool, unanswered: bool) -> Self {
        let info = ErrorInfo { reason: reason.into(), message, definite, ..ErrorInfo::default() };
        Self { info: Box::new(info), unanswered }
    }

    pub fn info(&self) -> &ErrorInfo {
        &self.info
    }

    pub fn reason(&self) -> ErrorReason {
        self.info.reason()
    }

    pub fn is_definite(&self) -> bool {
        self.info.definite
    }

    /// As an error of a request that changes nothing, or of one where it is certain that nothing was changed.
    pub fn into_error(self) -> Error {
        let message = self.info.message;
        match ErrorReason::try_from(self.info.reason).unwrap_or_default() {
            ErrorReason::Invalid => Error::Invalid(message),
            ErrorReason::Exhausted => Error::Exhausted(message),
            ErrorReason::NotAvailable | ErrorReason::OutcomeUnknown => Error::Unavailable(message),
            ErrorReason::RevisionMismatch => Error::RevisionMismatch { actual: self.info.actual_revision },
            ErrorReason::CrossShard => Error::CrossShard { boundary: self.info.boundary },
            ErrorReason::WrongCluster => Error::WrongCluster(message),
            ErrorReason::Compacted => Error::Compacted { token: self.info.boundary },
            ErrorReason::NoSuch => Error::NoSuch(message),
            ErrorReason::Refused | ErrorReason::SessionExpired => Error::Refused(message),
            ErrorReason::Fault | ErrorReason::Unspecified => Error::Fault(message),
        }
    }
}

impl From<ErrorInfo> for Failure {
    fn from(info: ErrorInfo) -> Self {
        Self { info: Box::new(info), unanswered: false }
    }
}

/// A unary call's error: the node's own words are in the details. Without them the status was made on the way (by gRPC
/// or the connection), and nothing is known of the request.
impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        match ErrorInfo::from_status(&status) {
            Some(info) => info.into(),
            None if status.code() == tonic::Code::Unimplemented => {
                let message = format!("the node does not know this request: {}", status.message());
                Self::of(ErrorReason::Refused, message, true, false)
            }
            None => Self::unanswered(describe(&status)),
        }
    }
}

/// A status with its causes: "transport error" alone helps nobody.
fn describe(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&more);
        }
        cause = error.source();
    }
    if text.is_empty() { format!("gRPC status {:?}", status.code()) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_details_of_a_status_are_the_nodes_own_words() {
        let info = ErrorInfo {
            reason: ErrorReason::RevisionMismatch.into(),
            definite: true,
            actual_revision: 7,
            ..ErrorInfo::default()
        };
        let details = info.to_details(tonic::Code::FailedPrecondition);
        let status = tonic::Status::with_details(tonic::Code::FailedPrecondition, "mismatch", details);
        let failure = Failure::from(status);
        assert!(failure.is_definite() && !failure.unanswered);
        assert_eq!(failure.into_error(), Error::RevisionMismatch { actual: 7 });
    }

    #[test]
    fn a_status_without_details_leaves_the_outcome_open() {
        let failure = Failure::from(tonic::Status::unavailable("connection reset"));
        assert!(!failure.is_definite() && failure.unanswered);
        let failure = Failure::from(tonic::Status::unimplemented("no such method"));
        assert!(failure.is_definite() && !failure.unanswered);
    }

    #[test]
    fn a_reason_of_a_newer_node_is_kept_as_a_fault() {
        let info = ErrorInfo { reason: 99, message: "new".into(), definite: true, ..ErrorInfo::default() };
        assert_eq!(Failure::from(info).into_error(), Error::Fault("new".into()));
    }
}
