use std::time::Duration;

use tokio::time::timeout;
use zookeeper_client::{Client, EnsembleUpdate, Error as ZkError};

use super::{Error, view::SESSION_TIMEOUT};

/// How long a session may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long the change may take: normally a fraction of a second, and an election if the leader leaves.
const CHANGE_WITHIN: Duration = Duration::from_secs(10);
/// ZooKeeper's codes that the client library has no names for.
const NEW_CONFIG_NO_QUORUM: i32 = -13;
const RECONFIG_IN_PROGRESS: i32 = -14;

/// What has become of a change of membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reconfigured {
    /// It is done.
    Done,
    /// The membership is of another version by now, and nothing was changed.
    OtherVersion,
    /// It may have been done or not, as often when the leader leaves: the configuration says which.
    Unknown,
    /// Of those who are to vote too few are synced; nothing was changed.
    NotSynced,
    /// Another change is under way; nothing was changed.
    InProgress,
}

/// Changes the membership that is `version`, as one change: lines `server.N=…` join, ids leave. Repeating it is harmless,
/// since the version has changed then.
///
/// # Errors
/// Any [`Error`]: nothing has been changed.
pub async fn reconfigure(
    connect: &str,
    secret: &str,
    version: u64,
    joining: &[String],
    leaving: &[u32],
) -> Result<Reconfigured, Error> {
    let expected = i64::try_from(version).map_err(|_| Error::Version { version })?;
    let connector = Client::connector()
        .with_session_timeout(SESSION_TIMEOUT)
        .with_fail_eagerly()
        .with_auth("digest", format!("super:{secret}").as_bytes());
    let not_reached = |source| Error::NotReached { connect: connect.to_owned(), within: CONNECT_WITHIN, source };
    let client = match timeout(CONNECT_WITHIN, connector.connect(connect)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Err(not_reached(Some(error))),
        Err(_) => return Err(not_reached(None)),
    };
    let leaving: Vec<_> = leaving.iter().map(ToString::to_string).collect();
    let joinings: Vec<_> = joining.iter().map(|line| line.trim()).collect();
    let leavings: Vec<_> = leaving.iter().map(String::as_str).collect();
    let update = EnsembleUpdate::Incremental { joinings: joinings.iter().copied(), leavings: leavings.iter().copied() };
    match timeout(CHANGE_WITHIN, client.update_ensemble(update, Some(expected))).await {
        Ok(Ok(_)) => Ok(Reconfigured::Done),
        Ok(Err(error)) => outcome(error),
        Err(_) => Ok(Reconfigured::Unknown),
    }
}

fn outcome(error: ZkError) -> Result<Reconfigured, Error> {
    match error {
        ZkError::BadVersion => Ok(Reconfigured::OtherVersion),
        ZkError::UnexpectedErrorCode(NEW_CONFIG_NO_QUORUM) => Ok(Reconfigured::NotSynced),
        ZkError::UnexpectedErrorCode(RECONFIG_IN_PROGRESS) => Ok(Reconfigured::InProgress),
        ZkError::NoAuth
        | ZkError::AuthFailed
        | ZkError::BadArguments(_)
        | ZkError::Unimplemented
        | ZkError::ReconfigDisabled => Err(Error::Refused(error)),
        // Also those that sound definite: a session may end after its last request was carried out.
        error => {
            tracing::debug!(%error, "the outcome of a reconfiguration is unknown");
            Ok(Reconfigured::Unknown)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_done_is_not_called_refused() {
        for (error, expected) in [
            (ZkError::ConnectionLoss, Reconfigured::Unknown),
            (ZkError::SessionExpired, Reconfigured::Unknown),
            (ZkError::BadVersion, Reconfigured::OtherVersion),
            (ZkError::UnexpectedErrorCode(-13), Reconfigured::NotSynced),
            (ZkError::UnexpectedErrorCode(-14), Reconfigured::InProgress),
            (ZkError::UnexpectedErrorCode(-99), Reconfigured::Unknown),
        ] {
            assert_eq!(outcome(error).ok(), Some(expected));
        }
        assert!(matches!(outcome(ZkError::NoAuth), Err(Error::Refused(_))));
    }
}
