use std::fmt;

/// One operation of a client on one key, and what the client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The client.
    pub client: u64,
    /// The key.
    pub key: Vec<u8>,
    /// What was asked for.
    pub action: Action,
    /// Only if the key is like this.
    pub expected: Option<Expected>,
    /// When it was asked for, by the one clock of the history.
    pub call: u64,
    /// When the answer came; `None`: it never came, or said nothing about the outcome.
    pub ret: Option<u64>,
    /// What the answer said.
    pub outcome: Outcome,
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reads the value.
    Get,
    /// Sets the value. The check is sharpest when no two operations set the same one.
    Put(Vec<u8>),
    /// Deletes the key.
    Delete,
}

/// A condition under which alone an operation takes effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The key has this revision; 0: it does not exist.
    Revision(u64),
    /// The key has this value, or does not exist.
    Value(Option<Vec<u8>>),
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: it may take effect at any time after the call, or never.
    Unknown,
    /// It has not happened and never will.
    Failed,
    /// A get's answer.
    Found(Option<Versioned>),
    /// A write has taken effect.
    Done {
        /// The key's new revision, if told.
        revision: Option<u64>,
        /// Whether the key existed before, if told.
        existed: Option<bool>,
    },
    /// The condition did not hold.
    Mismatch {
        /// The key's revision, if told; 0: it does not exist.
        actual: Option<u64>,
    },
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The value.
    pub value: Vec<u8>,
    /// Its revision, if told.
    pub revision: Option<u64>,
}

impl Operation {
    pub(crate) fn is_get(&self) -> bool {
        self.action == Action::Get
    }

    pub(crate) fn is_unknown(&self) -> bool {
        self.outcome == Outcome::Unknown || self.ret.is_none()
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ret = self.ret.map_or_else(|| "never".to_owned(), |ret| ret.to_string());
        write!(f, "[{:>9} .. {:>9}] client {}: ", self.call, ret, self.client)?;
        match &self.action {
            Action::Get => f.write_str("get")?,
            Action::Put(value) => write!(f, "put {}", value.escape_ascii())?,
            Action::Delete => f.write_str("delete")?,
        }
        match &self.expected {
            None => {}
            Some(Expected::Revision(revision)) => write!(f, " if revision is {revision}")?,
            Some(Expected::Value(None)) => f.write_str(" if absent")?,
            Some(Expected::Value(Some(value))) => write!(f, " if value is {}", value.escape_ascii())?,
        }
        match &self.outcome {
            Outcome::Unknown => f.write_str(" -> unknown"),
            Outcome::Failed => f.write_str(" -> failed"),
            Outcome::Found(None) => f.write_str(" -> absent"),
            Outcome::Found(Some(found)) => {
                write!(f, " -> {}", found.value.escape_ascii())?;
                found.revision.map_or(Ok(()), |revision| write!(f, " (revision {revision})"))
            }
            Outcome::Done { revision, existed } => {
                f.write_str(" -> done")?;
                revision.map_or(Ok(()), |revision| write!(f, " (revision {revision})"))?;
                existed.map_or(Ok(()), |existed| f.write_str(if existed { ", existed" } else { ", was absent" }))
            }
            Outcome::Mismatch { actual } => {
                f.write_str(" -> mismatch")?;
                actual.map_or(Ok(()), |actual| write!(f, " (revision is {actual})"))
            }
        }
    }
}
