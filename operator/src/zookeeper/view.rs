use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use kv_zookeeper_member::{Membership, parse_version};
use tokio::time::timeout;
use zookeeper_client::{Client, Error as ZkError};

use super::four_letters::ask;

/// Of a session that is closed again at once: long enough to be granted by any server.
pub(super) const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
/// How long the configuration may take to be read, from the connection on.
const READ_WITHIN: Duration = Duration::from_secs(4);

/// What the members of an ensemble said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnsembleView {
    /// Those who serve, by ordinal: they answer `srvr` with a mode.
    pub serving: BTreeMap<u32, MemberView>,
    /// Who the members are, as the leader has it; none without a leader that has a quorum.
    pub configuration: Option<Membership>,
}

/// What a member said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// What it is just now.
    pub mode: Mode,
    /// The last change that it has seen.
    pub zxid: u64,
}

/// What a member is just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It leads.
    Leader {
        /// Others who vote and have all that it has.
        synced_voters: u32,
        /// Others who don't vote, and have all that it has.
        synced_joiners: u32,
    },
    /// It follows, and may vote or not.
    Follower,
    /// It counts itself as an observer.
    Observer,
}

impl EnsembleView {
    /// The ordinal of the leader, if there is one. (One that is cut off may still call itself so: the one of the latest epoch.)
    #[must_use]
    pub fn leader(&self) -> Option<u32> {
        let leaders = self.serving.iter().filter(|(_, member)| matches!(member.mode, Mode::Leader { .. }));
        leaders.max_by_key(|(_, member)| member.zxid).map(|(ordinal, _)| *ordinal)
    }

    /// How many others the leader has synced: those who vote, and those who don't.
    #[must_use]
    pub fn synced(&self) -> Option<(u32, u32)> {
        match self.serving.get(&self.leader()?)?.mode {
            Mode::Leader { synced_voters, synced_joiners } => Some((synced_voters, synced_joiners)),
            Mode::Follower | Mode::Observer => None,
        }
    }
}

/// Asks the members at these addresses (`host:port`, by ordinal), all at the same time.
pub async fn view(addresses: &BTreeMap<u32, String>) -> EnsembleView {
    let asked = addresses.iter().map(|(ordinal, address)| async { Some((*ordinal, member(address).await?)) });
    let serving = join_all(asked).await.into_iter().flatten().collect();
    let mut view = EnsembleView { serving, configuration: None };
    if let Some(address) = view.leader().and_then(|leader| addresses.get(&leader)) {
        view.configuration = match timeout(READ_WITHIN, configuration(address)).await {
            Ok(Ok(configuration)) => configuration,
            Ok(Err(error)) => {
                tracing::debug!(address, %error, "the ensemble's configuration can't be read");
                None
            }
            Err(_) => None,
        };
    }
    view
}

async fn member(address: &str) -> Option<MemberView> {
    let answer = ask(address, "srvr").await?;
    let (mode, zxid) = parse_srvr(&answer)?;
    let mode = match mode {
        "leader" => parse_mntr(&ask(address, "mntr").await?)?,
        "follower" => Mode::Follower,
        "observer" => Mode::Observer,
        _ => return None,
    };
    Some(MemberView { mode, zxid })
}

/// Of the leader itself. That it gives a session shows that a quorum follows it.
async fn configuration(address: &str) -> Result<Option<Membership>, ZkError> {
    let connector = Client::connector().with_session_timeout(SESSION_TIMEOUT).with_fail_eagerly();
    let client = connector.connect(address).await?;
    let (data, _) = client.get_config().await?;
    Ok(parse_configuration(&String::from_utf8_lossy(&data)))
}

fn parse_configuration(text: &str) -> Option<Membership> {
    match Membership::read(text, 0) {
        // Without a version it is one that nobody has agreed to yet.
        Ok(membership) => Some(membership).filter(|membership| membership.version > 0),
        Err(error) => {
            tracing::warn!(%error, text, "the ensemble's configuration is not understood");
            None
        }
    }
}

fn parse_srvr(answer: &str) -> Option<(&str, u64)> {
    let value = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let zxid = value("Zxid: ")?;
    Some((value("Mode: ")?, parse_version(zxid.strip_prefix("0x").unwrap_or(zxid)).unwrap_or(0)))
}

/// `zk_synced_followers` counts those who don't vote too.
fn parse_mntr(answer: &str) -> Option<Mode> {
    let value = |name: &str| {
        let mut words = answer.lines().map(str::split_whitespace);
        words.find_map(|mut words| if words.next()? == name { words.next()?.parse::<f64>().ok() } else { None })
    };
    // It prints some whole numbers with a fraction.
    let count = |name: &str| value(name).map(|number| number.clamp(0.0, 1000.0) as u32);
    let synced_joiners = count("zk_synced_non_voting_followers")?;
    let synced_voters = count("zk_synced_followers")?.saturating_sub(synced_joiners);
    Some(Mode::Leader { synced_voters, synced_joiners })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_a_member_without_a_mode_does_not_serve() {
        let answer =
            "Zookeeper version: 3.9.4\nLatency min/avg/max: 0/0.0/0\nZxid: 0x10000002a\nMode: leader\nNode count: 5\n";
        assert_eq!(parse_srvr(answer), Some(("leader", 0x1_0000_002a)));
        assert_eq!(parse_srvr("This ZooKeeper instance is not currently serving requests\n"), None);
        let mntr =
            "zk_version\t3.9.4\nzk_synced_followers\t4\nzk_synced_non_voting_followers\t2\nzk_synced_observers\t0\n";
        assert_eq!(parse_mntr(mntr), Some(Mode::Leader { synced_voters: 2, synced_joiners: 2 }));
        assert_eq!(parse_mntr("zk_synced_followers\t4\n"), None);
    }

    #[test]
    fn a_configuration_without_version_is_none() {
        let text = "server.1=a:2888:3888:participant;0.0.0.0:2181\nversion=";
        assert_eq!(parse_configuration(&format!("{text}0")), None);
        assert_eq!(parse_configuration("nonsense"), None);
        let read = parse_configuration(&format!("{text}10000000b")).expect("valid");
        assert_eq!((read.version, read.members().len()), (0x1_0000_000b, 1));
    }

    #[test]
    fn of_two_who_call_themselves_leader_the_later_one_counts() {
        let leader = |zxid| MemberView { mode: Mode::Leader { synced_voters: 1, synced_joiners: 0 }, zxid };
        let serving = [(0, leader(0x2_0000_0001)), (1, leader(0x3_0000_0000))].into();
        let view = EnsembleView { serving, configuration: None };
        assert_eq!((view.leader(), view.synced()), (Some(1), Some((1, 0))));
        assert_eq!(EnsembleView::default().synced(), None);
    }
}
