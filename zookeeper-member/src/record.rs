use std::{fs, io, path::Path};

use crate::membership::{Membership, MembershipError, parse_version};

/// Bytes of one file of the record, at most.
const MAX_BYTES: usize = 64 * 1024;

/// What the operator says of the ensemble: the files of a ConfigMap.
///
/// | file | content |
/// |---|---|
/// | `bootstrapped` | `true` once the ensemble has served; from then on nobody begins one |
/// | `members` | lines as in a dynamic file |
/// | `version` | the configuration's version, hexadecimal |
/// | `recover` | absent, or `token=N` and `step=hold`, `step=release` or `step=new`, and `mark=ORDINAL,…` |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Whether the ensemble has served.
    pub bootstrapped: bool,
    /// Who it is; empty while that is unknown. It may be older than what the ensemble itself knows.
    pub membership: Membership,
    /// A recovery that is under way.
    pub recovery: Option<Recovery>,
}

/// A recovery that a person has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Another one for each attempt, growing.
    pub token: u64,
    /// How far it is.
    pub step: RecoveryStep,
}

/// How far a recovery is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoveryStep {
    /// No member starts; each says what it holds. What they say can't be out of date then.
    Hold,
    /// Members start. Those of `mark` held nothing and vote nevertheless: with those who hold data they are a quorum, and
    /// never without them.
    Release {
        /// Ordinals.
        mark: Vec<u32>,
    },
    /// No member held anything: member 0 begins an ensemble anew, the others wait until it serves.
    New,
}

/// A record that can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A file can't be read.
    #[error("can't read {path} of the ensemble's record")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{file} of the ensemble's record is {text:?}: it must be {bound}")]
    Value {
        /// The file.
        file: &'static str,
        /// What it holds.
        text: String,
        /// What it must hold.
        bound: &'static str,
    },
    /// The members or their version.
    #[error("the ensemble's record lists no members")]
    Members(#[from] MembershipError),
}

impl Record {
    /// Reads the folder that the ConfigMap is mounted at.
    ///
    /// # Errors
    /// Any [`RecordError`].
    pub fn read(folder: &Path) -> Result<Self, RecordError> {
        let mut files = Vec::new();
        for name in ["bootstrapped", "members", "version", "recover"] {
            let path = folder.join(name);
            match fs::read_to_string(&path) {
                Ok(text) => files.push((name, text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(RecordError::Read { path: path.display().to_string(), source }),
            }
        }
        Self::parse(|name| files.iter().find(|(of, _)| *of == name).map(|(_, text)| text.as_str()))
    }

    /// Reads the record's files, given by their names.
    ///
    /// # Errors
    /// [`RecordError::Value`], [`RecordError::Members`].
    pub fn parse<'a>(file: impl Fn(&str) -> Option<&'a str>) -> Result<Self, RecordError> {
        let bounded = |name: &'static str| match file(name).map(str::trim).unwrap_or_default() {
            text if text.len() > MAX_BYTES => {
                Err(RecordError::Value { file: name, text: text.chars().take(40).collect(), bound: "64 KiB at most" })
            }
            text => Ok(text),
        };
        let bootstrapped = match bounded("bootstrapped")? {
            "true" => true,
            "false" => false,
            // Never taken for "false": who has lost it must not begin an ensemble.
            text => {
                let text = text.to_owned();
                return Err(RecordError::Value { file: "bootstrapped", text, bound: "true or false" });
            }
        };
        let version = match bounded("version")? {
            "" => 0,
            text => parse_version(text)?,
        };
        let membership = Membership::read(bounded("members")?, version)?;
        let recovery = match bounded("recover")? {
            "" => None,
            text => Some(Recovery::parse(text).ok_or_else(|| {
                let bound = "token=N, then step=hold, step=new or step=release with mark=ORDINAL,…";
                RecordError::Value { file: "recover", text: text.to_owned(), bound }
            })?),
        };
        Ok(Self { bootstrapped, membership, recovery })
    }

    /// The files, by name, in order.
    #[must_use]
    pub fn files(&self) -> Vec<(&'static str, String)> {
        let mut files = vec![
            ("bootstrapped", self.bootstrapped.to_string()),
            ("members", self.membership.lines()),
            ("version", format!("{:x}", self.membership.version)),
        ];
        files.extend(self.recovery.as_ref().map(|recovery| ("recover", recovery.text())));
        files
    }
}

impl Recovery {
    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
        let token = value("token")?.parse().ok().filter(|token| *token > 0)?;
        let step = match value("step")? {
            "hold" => RecoveryStep::Hold,
            "new" => RecoveryStep::New,
            "release" => {
                let mark = value("mark").unwrap_or_default();
                let mark = mark.split(',').filter(|ordinal| !ordinal.is_empty()).map(|ordinal| ordinal.parse().ok());
                RecoveryStep::Release { mark: mark.collect::<Option<_>>()? }
            }
            _ => return None,
        };
        Some(Self { token, step })
    }

    fn text(&self) -> String {
        let token = self.token;
        match &self.step {
            RecoveryStep::Hold => format!("token={token}\nstep=hold\n"),
            RecoveryStep::New => format!("token={token}\nstep=new\n"),
            RecoveryStep::Release { mark } => {
                let mark: Vec<_> = mark.iter().map(ToString::to_string).collect();
                format!("token={token}\nstep=release\nmark={}\n", mark.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(files: &[(&'static str, String)]) -> Result<Record, RecordError> {
        Record::parse(|name| files.iter().find(|(of, _)| *of == name).map(|(_, text)| text.as_str()))
    }

    #[test]
    fn a_record_is_read_as_it_is_written() {
        let membership = Membership::read("server.1=a:1:2;3\nserver.2=b:1:2;3", 0x1a).expect("valid");
        for step in [RecoveryStep::Hold, RecoveryStep::New, RecoveryStep::Release { mark: vec![0, 2] }] {
            for recovery in [None, Some(Recovery { token: 3, step: step.clone() })] {
                let record = Record { bootstrapped: true, membership: membership.clone(), recovery };
                assert_eq!(parsed(&record.files()).expect("valid"), record);
            }
        }
    }

    #[test]
    fn an_incomplete_record_never_says_that_nothing_was_there() {
        assert!(parsed(&[]).is_err());
        assert!(parsed(&[("bootstrapped", "no".into())]).is_err());
        for recover in ["step=hold", "token=0\nstep=hold", "token=1\nstep=go", "token=1\nstep=release\nmark=a"] {
            assert!(parsed(&[("bootstrapped", "true".into()), ("recover", recover.into())]).is_err(), "{recover}");
        }
        let empty = parsed(&[("bootstrapped", "false\n".into())]).expect("valid");
        assert_eq!(empty, Record::default());
    }
}
