use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use sha1::{Digest as _, Sha1};

use super::super::metadata::metadata;
use crate::reconcile::{dereference::SUPER_SECRET_KEY, names::Component, validated::ValidatedCluster};

/// The key of the digest, which is all that members get to see.
pub(super) const SUPER_DIGEST_KEY: &str = "super-digest";

/// The password of ZooKeeper's `super`, who may reconfigure the ensemble: only the operator has it.
pub(super) fn secret(cluster: &ValidatedCluster, password: &str) -> Secret {
    let data = [(SUPER_SECRET_KEY, password.to_owned()), (SUPER_DIGEST_KEY, digest(password))];
    let data: BTreeMap<_, _> =
        data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes()))).collect();
    Secret {
        metadata: metadata(cluster, Component::ZooKeeper, cluster.names.zookeeper()),
        data: Some(data),
        type_: Some("Opaque".into()),
        ..Secret::default()
    }
}

/// As ZooKeeper's `DigestAuthenticationProvider` makes it.
fn digest(password: &str) -> String {
    format!("super:{}", STANDARD.encode(Sha1::digest(format!("super:{password}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_zookeeper() {
        assert_eq!(digest("test"), "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
    }
}
