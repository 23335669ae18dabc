use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};
use zookeeper_client as zk;

use crate::{Error, Result};

/// What ZooKeeper says of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// There is no master.
    Dead,
    /// There is one.
    Alive {
        /// The master.
        master: Master,
        /// All registered nodes in the order in which they would become master.
        members: Vec<Member>,
    },
}

/// The znode `master`: what the cluster promises its clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Master {
    /// Node name.
    pub id: String,
    /// `host:port` at which it serves.
    pub address: String,
}

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// Node name; empty if the entry does not say.
    #[serde(default, alias = "node")]
    pub id: String,
    /// `host:port` at which it serves.
    pub address: String,
}

/// Of a session that is closed again at once: long enough to be granted by any server.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
/// How long all reads of one look-up may take, if the caller has no shorter deadline.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(8);

/// Asks ZooKeeper (`host:port,host:port/root`) whether the cluster is alive, and where its nodes are.
///
/// # Errors
/// [`Error::Invalid`] if `zookeeper` is not of that form, [`Error::ZooKeeper`] if it can't be reached within `deadline` (8 s at most), or holds what can't be read.
pub async fn look_up(zookeeper: &str, deadline: Duration) -> Result<ClusterState> {
    let (servers, root) = parse(zookeeper)?;
    let error = |message: String| Error::ZooKeeper { address: zookeeper.to_owned(), message };
    let deadline = deadline.min(LOOK_UP_TIMEOUT);
    match tokio::time::timeout(deadline, read(servers, root)).await {
        Ok(result) => result.map_err(error),
        Err(_) => Err(error(format!("no answer within {deadline:?}"))),
    }
}

/// The servers, and the root without its first slash.
pub(crate) fn parse(zookeeper: &str) -> Result<(&str, &str)> {
    let parts = zookeeper.split_once('/');
    let whole = parts.filter(|(servers, root)| !servers.is_empty() && !root.is_empty() && !root.ends_with('/'));
    whole.ok_or_else(|| Error::Invalid(format!("ZooKeeper is given as {zookeeper:?}: give host:port,host:port/root")))
}

async fn read(servers: &str, root: &str) -> Result<ClusterState, String> {
    let text = |error: zk::Error| error.to_string();
    let connector = zk::Client::connector().with_session_timeout(SESSION_TIMEOUT).with_fail_eagerly();
    let client = connector.connect(servers).await.map_err(text)?;
    let path = |name: &str| format!("/{root}/{name}");
    // A follower may lag behind: what it says is of now only after a sync.
    client.sync("/").await.map_err(text)?;
    let master: Master = match client.get_data(&path("master")).await {
        Ok((data, _)) => decode("master", &data)?,
        Err(zk::Error::NoNode) => return Ok(ClusterState::Dead),
        Err(error) => return Err(text(error)),
    };
    let mut names = match client.list_children(&path("members")).await {
        Ok(names) => names,
        Err(zk::Error::NoNode) => Vec::new(),
        Err(error) => return Err(text(error)),
    };
    names.sort_unstable_by(|a, b| sequence(a).cmp(sequence(b)));
    let mut members = Vec::with_capacity(names.len());
    for name in names {
        match client.get_data(&path(&format!("members/{name}"))).await {
            Ok((data, _)) => members.push(decode(&name, &data)?),
            // It left meanwhile.
            Err(zk::Error::NoNode) => {}
            Err(error) => return Err(text(error)),
        }
    }
    Ok(ClusterState::Alive { master, members })
}

fn decode<T: DeserializeOwned>(name: &str, data: &[u8]) -> Result<T, String> {
    serde_json::from_slice(data).map_err(|error| format!("znode {name:?} can't be read: {error}"))
}

/// ZooKeeper's number at the end of a sequential znode's name; names differ before it.
fn sequence(name: &str) -> &str {
    name.rsplit_once('-').map_or(name, |(_, sequence)| sequence)
}

impl ClusterState {
    /// Where nodes can be asked, the master first.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        match self {
            Self::Dead => Vec::new(),
            Self::Alive { master, members } => {
                let mut addresses = vec![master.address.clone()];
                let others = members.iter().filter(|member| member.address != master.address);
                addresses.extend(others.map(|member| member.address.clone()));
                addresses
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_newer_format_are_passed_over() {
        let master: Master = decode("master", br#"{"format":2,"id":"n0","address":"h:1","more":[1]}"#).expect("valid");
        assert_eq!((master.id.as_str(), master.address.as_str()), ("n0", "h:1"));
        let member: Member = decode("m", br#"{"node":"n1","address":"h:2"}"#).expect("valid");
        assert_eq!(member.id, "n1");
        assert!(decode::<Master>("master", b"{}").is_err_and(|error| error.contains("master")));
    }

    #[test]
    fn the_master_is_asked_first_and_nobody_twice() {
        let member = |address: &str| Member { id: String::new(), address: address.into() };
        let master = Master { id: "b".into(), address: "b:1".into() };
        let state = ClusterState::Alive { master, members: vec![member("a:1"), member("b:1")] };
        assert_eq!(state.addresses(), ["b:1", "a:1"]);
    }

    #[test]
    fn members_are_ordered_by_sequence_and_not_by_guid() {
        let mut names = ["f0-0000000001", "0a-0000000003", "zz-0000000002"];
        names.sort_unstable_by(|a, b| sequence(a).cmp(sequence(b)));
        assert_eq!(names, ["f0-0000000001", "zz-0000000002", "0a-0000000003"]);
    }

    #[tokio::test]
    async fn an_address_without_a_root_is_refused_before_anything_is_asked() {
        for address in ["127.0.0.1:1", "127.0.0.1:1/", "/root"] {
            let error = look_up(address, Duration::from_secs(1)).await.expect_err("no root");
            assert!(matches!(error, Error::Invalid(_)), "{error}");
        }
    }
}
