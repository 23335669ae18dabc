use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

/// Where things lie: all of it below `.cache/kubernetes` of the source tree.
#[derive(Clone, Debug)]
pub struct Layout {
    tree: PathBuf,
}

impl Layout {
    /// Of the tree that this was built from.
    ///
    /// # Errors
    /// [`Error::File`] if that is no longer there.
    pub fn of_this_tree() -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tree = here.canonicalize().map_err(Error::file("find", &here))?;
        Ok(Self { tree })
    }

    /// The source tree.
    #[must_use]
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// What is kept from cluster to cluster.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.tree.join(".cache/kubernetes")
    }

    /// The programs of Kubernetes, `kubectl` and `helm` among them.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.cache().join("bin")
    }

    /// One of [`Self::programs`].
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs().join(name)
    }

    /// Image archives, and what they are made from.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.cache().join("images")
    }

    /// The running cluster: made by `up`, removed by `down`.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.cache().join("run")
    }

    /// What identifies users to the API server, the administrator's file among them.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.run().join("secrets")
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.run().join("kubeconfig")
    }

    /// The disk of one machine.
    #[must_use]
    pub fn machine(&self, name: &str) -> PathBuf {
        self.run().join("machines").join(name)
    }

    /// Logs of all processes, kept until the next cluster is made.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.cache().join("logs")
    }
}

/// Makes a folder and those above it.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::file("make", path))
}

/// Writes a file and the folders above it.
pub(crate) fn write_file(path: &Path, text: impl AsRef<[u8]>) -> Result<()> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    fs::write(path, text).map_err(Error::file("write", path))
}

/// Removes a folder with what is in it, if it is there.
pub(crate) fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}
