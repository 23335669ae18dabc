use std::path::Path;

use kv_types::NodeName;

use super::{FORMAT, understand};

/// The identity of a volume: it survives its encoding, and its node's name is one.
#[allow(clippy::expect_used, reason = "what fails is the finding")]
pub fn identity(bytes: &[u8]) -> bool {
    let path = Path::new("volume");
    let Ok(identity) = understand(path, bytes) else { return false };
    assert!(identity.format_version <= FORMAT);
    assert!(NodeName::new(identity.node.as_str()).is_ok(), "{:?} is not the name of a node", identity.node);
    let encoded = serde_json::to_vec_pretty(&identity).expect("it can be written");
    assert_eq!(understand(path, &encoded).expect("it can be read again"), identity);
    true
}

#[cfg(test)]
mod tests {
    use kv_corpus::Seed;
    use kv_types::{Folder, VolumeId};
    use uuid::Uuid;

    use super::{super::Identity, *};

    #[test]
    fn damaged_identities_are_refused_or_understood() {
        let new = Identity {
            format_version: FORMAT,
            volume: VolumeId(Uuid::from_u128(7)),
            folder: Folder::Bkpdata,
            node: NodeName::new("demo-0.kv").unwrap(),
            cluster: None,
        };
        let bound = Identity { cluster: Some(Uuid::from_u128(9)), folder: Folder::Data, ..new.clone() };
        let mut seeds: Vec<Seed> =
            [new, bound].iter().map(|identity| serde_json::to_vec_pretty(identity).unwrap().into()).collect();
        let text = String::from_utf8(seeds[0].bytes.clone()).unwrap();
        seeds.push(Seed::find("no-name", text.replace("demo-0.kv", "demo-0/kv").into_bytes()));
        kv_corpus::check("identity", &seeds, identity);
    }
}
