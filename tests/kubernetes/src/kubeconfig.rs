use std::path::Path;

use serde_json::json;

use crate::{
    certificates::{Authority, Certificate},
    error::{Error, Result},
    layout::write_file,
    network::API_SERVER,
};

/// Writes a kubeconfig (JSON, which is YAML) that names the files of a user's certificate.
pub(crate) fn write(file: &Path, authority: &Authority, user: &Certificate) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "kv",
        "contexts": [{ "name": "kv", "context": { "cluster": "kv", "user": "kv" } }],
        "clusters": [{
            "name": "kv",
            "cluster": { "server": format!("https://{API_SERVER}"), "certificate-authority": authority.certificate() },
        }],
        "users": [{
            "name": "kv",
            "user": { "client-certificate": user.certificate, "client-key": user.key },
        }],
    });
    write_file(file, pretty(&config)?)
}

/// JSON for a program's configuration.
pub(crate) fn pretty(value: &serde_json::Value) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|source| Error::Unreadable { from: "a configuration".into(), source })
}
