use bytes::Bytes;
use kv_types::{NodeName, VolumeId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{Error, Result};

/// The highest format of a znode that this version writes and reads. Unknown fields are tolerated, newer formats not.
pub(crate) const FORMAT: u32 = 1;

/// The content of `cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterInfo {
    /// Written on every volume too, so that a volume never serves another cluster.
    pub uuid: Uuid,
}

/// The content of `config`: what all nodes must share. Fixed at the cluster's creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedConfig {
    /// Copies of each shard, the home's included; placement takes fewer while there are fewer nodes.
    pub copies: usize,
    /// Length L of the lease that a member grants, in milliseconds.
    pub lease_millis: u64,
    /// Below so many in-sync copies writes are refused.
    pub min_in_sync_copies: usize,
    /// Shards that the cluster begins with.
    pub initial_shards: u32,
    /// Where they part, instead of evenly; hexadecimal.
    #[serde(default, with = "hex_keys", skip_serializing_if = "Vec::is_empty")]
    pub split_keys: Vec<Bytes>,
    /// Whether the master has made them.
    #[serde(default)]
    pub shards_created: bool,
}

/// The content of `members/<guid>-<seq>` and `nodes/<node>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// The node's stable name.
    pub node: NodeName,
    /// Where peers and clients reach it.
    pub address: String,
    /// Its `data` volume.
    pub data: VolumeId,
    /// Its `bkpdata` volume.
    pub bkpdata: VolumeId,
    /// Where it stands: copies are kept in different zones when possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Of the program.
    pub version: String,
}

impl NodeInfo {
    /// Whether one of its two volumes is `volume`.
    #[must_use]
    pub fn has_volume(&self, volume: VolumeId) -> bool {
        self.data == volume || self.bkpdata == volume
    }
}

/// The content of `master`, and the clients' contract: while it exists the cluster is alive, and this is its master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterInfo {
    /// The master's name.
    pub id: NodeName,
    /// Its address.
    pub address: String,
}

/// The content of `controller`: its version fences the writes of former masters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// Grows by one with every master.
    pub epoch: u64,
    /// The last master; none before the first.
    pub id: Option<NodeName>,
}

#[derive(Serialize, Deserialize)]
struct Document<T> {
    format: u32,
    #[serde(flatten)]
    content: T,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// A znode's bytes.
pub(crate) fn encode<T: Serialize>(content: &T) -> Vec<u8> {
    // Content is made of strings, numbers, lists and maps with text keys, so it always has a JSON form.
    serde_json::to_vec(&Document { format: FORMAT, content }).unwrap_or_default()
}

/// The inverse of [`encode`]; `path` is for the error.
pub(crate) fn decode<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T> {
    let malformed = |error: serde_json::Error| Error::Malformed { path: path.to_owned(), reason: error.to_string() };
    let Format { format } = serde_json::from_slice(bytes).map_err(malformed)?;
    if format > FORMAT {
        return Err(Error::NewerFormat { path: path.to_owned(), found: format, known: FORMAT });
    }
    let document: Document<T> = serde_json::from_slice(bytes).map_err(malformed)?;
    Ok(document.content)
}

mod hex_keys {
    use bytes::Bytes;
    use kv_types::KeyRange;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Keys as the ends of ranges, so that all znodes write keys alike.
    pub(super) fn serialize<S: Serializer>(keys: &[Bytes], serializer: S) -> Result<S::Ok, S::Error> {
        let ranges: Vec<_> = keys.iter().map(|key| KeyRange { start: key.clone(), end: None }).collect();
        ranges.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Bytes>, D::Error> {
        let ranges = Vec::<KeyRange>::deserialize(deserializer)?;
        Ok(ranges.into_iter().map(|range| range.start).collect())
    }
}

#[cfg(test)]
mod tests {
    use kv_types::{Epoch, KeyRange, Lineage, ShardConfig};

    use super::*;

    #[test]
    fn documents_survive_their_encoding_and_tolerate_unknown_fields() {
        let volume = VolumeId(Uuid::from_u128(7));
        let config = ShardConfig {
            epoch: Epoch(3),
            lineage: Lineage(1),
            range: KeyRange::all(),
            primary: volume,
            isr: vec![volume],
        };
        assert_eq!(decode::<ShardConfig>("p", &encode(&config)).expect("reads"), config);

        let shared = SharedConfig {
            copies: 2,
            lease_millis: 800,
            min_in_sync_copies: 1,
            initial_shards: 3,
            split_keys: vec![Bytes::from_static(b"a"), Bytes::from_static(b"\xff")],
            shards_created: false,
        };
        assert_eq!(decode::<SharedConfig>("p", &encode(&shared)).expect("reads"), shared);

        let text = br#"{"format":1,"id":"demo-0","address":"127.0.0.1:1","later":{"x":1}}"#;
        assert_eq!(decode::<MasterInfo>("p", text).expect("reads").address, "127.0.0.1:1");
    }

    #[test]
    fn newer_formats_and_garbage_are_named() {
        let newer = decode::<MasterInfo>("/r/master", br#"{"format":2,"other":1}"#).expect_err("newer");
        assert!(matches!(newer, Error::NewerFormat { found: 2, known: 1, .. }), "{newer}");
        for garbage in [&b""[..], b"{}", b"\xff", br#"{"format":1}"#] {
            let error = decode::<MasterInfo>("/r/master", garbage).expect_err("garbage");
            assert!(matches!(error, Error::Malformed { .. }), "{error}");
        }
    }
}
