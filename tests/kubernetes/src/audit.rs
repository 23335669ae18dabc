//! The API server's own account of what was written to it.

use std::{
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
};

use serde::Deserialize;

use crate::{
    cluster::Cluster,
    control_plane::audit_log,
    error::{Error, Result},
};

/// A write that the API server has answered. Events are left out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// Who wrote.
    pub user: User,
    /// With which program.
    #[serde(default)]
    pub user_agent: String,
    /// What was written.
    #[serde(default)]
    pub object_ref: ObjectReference,
    /// What was asked for, with its query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
}

/// A user of the API server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct User {
    /// `system:serviceaccount:NAMESPACE:NAME` for a pod.
    pub username: String,
}

/// What a request names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ObjectReference {
    /// Such as `leases`.
    pub resource: String,
    /// Empty for what is in none.
    pub namespace: String,
    /// Empty for a request that names none.
    pub name: String,
    /// Such as `status`; empty for none.
    pub subresource: String,
}

/// A place in the account.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

impl Cluster {
    /// The end of the account.
    ///
    /// # Errors
    /// [`Error::Foreign`], [`Error::File`].
    pub fn audit_mark(&self) -> Result<Mark> {
        let path = audit_log(self.layout("the API server's audit log")?);
        path.metadata().map(|file| Mark(file.len())).map_err(Error::file("read", &path))
    }

    /// All writes since `mark`, by anybody.
    ///
    /// # Errors
    /// [`Error::Foreign`], [`Error::File`], [`Error::Unreadable`].
    pub fn writes_since(&self, mark: Mark) -> Result<Vec<Write>> {
        let path = audit_log(self.layout("the API server's audit log")?);
        let mut file = File::open(&path).map_err(Error::file("read", &path))?;
        file.seek(SeekFrom::Start(mark.0)).map_err(Error::file("read", &path))?;
        let mut file = BufReader::new(file);
        let mut writes = Vec::new();
        let mut line = String::new();
        while file.read_line(&mut line).map_err(Error::file("read", &path))? > 0 {
            // The last one may be half written.
            if line.ends_with('\n') {
                let unreadable = |source| Error::Unreadable { from: "the API server's audit log".into(), source };
                writes.push(serde_json::from_str(&line).map_err(unreadable)?);
            }
            line.clear();
        }
        Ok(writes)
    }
}
