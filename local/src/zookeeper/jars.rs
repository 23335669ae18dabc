use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    error::{Error, Result},
    packages::{self, run},
    process::in_path,
};

/// Names what is fetched.
const POM: &str = include_str!("../../zookeeper/pom.xml");
const LOGBACK: &str = include_str!("../../zookeeper/logback.xml");

/// The jars of a ZooKeeper server, and a Java to run them with.
#[derive(Clone, Debug)]
pub struct Jars {
    java: PathBuf,
    directory: PathBuf,
}

impl Jars {
    /// Finds the jars in the cache, or has Maven fetch them into it (some 10 MB). Blocks. As root on a Debian, Java
    /// and Maven are installed where they are missing.
    ///
    /// The cache is `KV_LOCAL_CACHE`, or else `.cache` in the source tree that this was built from, or else
    /// `~/.cache/kvcluster`.
    ///
    /// # Errors
    /// [`Error::MissingTool`] without Java (or Maven, if there is something to fetch), [`Error::Command`] if Maven
    /// fails, [`Error::File`] if the cache can't be written.
    pub fn fetch() -> Result<Self> {
        let cache = cache().join("zookeeper");
        fs::create_dir_all(&cache).map_err(Error::file("make", &cache))?;
        // One at a time: tests start clusters in parallel.
        let lock_path = cache.join("lock");
        let lock = File::create(&lock_path).map_err(Error::file("make", &lock_path))?;
        lock.lock().map_err(Error::file("lock", &lock_path))?;

        let directory = cache.join(version());
        let java = tool("java")?;
        if !directory.is_dir() {
            fetch_into(&cache, &directory)?;
        }
        Ok(Self { java, directory })
    }

    /// The Java to run.
    #[must_use]
    pub fn java(&self) -> &Path {
        &self.java
    }

    /// The class path, `logback.xml` among it.
    #[must_use]
    pub fn class_path(&self) -> String {
        format!("{0}:{0}/*", self.directory.display())
    }
}

/// Another one for each `pom.xml`: what another one has fetched is not used, and not taken from those who do.
fn version() -> String {
    let mut hasher = DefaultHasher::new();
    (POM, LOGBACK).hash(&mut hasher);
    format!("jars-{:016x}", hasher.finish())
}

fn cache() -> PathBuf {
    if let Some(cache) = std::env::var_os("KV_LOCAL_CACHE") {
        return cache.into();
    }
    let source_tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if let Ok(source_tree) = source_tree.canonicalize() {
        return source_tree.join(".cache");
    }
    let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
    home.join(".cache/kvcluster")
}

/// Renames last: a directory of that name is whole.
fn fetch_into(cache: &Path, directory: &Path) -> Result<()> {
    let maven = tool("mvn")?;
    let partial = cache.join("partial");
    if partial.is_dir() {
        fs::remove_dir_all(&partial).map_err(Error::file("remove", &partial))?;
    }
    fs::create_dir(&partial).map_err(Error::file("make", &partial))?;
    let pom = cache.join("pom.xml");
    fs::write(&pom, POM).map_err(Error::file("write", &pom))?;
    let logback = partial.join("logback.xml");
    fs::write(&logback, LOGBACK).map_err(Error::file("write", &logback))?;

    let mut fetch = Command::new(maven);
    fetch
        .args(["-q", "-B", "-f"])
        .arg(&pom)
        .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", partial.display()));
    run(fetch)?;
    fs::rename(&partial, directory).map_err(Error::file("make", directory))
}

/// `name` in PATH, installed first if it is missing and may be.
fn tool(name: &'static str) -> Result<PathBuf> {
    if let Some(path) = in_path(name) {
        return Ok(path);
    }
    if packages::can_install() {
        eprintln!("kv-local: {name} is not installed: installing Java and Maven by apt-get");
        packages::install(&["default-jre-headless", "maven"])?;
    }
    in_path(name).ok_or(Error::MissingTool { tool: name })
}
