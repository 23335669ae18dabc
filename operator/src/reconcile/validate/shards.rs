use super::Invalid;
use crate::api::Shards;

/// Shards of a new cluster, at most.
const MAX_SHARDS: i32 = 256;

/// Flags for the shards that a cluster begins with. A node that was given keys it can't use would end at once.
pub(super) fn shard_flags(shards: &Shards) -> Result<Vec<(String, String)>, Invalid> {
    let invalid = |message: String| Invalid::new("InvalidShards", message);
    match (shards.initial, &shards.split_keys) {
        (Some(_), Some(_)) => Err(invalid("spec.shards: write either initial or splitKeys".into())),
        (Some(count), None) if (1..=MAX_SHARDS).contains(&count) => Ok(vec![("shards".into(), count.to_string())]),
        (Some(count), None) => {
            Err(invalid(format!("spec.shards.initial is {count}: write a number from 1 to {MAX_SHARDS}")))
        }
        (None, Some(keys)) => split_keys(keys).map(|keys| vec![("split-keys".into(), keys)]).map_err(invalid),
        (None, None) => Ok(Vec::new()),
    }
}

fn split_keys(texts: &[String]) -> Result<String, String> {
    if texts.is_empty() || texts.len() >= MAX_SHARDS as usize {
        return Err(format!("spec.shards.splitKeys: {} keys: write 1 to {}", texts.len(), MAX_SHARDS - 1));
    }
    let mut keys = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        let key = key(text).ok_or_else(|| {
            format!(
                "spec.shards.splitKeys[{at}] is {text:?}: write text without commas and spaces, or 0x and pairs of \
                 hexadecimal digits"
            )
        })?;
        if keys.last().is_some_and(|last| *last >= key) {
            let before = &texts[at - 1];
            return Err(format!(
                "spec.shards.splitKeys[{at}] is {text:?}, which does not come after {before:?}: write the keys in \
                 ascending order, as bytes"
            ));
        }
        keys.push(key);
    }
    Ok(texts.join(","))
}

/// As a node reads it.
fn key(text: &str) -> Option<Vec<u8>> {
    let key = match text.strip_prefix("0x") {
        Some(digits) => hex::decode(digits).ok()?,
        None => text.as_bytes().to_vec(),
    };
    (!key.is_empty() && !text.contains([',', ' '])).then_some(key)
}
