use kv_zookeeper_member::{Membership, parse_version};
use serde::Deserialize;

/// What a member's init container said when it ended: what lay on the claim, and what was done with it.
///
/// It is as old as the pod's start. What a member holds that has served since is not what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartReport {
    /// What lay on the claim; none if it could not be read.
    pub found: Option<Found>,
    /// What was done.
    pub did: Did,
    /// Why it was refused; else empty.
    pub reason: String,
    /// The recovery that the record spoke of then.
    pub token: Option<u64>,
}

/// What lay on a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Snapshots and logs; none without any.
    pub data: Option<HeldData>,
    /// The configuration; none without one.
    pub membership: Option<Membership>,
    /// Whether that configuration counts on its vote.
    pub votes: bool,
    /// Whether it has been allowed to vote with nothing, and has not started since.
    pub marker: bool,
}

/// How much data a claim holds: what is greater is newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldData {
    /// The epoch that it followed or led last. Elections look at it first.
    pub epoch: i64,
    /// The last change; 0: nothing was ever changed.
    pub zxid: u64,
}

/// What was done to a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Did {
    /// It begins the ensemble.
    FirstBoot,
    /// It goes on.
    LaterBoot,
    /// It joins.
    Joiner,
    /// It helps to a quorum with nothing.
    Recovered,
    /// Nothing: it waits for the recovery's next step.
    Held,
    /// Nothing.
    #[default]
    Refused,
}

impl Found {
    /// Whether anything may have been written to an ensemble that it has seen.
    #[must_use]
    pub fn holds_data(&self) -> bool {
        self.data.is_some_and(|data| data.zxid > 0)
    }
}

impl StartReport {
    /// Reads a termination message; none if it is no report, such as the last lines of a log.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let Written { found, did, reason, token } = serde_json::from_str(text.trim()).ok()?;
        let found = match found {
            Some(found) => Some(found.read()?),
            None => None,
        };
        Some(Self { found, did, reason, token })
    }
}

/// As the init container writes it.
#[derive(Deserialize)]
struct Written {
    found: Option<WrittenFound>,
    did: Did,
    #[serde(default)]
    reason: String,
    token: Option<u64>,
}

#[derive(Deserialize)]
struct WrittenFound {
    marker: bool,
    #[serde(default)]
    votes: bool,
    version: Option<String>,
    members: Option<String>,
    data: Option<WrittenData>,
}

#[derive(Deserialize)]
struct WrittenData {
    zxid: String,
    epoch: i64,
}

impl WrittenFound {
    fn read(self) -> Option<Found> {
        let data = match self.data {
            Some(WrittenData { zxid, epoch }) => Some(HeldData { epoch, zxid: parse_version(&zxid).ok()? }),
            None => None,
        };
        let membership = match (self.version, self.members) {
            (Some(version), Some(members)) => Some(Membership::read(&members, parse_version(&version).ok()?).ok()?),
            _ => None,
        };
        Some(Found { data, membership, votes: self.votes, marker: self.marker })
    }
}

#[cfg(test)]
mod tests {
    use kv_zookeeper_member as member;

    use super::*;

    #[test]
    fn what_the_init_container_writes_is_understood() {
        let membership = Membership::read("server.2=b:1:2;3", 0x1a).expect("valid");
        let found = member::Claim {
            id: Some(2),
            membership: Some(membership.clone()),
            data: Some(member::Data { zxid: 0x1_0000_000a, epoch: 1, accepted_epoch: 2 }),
            ..member::Claim::default()
        };
        let report = member::Report { found: Some(found), did: member::Did::Held, token: Some(3) };
        let read = StartReport::parse(&report.to_json()).expect("a report");
        let data = Some(HeldData { epoch: 1, zxid: 0x1_0000_000a });
        let found = Found { data, membership: Some(membership), votes: true, marker: false };
        assert_eq!(read, StartReport { found: Some(found), did: Did::Held, reason: String::new(), token: Some(3) });
        for (did, expected) in [
            (member::Did::FirstBoot, Did::FirstBoot),
            (member::Did::LaterBoot, Did::LaterBoot),
            (member::Did::Joiner, Did::Joiner),
            (member::Did::Recovered, Did::Recovered),
            (member::Did::Refused("a \"reason\"".into()), Did::Refused),
        ] {
            let found = Some(member::Claim::default());
            let read = StartReport::parse(&member::Report { found, did, token: None }.to_json()).expect("a report");
            assert_eq!((read.did, read.found), (expected, Some(Found::default())));
        }
    }

    #[test]
    fn the_epoch_says_first_what_is_newer() {
        let data = |epoch, zxid| HeldData { epoch, zxid };
        assert!(data(3, 0x2_0000_0001) > data(2, 0x2_0000_0009) && data(2, 9) > data(2, 8));
    }

    #[test]
    fn other_last_words_are_no_report() {
        for text in
            ["", "panic", "{}", "{\"found\":{\"marker\":false,\"data\":{\"zxid\":\"x\",\"epoch\":1}},\"did\":\"held\"}"]
        {
            assert_eq!(StartReport::parse(text), None, "{text}");
        }
    }
}
