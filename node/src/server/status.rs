//! Errors on their way to the client: the whole error on a pipeline, the details of a status in a unary call.

use bytes::Bytes;
use kv_proto::v1::{ErrorInfo, ErrorReason, Location};
use kv_types::InvalidKey;
use tonic::{Code, Status};

use crate::{causes, driver::request::Failure};

/// Why a request was not carried out, as the client is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ErrorAnswer(Box<ErrorInfo>);

impl ErrorAnswer {
    fn new(reason: ErrorReason, definite: bool, message: impl Into<String>) -> Self {
        let info = ErrorInfo { reason: reason.into(), message: message.into(), definite, ..ErrorInfo::default() };
        Self(Box::new(info))
    }

    /// Breaks a limit or makes no sense.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorReason::Invalid, true, message)
    }

    /// A bound is reached.
    pub(crate) fn exhausted(message: impl Into<String>) -> Self {
        Self::new(ErrorReason::Exhausted, true, message)
    }

    /// Nothing was done; later it may work.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorReason::NotAvailable, true, message)
    }

    /// It may or may not have been done.
    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self::new(ErrorReason::OutcomeUnknown, false, message)
    }

    /// The client means another cluster.
    pub(crate) fn wrong_cluster(message: impl Into<String>) -> Self {
        Self::new(ErrorReason::WrongCluster, true, message)
    }

    /// No such shard or node.
    pub(crate) fn no_such(message: impl Into<String>) -> Self {
        Self::new(ErrorReason::NoSuch, true, message)
    }

    /// An administrative request that can't be done now.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorReason::Refused, true, message)
    }

    /// The watch's token is older than the kept log; `token` is where to start anew.
    pub(crate) fn compacted(message: impl Into<String>, token: Bytes) -> Self {
        Self::new(ErrorReason::Compacted, true, message).with_token(token)
    }

    /// With the token by which a watch goes on.
    pub(crate) fn with_token(mut self, token: Bytes) -> Self {
        self.0.boundary = token;
        self
    }

    /// The node is at fault.
    pub(crate) fn fault(message: impl Into<String>) -> Self {
        Self::new(ErrorReason::Fault, false, message)
    }

    /// With where the key is served.
    pub(crate) fn at(mut self, location: Option<Location>) -> Self {
        self.0.location = location;
        self
    }

    pub(crate) fn reason(&self) -> ErrorReason {
        self.0.reason()
    }

    pub(crate) fn is_definite(&self) -> bool {
        self.0.definite
    }

    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    pub(crate) fn into_info(self) -> ErrorInfo {
        *self.0
    }

    /// What a peer answered on a pipeline.
    pub(crate) fn from_info(info: ErrorInfo) -> Self {
        Self(Box::new(info))
    }

    /// What a peer answered, or what became of the connection to it. Only a failure to connect shows that the request was
    /// not sent.
    pub(crate) fn from_peer(address: &str, status: &Status) -> Self {
        if let Some(info) = ErrorInfo::from_status(status) {
            return Self(Box::new(info));
        }
        let causes = causes(status);
        let why =
            if status.message().is_empty() { causes.text } else { format!("{}: {}", status.message(), causes.text) };
        let why = why.trim_end_matches([':', ' ']);
        if causes.not_connected {
            return Self::unavailable(format!("can't connect to {address}: {why}"));
        }
        if status.code() == Code::Unimplemented {
            return Self::refused(format!("{address} does not know this request"));
        }
        Self::unknown(format!("the connection to {address} was lost: {why}"))
    }
}

struct Causes {
    text: String,
    not_connected: bool,
}

fn causes(status: &Status) -> Causes {
    let mut causes = Causes { text: String::new(), not_connected: false };
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        causes.not_connected |= error.is::<tonic::ConnectError>();
        // The innermost one is what the operating system said.
        causes.text = error.to_string();
        source = error.source();
    }
    causes
}

impl From<Failure> for ErrorAnswer {
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        match failure {
            Failure::NotHere | Failure::Unavailable(_) => Self::unavailable(message),
            Failure::Unknown(_) => Self::unknown(message),
            Failure::Exhausted(_) => Self::exhausted(message),
            Failure::Mismatch { key: _, actual } => {
                let mut error = Self::new(ErrorReason::RevisionMismatch, true, message);
                error.0.actual_revision = actual;
                error
            }
            Failure::SessionExpired => Self::new(ErrorReason::SessionExpired, true, message),
            Failure::CrossShard { boundary } => {
                let mut error = Self::new(ErrorReason::CrossShard, true, message);
                error.0.boundary = boundary;
                error
            }
            Failure::Invalid(_) => Self::invalid(message),
            Failure::NoSuch(_) => Self::no_such(message),
            Failure::Refused(_) => Self::refused(message),
            Failure::Fault(_) => Self::fault(message),
        }
    }
}

impl From<kv_cluster::Error> for ErrorAnswer {
    fn from(error: kv_cluster::Error) -> Self {
        use kv_cluster::Error;
        let message = causes::chain(&error);
        match error {
            Error::Unknown(_) => Self::unknown(message),
            Error::NotConnected(_) | Error::NotMaster { .. } | Error::ShutDown => Self::unavailable(message),
            Error::NoShard(_) | Error::NoNode(_) => Self::no_such(message),
            Error::InvalidSetting { .. } | Error::InvalidConnect { .. } => Self::invalid(message),
            Error::Refused { .. }
            | Error::ClusterExists { .. }
            | Error::ShardExists(_)
            | Error::InvalidChange { .. }
            | Error::CopyChanged { .. }
            | Error::MembersAlive { .. }
            | Error::NoMajority { .. } => Self::refused(message),
            Error::Malformed { .. }
            | Error::NewerFormat { .. }
            | Error::WrongCluster { .. }
            | Error::ClusterMissing { .. } => Self::fault(message),
        }
    }
}

impl From<InvalidKey> for ErrorAnswer {
    fn from(error: InvalidKey) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<ErrorAnswer> for Status {
    fn from(error: ErrorAnswer) -> Self {
        let code = code(error.reason());
        let details = error.0.to_details(code);
        Self::with_details(code, error.0.message, details)
    }
}

const fn code(reason: ErrorReason) -> Code {
    match reason {
        ErrorReason::Invalid => Code::InvalidArgument,
        ErrorReason::Exhausted => Code::ResourceExhausted,
        ErrorReason::NotAvailable => Code::Unavailable,
        ErrorReason::OutcomeUnknown => Code::Unknown,
        ErrorReason::RevisionMismatch
        | ErrorReason::SessionExpired
        | ErrorReason::CrossShard
        | ErrorReason::WrongCluster
        | ErrorReason::Refused => Code::FailedPrecondition,
        ErrorReason::Compacted => Code::OutOfRange,
        ErrorReason::NoSuch => Code::NotFound,
        ErrorReason::Fault | ErrorReason::Unspecified => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through_the_wire(failure: Failure) -> (Code, ErrorInfo) {
        let status = Status::from(ErrorAnswer::from(failure));
        (status.code(), ErrorInfo::from_status(&status).expect("an ErrorInfo is in the details"))
    }

    #[test]
    fn each_failure_has_its_code_and_says_whether_it_is_definite() {
        let text = || "x".to_owned();
        let mismatch = Failure::Mismatch { key: "k".into(), actual: 7 };
        let cross = Failure::CrossShard { boundary: "m".into() };
        for (failure, code, reason, definite) in [
            (Failure::NotHere, Code::Unavailable, ErrorReason::NotAvailable, true),
            (Failure::Unavailable(text()), Code::Unavailable, ErrorReason::NotAvailable, true),
            (Failure::Unknown(text()), Code::Unknown, ErrorReason::OutcomeUnknown, false),
            (Failure::Exhausted(text()), Code::ResourceExhausted, ErrorReason::Exhausted, true),
            (mismatch, Code::FailedPrecondition, ErrorReason::RevisionMismatch, true),
            (Failure::SessionExpired, Code::FailedPrecondition, ErrorReason::SessionExpired, true),
            (cross, Code::FailedPrecondition, ErrorReason::CrossShard, true),
            (Failure::Invalid(text()), Code::InvalidArgument, ErrorReason::Invalid, true),
            (Failure::NoSuch(text()), Code::NotFound, ErrorReason::NoSuch, true),
            (Failure::Refused(text()), Code::FailedPrecondition, ErrorReason::Refused, true),
            (Failure::Fault(text()), Code::Internal, ErrorReason::Fault, false),
        ] {
            let (got, info) = through_the_wire(failure.clone());
            assert_eq!((got, info.reason(), info.definite), (code, reason, definite), "{failure:?}");
            assert!(!info.message.is_empty());
        }
    }

    #[test]
    fn details_carry_revision_and_boundary() {
        let (_, info) = through_the_wire(Failure::Mismatch { key: "k".into(), actual: 7 });
        assert_eq!(info.actual_revision, 7);
        let (_, info) = through_the_wire(Failure::CrossShard { boundary: "m".into() });
        assert_eq!(info.boundary, "m");
    }

    #[test]
    fn a_peers_own_words_are_passed_on_and_a_lost_connection_is_no_definite_error() {
        let status = Status::from(ErrorAnswer::exhausted("too many"));
        assert_eq!(ErrorAnswer::from_peer("a:1", &status), ErrorAnswer::exhausted("too many"));
        let lost = ErrorAnswer::from_peer("a:1", &Status::unavailable("reset"));
        assert!(!lost.is_definite(), "{lost:?}");
    }
}
