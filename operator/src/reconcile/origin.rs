//! What was so when a cluster was created, and stays although the operator or the resource is another one now.

use std::collections::BTreeMap;

/// The image that was the operator's default when the cluster was created. It stays until the resource names one, so that a
/// newer operator restarts no pod.
pub const DEFAULT_IMAGE: &str = "kvcluster.io/default-image";
/// As [`DEFAULT_IMAGE`], of ZooKeeper's members.
pub const DEFAULT_ZOOKEEPER_IMAGE: &str = "kvcluster.io/default-zookeeper-image";
/// Nodes that were wished for when the cluster was created, which is how many its first master waits for.
pub const INITIAL_NODES: &str = "kvcluster.io/initial-nodes";

/// What was so at the creation: annotations of the nodes' headless Service, since a StatefulSet is deleted and made anew when
/// volumes grow. What is missing (none was made yet, or somebody removed it) is as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// See [`DEFAULT_IMAGE`].
    pub image: Option<String>,
    /// See [`DEFAULT_ZOOKEEPER_IMAGE`].
    pub zookeeper_image: Option<String>,
    /// See [`INITIAL_NODES`].
    pub nodes: Option<u32>,
}

impl Origin {
    /// Reads the annotations.
    #[must_use]
    pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Self {
        let image = |key: &str| annotations.get(key).filter(|image| !image.is_empty()).cloned();
        Self {
            image: image(DEFAULT_IMAGE),
            zookeeper_image: image(DEFAULT_ZOOKEEPER_IMAGE),
            nodes: annotations.get(INITIAL_NODES).and_then(|count| count.parse().ok()),
        }
    }

    /// Writes them.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let values = [
            (DEFAULT_IMAGE, self.image.clone()),
            (DEFAULT_ZOOKEEPER_IMAGE, self.zookeeper_image.clone()),
            (INITIAL_NODES, self.nodes.map(|count| count.to_string())),
        ];
        values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_read_as_it_is_written_and_nonsense_counts_as_missing() {
        let origin = Origin { image: Some("a:1".into()), zookeeper_image: Some("b:2".into()), nodes: Some(5) };
        assert_eq!(Origin::from_annotations(&origin.annotations()), origin);
        let nonsense =
            BTreeMap::from([(INITIAL_NODES.to_owned(), "many".to_owned()), (DEFAULT_IMAGE.to_owned(), String::new())]);
        assert_eq!(Origin::from_annotations(&nonsense), Origin::default());
    }
}
