use std::collections::HashMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt, core::PartialObjectMeta};

/// The kind of an object, and its name.
pub type ObjectKey = (String, String);

/// Objects of a cluster as they were read, as far as it takes to see whether somebody has changed them.
#[derive(Clone, Debug, Default)]
pub struct LiveObjects(HashMap<ObjectKey, LiveObject>);

/// An object that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveObject {
    /// Changes with what the object is to be, and not with what its controller reports, where Kubernetes tells these apart.
    pub version: String,
    /// The UID of the controller that owns it.
    pub owner: Option<String>,
}

impl LiveObject {
    /// Of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self::of_meta(object.meta())
    }

    /// Of an object of which only its metadata were read.
    #[must_use]
    pub fn of_metadata<K>(object: &PartialObjectMeta<K>) -> Self {
        Self::of_meta(&object.metadata)
    }

    fn of_meta(meta: &ObjectMeta) -> Self {
        let version = match meta.generation {
            Some(generation) => {
                // A generation says nothing of labels and annotations.
                format!("{} {:?} {:?}", generation, meta.labels, meta.annotations)
            }
            None => meta.resource_version.clone().unwrap_or_default(),
        };
        let owners = meta.owner_references.iter().flatten();
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone());
        Self { version: format!("{} {version}", meta.uid.as_deref().unwrap_or_default()), owner }
    }
}

impl LiveObjects {
    /// Adds objects of one kind.
    pub fn extend<K: Resource<DynamicType = ()>>(&mut self, objects: &[K]) {
        for object in objects {
            self.0.insert((K::kind(&()).into_owned(), object.name_any()), LiveObject::of(object));
        }
    }

    /// An object, if it is there.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<&LiveObject> {
        self.0.get(key)
    }
}
