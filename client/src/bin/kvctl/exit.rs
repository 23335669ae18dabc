use std::{fmt::Display, io, process::ExitCode};

use kv_client::Error;

/// Any other error.
pub const ERROR: u8 = 1;
/// Arguments that make no sense.
pub const USAGE: u8 = 2;
/// There is no such key, shard or node.
pub const NOT_FOUND: u8 = 3;
/// A precondition does not hold.
pub const PRECONDITION: u8 = 4;
/// The cluster is dead, or nobody serves the key.
pub const UNAVAILABLE: u8 = 5;
/// The write may or may not have been applied.
pub const UNKNOWN: u8 = 6;

/// The codes for `--help`.
pub const HELP: &str = "\
Exit codes:
  0  done
  1  an error not named below
  2  wrong usage, or a key, value or option out of bounds
  3  there is no such key, shard or node
  4  a precondition does not hold (revision, keys of several shards, refused by the cluster)
  5  unavailable: the cluster is dead, can't be reached, or is overloaded; nothing was changed
  6  outcome unknown: the change may or may not have been applied";

/// Why a command ends with another code than 0.
#[derive(Debug)]
pub struct Failed {
    pub code: u8,
    /// None: the output has said it all.
    pub message: Option<String>,
}

impl Failed {
    pub fn new(code: u8, message: impl Display) -> Self {
        Self { code, message: Some(message.to_string()) }
    }

    pub fn usage(message: impl Display) -> Self {
        Self::new(USAGE, message)
    }

    pub const fn silent(code: u8) -> Self {
        Self { code, message: None }
    }

    pub fn report(self) -> ExitCode {
        if let Some(message) = self.message {
            eprintln!("kvctl: {message}");
        }
        self.code.into()
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::OutcomeUnknown(_) => UNKNOWN,
            Error::Invalid(_) => USAGE,
            Error::NoSuch(_) => NOT_FOUND,
            Error::RevisionMismatch { .. } | Error::CrossShard { .. } | Error::Refused(_) => PRECONDITION,
            Error::Unavailable(_) | Error::Exhausted(_) | Error::ClusterDead | Error::ZooKeeper { .. } => UNAVAILABLE,
            _ => ERROR,
        };
        Self::new(code, error)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        // Whoever reads the output has seen enough (as in `kvctl scan | head`).
        if error.kind() == io::ErrorKind::BrokenPipe { Self::silent(ERROR) } else { Self::new(ERROR, error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_has_the_documented_code() {
        let code = |error: Error| Failed::from(error).code;
        assert_eq!(code(Error::OutcomeUnknown(String::new())), 6);
        assert_eq!(code(Error::ClusterDead), 5);
        assert_eq!(code(Error::Unavailable(String::new())), 5);
        assert_eq!(code(Error::RevisionMismatch { actual: 1 }), 4);
        assert_eq!(code(Error::NoSuch(String::new())), 3);
        assert_eq!(code(Error::Invalid(String::new())), 2);
        assert_eq!(code(Error::Fault(String::new())), 1);
        for code in 0..=6 {
            assert!(HELP.contains(&format!("  {code}  ")));
        }
    }
}
