//! What the fuzzers call. A target takes any bytes, says whether it has understood them, and panics if what must hold then
//! does not.

use std::fmt::Debug;

use kv_types::{NodeName, Placement, ShardConfig};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    ClusterInfo, Controller, MasterInfo, NodeInfo, SharedConfig,
    document::{decode, encode},
    layout::{Key, Layout},
    watcher::sequence_of,
};

/// How much longer a document may be when it is written again, beside twice its length: fields that were left out.
const ADDED: usize = 200;

/// The content of a znode: its kind, then the document. It survives its encoding, and names in it are names.
pub fn znode(bytes: &[u8]) -> bool {
    let Some((kind, document)) = bytes.split_first() else { return false };
    match kind % 7 {
        0 => understood::<ClusterInfo>(document).is_some(),
        1 => understood::<SharedConfig>(document).is_some(),
        2 => understood::<NodeInfo>(document).is_some_and(|info| is_name(&info.node)),
        3 => understood::<MasterInfo>(document).is_some_and(|info| is_name(&info.id)),
        4 => understood::<Controller>(document).is_some_and(|info| info.id.as_ref().is_none_or(is_name)),
        5 => understood::<Placement>(document).is_some_and(|placement| is_name(&placement.home)),
        _ => understood::<ShardConfig>(document).is_some(),
    }
}

#[allow(clippy::expect_used, reason = "what fails is the finding")]
fn understood<T: Serialize + DeserializeOwned + PartialEq + Debug>(document: &[u8]) -> Option<T> {
    let content: T = decode("/root/znode", document).ok()?;
    let again = encode(&content);
    assert!(again.len() <= 2 * document.len() + ADDED, "{content:?} has grown to {} bytes", again.len());
    assert_eq!(decode::<T>("/root/znode", &again).expect("what was written is read"), content);
    Some(content)
}

fn is_name(node: &NodeName) -> bool {
    assert!(NodeName::new(node.as_str()).is_ok(), "{node:?} is not the name of a node");
    true
}

/// The path of a znode, or what says where ZooKeeper is. No two paths are of one znode.
pub fn znode_path(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    if let Ok(layout) = Layout::parse(text) {
        let root = layout.root();
        assert!(root.starts_with('/') && !root.ends_with('/') && !root.contains("//"), "{root:?}");
        let again = format!("{}{root}", layout.hosts());
        assert!(Layout::parse(&again).is_ok_and(|twice| twice.root() == root && twice.hosts() == layout.hosts()));
        return true;
    }
    let Ok(layout) = Layout::parse("host:1/r") else { return false };
    let Some(key) = layout.key(text) else { return false };
    assert_eq!(layout.path(&key), text, "{key:?}");
    if let Key::Member(name) = &key {
        assert!(!name.contains('/'), "{name:?} is not a child of the members");
        // What ZooKeeper has put behind the name is not below what it counts with.
        assert!(sequence_of(name).is_none_or(|number| number >= 0), "{name:?}");
    }
    true
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kv_corpus::Seed;
    use kv_types::{Epoch, KeyRange, Lineage, ShardId, VolumeId};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn damaged_znodes_are_refused_or_understood() {
        let volume = |n| VolumeId(Uuid::from_u128(n));
        let node = NodeName::new("demo-0").expect("it is a name");
        let address = "127.0.0.1:4000".to_owned();
        let shared = SharedConfig {
            copies: 2,
            lease_millis: 800,
            min_in_sync_copies: 1,
            initial_shards: 3,
            split_keys: vec![Bytes::from_static(b"a"), Bytes::from_static(b"\xff")],
            shards_created: true,
        };
        let info = NodeInfo {
            node: node.clone(),
            address: address.clone(),
            data: volume(1),
            bkpdata: volume(2),
            zone: Some("zone".into()),
            version: "0.1.0".into(),
        };
        let range = KeyRange { start: "a".into(), end: Some("m".into()) };
        let (primary, isr) = (volume(1), vec![volume(1), volume(2)]);
        let documents = [
            encode(&ClusterInfo { uuid: Uuid::from_u128(9) }),
            encode(&shared),
            encode(&info),
            encode(&MasterInfo { id: node.clone(), address }),
            encode(&Controller { epoch: 7, id: Some(node.clone()) }),
            encode(&Placement { home: node, replicas: isr.clone(), copies: 2 }),
            encode(&ShardConfig { epoch: Epoch(3), lineage: Lineage(1), range, primary, isr }),
        ];
        let seed = |(kind, document): (usize, &Vec<u8>)| Seed::from([&[kind as u8], document.as_slice()].concat());
        let seeds: Vec<_> = documents.iter().enumerate().map(seed).collect();
        kv_corpus::check("znode", &seeds, znode);
    }

    #[test]
    fn damaged_paths_of_znodes_are_refused_or_understood() {
        let layout = Layout::parse("host:1/r").expect("it is one");
        let node = NodeName::new("demo-0").expect("it is a name");
        let mut keys = crate::layout::SINGLES.to_vec();
        keys.push(Key::Member("d9428888122b11e1b85c61cd3cbb3210-0000000007".into()));
        keys.extend([Key::Placement(ShardId(13)), Key::Shard(ShardId(204)), Key::Node(node.clone()), Key::Drain(node)]);
        let mut seeds: Vec<_> = keys.iter().map(|key| Seed::from(layout.path(key).into_bytes())).collect();
        seeds.push(Seed::from(b"zk-0.zk:2181,zk-1.zk:2181/kvclusters/demo".to_vec()));
        seeds.push(Seed::find("other-number", b"/r/shards/+204".to_vec()));
        kv_corpus::check("znode_path", &seeds, znode_path);
    }
}
