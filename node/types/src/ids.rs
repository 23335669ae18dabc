use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The stable name of a node, such as `demo-0`: in Kubernetes the name of its pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct NodeName(String);

impl NodeName {
    /// Longest name in bytes: that of a DNS label's host name.
    pub const MAX_BYTES: usize = 253;

    /// Takes a name of 1 to [`Self::MAX_BYTES`] letters, digits, `-`, `_` and `.`.
    ///
    /// # Errors
    /// A sentence that names the value and what is allowed.
    pub fn new(name: impl Into<String>) -> Result<Self, String> {
        let name = name.into();
        let fits = (1..=Self::MAX_BYTES).contains(&name.len());
        if fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            Ok(Self(name))
        } else {
            Err(format!("node name {name:?} is not 1 to {} letters, digits, '-', '_' or '.'", Self::MAX_BYTES))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for NodeName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::new(name)
    }
}

impl FromStr for NodeName {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        Self::new(s)
    }
}

/// A volume: a UUID written once on it, so that a wiped disk is a new replica and never mistaken for the old one.
///
/// Within a shard it names the replica, since a volume keeps at most one copy of a shard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VolumeId(pub Uuid);

impl VolumeId {
    /// The lowest id, for ranges of maps.
    pub const MIN: Self = Self(Uuid::nil());
    /// The highest id, for ranges of maps.
    pub const MAX: Self = Self(Uuid::max());
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The first group is enough to tell volumes apart in a log.
        let text = self.0.simple().to_string();
        f.write_str(&text[..8])
    }
}

/// Which of a node's two folders a volume is. It follows placement, never the current role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Folder {
    /// Shards whose home the node is.
    Data,
    /// Copies of shards whose home is another node.
    Bkpdata,
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "data",
            Self::Bkpdata => "bkpdata",
        })
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one; the highest has none, and stays. Only a damaged message names it.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A shard: a contiguous range of keys. Never used again after the shard has gone.
    ShardId
);
number!(
    /// Grows by one with every change of a shard's configuration; the first is 1, and 0 stands for "none yet".
    Epoch
);
number!(
    /// Position in a shard's log; the first entry is 1, and 0 stands for "before the first".
    Seq
);
number!(
    /// Bumped by force-promote: a copy of another lineage starts over empty.
    Lineage
);

/// Names an entry of a shard's log. Within a lineage two entries with the same name are the same entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryId {
    /// Epoch of the primary that made the entry.
    pub epoch: Epoch,
    /// Position in the log.
    pub seq: Seq,
}

impl EntryId {
    /// Before the first entry.
    pub const ZERO: Self = Self { epoch: Epoch(0), seq: Seq(0) };

    /// An entry's name from its two numbers.
    #[must_use]
    pub const fn new(epoch: u64, seq: u64) -> Self {
        Self { epoch: Epoch(epoch), seq: Seq(seq) }
    }
}

/// A client's session: named after the log entry that opened it, so that no two are ever alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// The shard that opened it; a split copies its sessions to the child under the same names.
    pub shard: ShardId,
    /// The entry that opened it.
    pub entry: EntryId,
}

impl SessionId {
    /// Length of the encoding in bytes.
    pub const BYTES: usize = 24;

    /// Three big-endian numbers, so that encoded ids sort like ids.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.shard.0.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.entry.epoch.0.to_be_bytes());
        bytes[16..].copy_from_slice(&self.entry.seq.0.to_be_bytes());
        bytes
    }

    /// The inverse of [`Self::to_bytes`]; `None` for any other length.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let number = |at: usize| bytes[at..at + 8].try_into().ok().map(u64::from_be_bytes);
        Some(Self { shard: ShardId(number(0)?), entry: EntryId::new(number(8)?, number(16)?) })
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::{Error, StringDeserializer};

    use super::*;

    #[test]
    fn what_is_no_name_is_not_read_as_one() {
        let read = |text: &str| NodeName::deserialize(StringDeserializer::<Error>::new(text.to_owned()));
        assert_eq!(read("demo-0"), Ok(NodeName("demo-0".into())));
        for text in ["", "a/b", "demo 0", &"x".repeat(NodeName::MAX_BYTES + 1)] {
            assert!(read(text).is_err(), "{text:?} was taken");
        }
    }
}
