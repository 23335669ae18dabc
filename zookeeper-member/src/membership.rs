use std::{fmt, str::FromStr};

/// Members of one configuration, at most: more lines are refused. (ZooKeeper itself ends at 255.)
pub const MAX_MEMBERS: usize = 32;
const CLIENT_ANYWHERE: &str = "0.0.0.0";

/// One line of a configuration: `server.ID=HOST:PEER:ELECTION:ROLE;CLIENT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Ordinal plus one.
    pub id: u32,
    /// Name under which the others find it.
    pub host: String,
    /// Port on which followers reach it while it leads.
    pub peer_port: u16,
    /// Port for elections.
    pub election_port: u16,
    /// Whether it votes.
    pub role: Role,
    /// Port for clients.
    pub client_port: u16,
}

/// Whether a member votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It votes, and counts for the quorum.
    Participant,
    /// It does neither.
    Observer,
}

/// Who the ensemble is, as of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The zxid of the change that made it; 0: ZooKeeper has not given it one yet.
    pub version: u64,
    /// By id.
    members: Vec<Member>,
}

/// A text that is no configuration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MembershipError {
    /// A line of another form.
    #[error("{line:?} is no member: it must be server.ID=HOST:PEER:ELECTION[:ROLE];CLIENT")]
    Line {
        /// The line.
        line: String,
    },
    /// An id that is there twice.
    #[error("member {id} is listed twice")]
    Twice {
        /// The id.
        id: u32,
    },
    /// Too many lines.
    #[error("{count} members are listed: at most {MAX_MEMBERS} may be")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// A version that is none.
    #[error("version {text:?} is no hexadecimal number of 64 bits")]
    Version {
        /// The text.
        text: String,
    },
}

impl Member {
    /// The same member in another role.
    #[must_use]
    pub fn with_role(&self, role: Role) -> Self {
        Self { role, ..self.clone() }
    }
}

impl FromStr for Member {
    type Err = MembershipError;

    fn from_str(line: &str) -> Result<Self, MembershipError> {
        parse(line.trim()).ok_or_else(|| MembershipError::Line { line: line.to_owned() })
    }
}

fn parse(line: &str) -> Option<Member> {
    let (id, rest) = line.strip_prefix("server.")?.split_once('=')?;
    let (peer, client) = rest.split_once(';')?;
    // ZooKeeper itself writes the address that clients connect to before their port.
    let client_port = client.rsplit_once(':').map_or(client, |(_, port)| port).parse().ok()?;
    let (peer, role) = if let Some(peer) = peer.strip_suffix(":participant") {
        (peer, Role::Participant)
    } else if let Some(peer) = peer.strip_suffix(":observer") {
        (peer, Role::Observer)
    } else {
        (peer, Role::Participant)
    };
    let (peer, election_port) = peer.rsplit_once(':')?;
    let (host, peer_port) = peer.rsplit_once(':')?;
    let id = id.parse().ok().filter(|id| *id > 0)?;
    let (peer_port, election_port) = (peer_port.parse().ok()?, election_port.parse().ok()?);
    let is_host = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    is_host.then(|| Member { id, host: host.to_owned(), peer_port, election_port, role, client_port })
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, host, peer_port, election_port, role, client_port } = self;
        let role = match role {
            Role::Participant => "participant",
            Role::Observer => "observer",
        };
        write!(f, "server.{id}={host}:{peer_port}:{election_port}:{role};{CLIENT_ANYWHERE}:{client_port}")
    }
}

impl Membership {
    /// Puts members together.
    ///
    /// # Errors
    /// [`MembershipError::Twice`], [`MembershipError::TooMany`].
    pub fn new(version: u64, members: impl IntoIterator<Item = Member>) -> Result<Self, MembershipError> {
        let mut members: Vec<_> = members.into_iter().collect();
        if members.len() > MAX_MEMBERS {
            return Err(MembershipError::TooMany { count: members.len() });
        }
        members.sort_by_key(|member| member.id);
        match members.windows(2).find(|pair| pair[0].id == pair[1].id) {
            Some(pair) => Err(MembershipError::Twice { id: pair[0].id }),
            None => Ok(Self { version, members }),
        }
    }

    /// Reads the lines of a dynamic file, of a record, or of `/zookeeper/config`. A line `version=` counts more than
    /// `version`.
    ///
    /// # Errors
    /// Any [`MembershipError`].
    pub fn read(text: &str, version: u64) -> Result<Self, MembershipError> {
        let mut version = version;
        let mut members = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.strip_prefix("version=") {
                Some(text) => version = parse_version(text)?,
                None => members.push(line.parse()?),
            }
        }
        Self::new(version, members)
    }

    /// All members, by id.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Ids of those who vote, in order.
    pub fn voters(&self) -> impl Iterator<Item = u32> + '_ {
        self.members.iter().filter(|member| member.role == Role::Participant).map(|member| member.id)
    }

    /// Whether the member votes.
    #[must_use]
    pub fn votes(&self, id: u32) -> bool {
        self.voters().any(|voter| voter == id)
    }

    /// How many of those who vote have to agree.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.voters().count() / 2 + 1
    }

    /// One line a member, without the version.
    #[must_use]
    pub fn lines(&self) -> String {
        self.members.iter().map(|member| format!("{member}\n")).collect()
    }
}

/// A version as ZooKeeper writes it.
///
/// # Errors
/// [`MembershipError::Version`].
pub fn parse_version(text: &str) -> Result<u64, MembershipError> {
    let error = || MembershipError::Version { text: text.to_owned() };
    let text = text.trim();
    // `from_str_radix` would take a sign too.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(error());
    }
    u64::from_str_radix(text, 16).map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: &str = "server.2=b:2888:3888;2181\nserver.1=zk-0.zk.ns.svc:2888:3888:participant;0.0.0.0:2181\n\
                         server.3=c:2888:3888:observer;2181\nversion=10000000a\n";

    #[test]
    fn a_configuration_is_read_as_it_is_written() {
        let read = Membership::read(THREE, 7).expect("valid");
        assert_eq!((read.version, read.members().len(), read.quorum()), (0x1_0000_000a, 3, 2));
        assert_eq!(read.voters().collect::<Vec<_>>(), [1, 2]);
        assert!(read.votes(2) && !read.votes(3) && !read.votes(9));
        assert_eq!(Membership::read(&read.lines(), read.version), Ok(read));
    }

    #[test]
    fn what_is_no_member_is_refused_with_its_line() {
        for line in [
            "server.x=a:1:2;3",
            "server.0=a:1:2;3",
            "server.1=a:1;3",
            "server.1=a:1:2",
            "server.1=:1:2;3",
            "a=b",
            "server.1=a b:1:2;3",
        ] {
            assert_eq!(Membership::read(line, 0), Err(MembershipError::Line { line: line.into() }));
        }
        let twice = Membership::read("server.1=a:1:2;3\nserver.1=b:1:2;3", 0);
        assert_eq!(twice, Err(MembershipError::Twice { id: 1 }));
        for version in ["", "+1", "xyz", "11112222333344445"] {
            assert!(parse_version(version).is_err(), "{version}");
        }
        let many: String = (1..=33).map(|id| format!("server.{id}=a:1:2;3\n")).collect();
        assert_eq!(Membership::read(&many, 0), Err(MembershipError::TooMany { count: 33 }));
    }
}
