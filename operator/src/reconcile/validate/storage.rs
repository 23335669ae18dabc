use super::Invalid;
use crate::{
    api::VolumeSpec,
    reconcile::{quantity, validated::ValidatedVolume},
};

/// Size of a node's volume that does not say. The rules of the resource know it too.
pub(super) const NODE_SIZE: &str = "10Gi";
/// The same of a member's.
pub(super) const ZOOKEEPER_SIZE: &str = "2Gi";
/// A volume's size, at least: nodes and members alike make files of 64 MiB ahead of what they write.
const MIN_SIZE: (u64, &str) = (256 << 20, "256Mi");
/// A volume's size, at most: so that what is computed with it fits.
const MAX_SIZE: (u64, &str) = (1 << 60, "1Ei");

pub(super) fn volume(field: &str, spec: &VolumeSpec, default: &str) -> Result<ValidatedVolume, Invalid> {
    let size = spec.size.as_deref().unwrap_or(default);
    let invalid = |problem: String| Invalid::new("InvalidSize", format!("{field}.size: {problem}"));
    let bytes = quantity::bytes(size).map_err(|error| invalid(error.to_string()))?;
    if !(MIN_SIZE.0..=MAX_SIZE.0).contains(&bytes) {
        return Err(invalid(format!("{size}: write {} to {}, such as {default}", MIN_SIZE.1, MAX_SIZE.1)));
    }
    let storage_class = spec.storage_class_name.clone().filter(|class| !class.is_empty());
    Ok(ValidatedVolume { size: size.to_owned(), bytes, storage_class })
}
