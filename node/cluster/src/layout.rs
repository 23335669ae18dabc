use kv_types::{NodeName, ShardId};

use crate::{Error, Result};

/// Where the znodes of a cluster lie. All paths are absolute; no chroot is used.
///
/// | znode | kind | writer | content |
/// |---|---|---|---|
/// | `cluster` | persistent | first node | [`ClusterInfo`](crate::ClusterInfo) |
/// | `config` | persistent | master | [`SharedConfig`](crate::SharedConfig) |
/// | `members/<guid>-<seq>` | ephemeral sequential | each node | [`NodeInfo`](crate::NodeInfo) |
/// | `nodes/<node>` | persistent | each node, at registration | the same: who is known, also while away. Removed by the master once a drained node is gone and empty |
/// | `master` | ephemeral | master | [`MasterInfo`](crate::MasterInfo) |
/// | `controller` | persistent | master | [`Controller`](crate::Controller) |
/// | `placement/<id>` | persistent | master | [`Placement`](kv_types::Placement) |
/// | `shards/<id>` | persistent | replicas of the shard | [`ShardConfig`](kv_types::ShardConfig) |
/// | `drains/<node>` | persistent | any node, for a person | empty: the node's homes and copies are to be moved off it |
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    hosts: String,
    root: String,
}

/// One znode of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Cluster,
    Config,
    Master,
    Controller,
    Member(String),
    Node(NodeName),
    Placement(ShardId),
    Shard(ShardId),
    Drain(NodeName),
}

/// The folders below the root, whose children are znodes of a [`Key`].
pub(crate) const FOLDERS: [&str; 5] = ["members", "nodes", "placement", "shards", "drains"];

/// The znodes that lie in the root itself.
pub(crate) const SINGLES: [Key; 4] = [Key::Cluster, Key::Config, Key::Master, Key::Controller];

/// Longest path of a root in bytes.
const MAX_ROOT_BYTES: usize = 512;

impl Layout {
    /// Takes `host:port,host:port/root/path`.
    pub(crate) fn parse(connect: &str) -> Result<Self> {
        let invalid = |reason| Error::InvalidConnect { value: connect.to_owned(), reason };
        let (hosts, root) = connect.split_once('/').ok_or_else(|| invalid("has no path"))?;
        if hosts.is_empty() {
            return Err(invalid("has no host"));
        }
        for host in hosts.split(',') {
            let (name, port) = host.rsplit_once(':').ok_or_else(|| invalid("has a host without port"))?;
            if name.is_empty() || port.parse::<u16>().is_ok_and(|port| port == 0) || port.parse::<u16>().is_err() {
                return Err(invalid("has a host without name or with a port that is not 1 to 65535"));
            }
        }
        let root = root.trim_end_matches('/');
        if root.is_empty() {
            return Err(invalid("has an empty path"));
        }
        if root.len() > MAX_ROOT_BYTES {
            return Err(invalid("has a path of more than 512 bytes"));
        }
        let named = |name: &str| !name.is_empty() && name != "." && name != "..";
        if !root.split('/').all(named) || root.chars().any(char::is_control) {
            return Err(invalid("has a path with an empty, relative or unprintable name"));
        }
        if root == "zookeeper" || root.starts_with("zookeeper/") {
            return Err(invalid("has a path that zookeeper keeps for itself"));
        }
        Ok(Self { hosts: hosts.to_owned(), root: format!("/{root}") })
    }

    /// `host:port,host:port`.
    pub(crate) fn hosts(&self) -> &str {
        &self.hosts
    }

    /// The cluster's root.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    pub(crate) fn folder(&self, folder: &str) -> String {
        format!("{}/{folder}", self.root)
    }

    pub(crate) fn path(&self, key: &Key) -> String {
        let root = &self.root;
        match key {
            Key::Cluster => format!("{root}/cluster"),
            Key::Config => format!("{root}/config"),
            Key::Master => format!("{root}/master"),
            Key::Controller => format!("{root}/controller"),
            Key::Member(name) => format!("{root}/members/{name}"),
            Key::Node(node) => format!("{root}/nodes/{node}"),
            Key::Placement(shard) => format!("{root}/placement/{shard}"),
            Key::Shard(shard) => format!("{root}/shards/{shard}"),
            Key::Drain(node) => format!("{root}/drains/{node}"),
        }
    }

    /// The inverse of [`Self::path`]; `None` for folders and whatever else may lie there.
    pub(crate) fn key(&self, path: &str) -> Option<Key> {
        let rest = path.strip_prefix(self.root.as_str())?.strip_prefix('/')?;
        let key = match rest.split_once('/') {
            None => SINGLES.into_iter().find(|key| self.path(key) == path)?,
            Some(("members", name)) => Key::Member(name.to_owned()),
            Some(("nodes", name)) => Key::Node(NodeName::new(name).ok()?),
            Some(("placement", id)) => Key::Placement(ShardId(id.parse().ok()?)),
            Some(("shards", id)) => Key::Shard(ShardId(id.parse().ok()?)),
            Some(("drains", name)) => Key::Drain(NodeName::new(name).ok()?),
            Some(_) => return None,
        };
        // A number may be written in several ways, and only one of them is the znode's.
        let is_child = rest.matches('/').count() <= 1;
        (is_child && self.path(&key) == path).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_string_needs_hosts_ports_and_a_path() {
        let layout = Layout::parse("a:2181,b:2182/kvclusters/demo/").expect("valid");
        assert_eq!((layout.hosts(), layout.root()), ("a:2181,b:2182", "/kvclusters/demo"));
        for bad in
            ["", "a:1", "a:1/", "/x", "a/x", "a:0/x", "a:65536/x", "a:1,/x", "a:1/x//y", "a:1/../x", "a:1/zookeeper"]
        {
            assert!(Layout::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn every_path_leads_back_to_its_key() {
        let layout = Layout::parse("a:1/r/s").expect("valid");
        let node = NodeName::new("n-0").expect("valid");
        let mut keys = SINGLES.to_vec();
        keys.extend([
            Key::Member("abc-0000000001".into()),
            Key::Node(node.clone()),
            Key::Placement(ShardId(3)),
            Key::Shard(ShardId(4)),
            Key::Drain(node),
        ]);
        for key in keys {
            assert_eq!(layout.key(&layout.path(&key)), Some(key));
        }
        for other in [
            "/r/s",
            "/r/s/shards",
            "/r/s/shards/x",
            "/r/s/shards/+1",
            "/r/s/placement/01",
            "/r/s/members/a/b",
            "/r/s/other",
            "/r/sx/shards/1",
        ] {
            assert_eq!(layout.key(other), None, "{other}");
        }
    }
}
