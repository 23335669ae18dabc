use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::DynamicObject,
};
use serde::Serialize;

use super::{
    build::service_monitor_kind,
    live::{LiveObject, LiveObjects, ObjectKey},
    names::{MANAGER, Names},
    object::Object,
};

/// Makes objects as they are to be, by server-side apply, and leaves those alone that are so already: at rest nothing is
/// written.
///
/// What an object is to be is compared with what was applied last; whether somebody has changed it since, by its version. An operator
/// that starts knows nothing and applies everything once, which changes nothing.
pub struct Applier {
    client: Client,
    marks: Mutex<HashMap<MarkKey, Mark>>,
}

/// The fingerprint of an object that is not to be there.
const NOTHING: u64 = 0;

/// The cluster's UID, and an object of it.
type MarkKey = (String, ObjectKey);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    wished: u64,
    version: String,
}

/// What could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object of that name belongs to somebody else.
    #[error("{kind} {name} exists and does not belong to this cluster: remove it, or give the cluster another name")]
    Foreign {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The API server does not take it as it is.
    #[error("{kind} {name} is refused: {message}")]
    Refused {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// The API server's words.
        message: String,
    },
    /// The API server could not be asked, or is busy.
    #[error("can't {verb} {kind} {name}")]
    Passing {
        /// What was tried.
        verb: &'static str,
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

impl Error {
    /// Of a request for an object.
    pub(super) fn of(verb: &'static str, (kind, name): ObjectKey, source: kube::Error) -> Self {
        match source {
            // 403 is a quota or an admission policy as often as a missing right: all are a person's to mend.
            kube::Error::Api(status) if [400, 403, 422].contains(&status.code) => {
                Self::Refused { kind, name, message: status.message.clone() }
            }
            source => Self::Passing { verb, kind, name, source: Box::new(source) },
        }
    }
}

impl Applier {
    /// Applies with a client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, marks: Mutex::default() }
    }

    /// Makes an object of a cluster as it is to be. Returns whether that has changed it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn apply<K: Object>(&self, owner: &str, live: &LiveObjects, object: &K) -> Result<bool, Error> {
        let key = (K::kind(&()).into_owned(), object.name_any());
        let namespace = object.namespace().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let wished = fingerprint(object);
        let found = match live.get(&key) {
            Some(found) => Some(found.clone()),
            // What has lost its labels, or never had them, was not listed.
            None => {
                let found = api.get_metadata_opt(&key.1).await;
                found.map_err(|error| Error::of("read", key.clone(), error))?.as_ref().map(LiveObject::of_metadata)
            }
        };
        if let Some(found) = &found {
            if found.owner.as_deref() != Some(owner) {
                let (kind, name) = key;
                return Err(Error::Foreign { kind, name });
            }
            if self.marks().get(&(owner.to_owned(), key.clone()))
                == Some(&Mark { wished, version: found.version.clone() })
            {
                return Ok(false);
            }
        }
        let applied = api.patch(&key.1, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object)).await;
        let applied = applied.map_err(|error| Error::of("apply", key.clone(), error))?;
        let version = LiveObject::of(&applied).version;
        tracing::debug!(kind = key.0, name = key.1, namespace, "applied");
        let changed = found.is_none_or(|found| found.version != version);
        self.marks().insert((owner.to_owned(), key), Mark { wished, version });
        Ok(changed)
    }

    /// Deletes an object that is no longer wished for, if it is there and belongs to the cluster.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn remove<K: Object>(
        &self,
        owner: &str,
        live: &LiveObjects,
        namespace: &str,
        name: &str,
    ) -> Result<(), Error> {
        let key = (K::kind(&()).into_owned(), name.to_owned());
        if live.get(&key).is_none_or(|found| found.owner.as_deref() != Some(owner)) {
            return Ok(());
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        self.marks().remove(&(owner.to_owned(), key.clone()));
        match api.delete(name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(Error::of("delete", key, error)),
        }
    }

    /// Makes the ServiceMonitor as it is to be, or removes it. Its kind is the Prometheus operator's, which may not be there.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn service_monitor(
        &self,
        owner: &str,
        names: &Names,
        object: Option<&DynamicObject>,
    ) -> Result<(), Error> {
        let kind = service_monitor_kind();
        let (name, api) =
            (names.nodes(), Api::<DynamicObject>::namespaced_with(self.client.clone(), &names.namespace, &kind));
        let key: ObjectKey = (kind.kind.clone(), name.clone());
        let mark = (owner.to_owned(), key.clone());
        let wished = object.map_or(NOTHING, fingerprint);
        // A ServiceMonitor is not watched, so that a change of it by somebody else is seen only after a restart.
        if self.marks().get(&mark).is_some_and(|known| known.wished == wished) {
            return Ok(());
        }
        let found = match api.get_metadata_opt(&name).await {
            Ok(found) => found.as_ref().map(LiveObject::of_metadata),
            // The operator may have no right to a kind that nobody asked for.
            Err(kube::Error::Api(status)) if object.is_none() && [403, 404].contains(&status.code) => None,
            Err(error) => return Err(Error::of("read", key, error)),
        };
        if found.as_ref().is_some_and(|found| found.owner.as_deref() != Some(owner)) {
            let (kind, name) = key;
            return if object.is_some() { Err(Error::Foreign { kind, name }) } else { Ok(()) };
        }
        match object {
            Some(object) => {
                let applied = api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object)).await;
                applied.map_err(|error| Error::of("apply", key.clone(), error))?;
            }
            None if found.is_some() => match api.delete(&name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                deleted => drop(deleted.map_err(|error| Error::of("delete", key.clone(), error))?),
            },
            None => {}
        }
        self.marks().insert(mark, Mark { wished, version: String::new() });
        Ok(())
    }

    /// Forgets what it knows of a cluster that is gone.
    pub fn forget(&self, owner: &str) {
        self.marks().retain(|(cluster, _), _| cluster != owner);
    }

    fn marks(&self) -> MutexGuard<'_, HashMap<MarkKey, Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deletes the very object that was meant: another one of its name is left alone.
#[must_use]
pub fn only(uid: &str) -> DeleteParams {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }
}

fn fingerprint<K: Serialize>(object: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    // What can't be written as JSON can't be sent either: applying it fails then.
    serde_json::to_string(object).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}
