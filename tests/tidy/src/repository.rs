use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// What is looked at: text files, and the workspace's packages.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    /// All text files, in the order of their paths.
    pub files: Vec<SourceFile>,
    /// The members of the workspace.
    pub packages: Vec<Package>,
    /// All crates from outside that are built for this platform.
    pub dependencies: Vec<Dependency>,
}

/// A text file.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// From the root, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// A member of the workspace.
#[derive(Clone, Debug, Default)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its manifest, from the root.
    pub manifest: String,
    /// Names of what it depends on, in the workspace and outside; without what only its tests use.
    pub dependencies: Vec<String>,
    /// Those that only its tests use.
    pub test_dependencies: Vec<String>,
    /// `dependency/feature` for each feature that it asks for.
    pub features: Vec<String>,
}

/// A crate from outside.
#[derive(Clone, Debug, Default)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// As its manifest has it; empty if it says nothing.
    pub licence: String,
    /// Where it comes from, such as `registry+…`; empty: a folder.
    pub source: String,
}

/// Not part of the sources.
const LEFT_OUT: [&str; 3] = ["target", ".git", ".cache"];
/// What is read as text, by the end of its name.
const TEXT: [&str; 12] =
    [".rs", ".toml", ".md", ".proto", ".sh", ".xml", ".json", ".yaml", ".svg", "Makefile", "Containerfile", ".ci/run"];

impl Repository {
    /// Reads the repository that this crate lies in.
    ///
    /// # Errors
    /// If files can't be read, or Cargo does not describe the workspace.
    pub fn open() -> io::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let mut paths = Vec::new();
        collect(&root, &mut paths)?;
        paths.sort();
        let mut files = Vec::new();
        for path in paths {
            let relative = path.strip_prefix(&root).map_err(io::Error::other)?.to_string_lossy().into_owned();
            if TEXT.iter().any(|end| relative.ends_with(end)) {
                files.push(SourceFile { path: relative, text: fs::read_to_string(&path)? });
            }
        }
        let (packages, dependencies) = crates(&root)?;
        Ok(Self { files, packages, dependencies })
    }

    /// The files whose path ends so.
    pub fn ending(&self, end: &str) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(move |file| file.path.ends_with(end))
    }

    /// The content of a file; empty if there is none, so that a check of it fails.
    #[must_use]
    pub fn text(&self, path: &str) -> &str {
        self.files.iter().find(|file| file.path == path).map_or("", |file| &file.text)
    }
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let left_out = LEFT_OUT.iter().any(|name| entry.file_name() == *name);
        if entry.file_type()?.is_dir() && !left_out {
            collect(&entry.path(), paths)?;
        } else if entry.file_type()?.is_file() {
            paths.push(entry.path());
        }
    }
    Ok(())
}

fn crates(root: &Path) -> io::Result<(Vec<Package>, Vec<Dependency>)> {
    // Without a platform Cargo would want to have those of all others too.
    let compiler = output(Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"))?;
    let compiler = String::from_utf8_lossy(&compiler).into_owned();
    let platform = compiler.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    let arguments = ["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", platform];
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata: Value = serde_json::from_slice(&output(Command::new(cargo).args(arguments).current_dir(root))?)?;
    let (own, outside): (Vec<_>, Vec<_>) = list(&metadata["packages"])
        .partition(|package| list(&metadata["workspace_members"]).any(|id| *id == package["id"]));
    let packages = own.into_iter().map(|package| Package::from_metadata(package, root)).collect();
    Ok((packages, outside.into_iter().map(Dependency::from_metadata).collect()))
}

fn output(command: &mut Command) -> io::Result<Vec<u8>> {
    let Output { status, stdout, stderr } = command.output()?;
    if status.success() { Ok(stdout) } else { Err(io::Error::other(String::from_utf8_lossy(&stderr).into_owned())) }
}

impl Dependency {
    fn from_metadata(metadata: &Value) -> Self {
        let [name, version, licence, source] =
            ["name", "version", "license", "source"].map(|field| text(&metadata[field]).to_owned());
        Self { name, version, licence, source }
    }
}

impl Package {
    fn from_metadata(metadata: &Value, root: &Path) -> Self {
        let manifest = Path::new(text(&metadata["manifest_path"]));
        let mut package = Self {
            name: text(&metadata["name"]).to_owned(),
            manifest: manifest.strip_prefix(root).unwrap_or(manifest).to_string_lossy().into_owned(),
            ..Self::default()
        };
        for dependency in list(&metadata["dependencies"]) {
            let name = text(&dependency["name"]).to_owned();
            package.features.extend(list(&dependency["features"]).map(|feature| format!("{name}/{}", text(feature))));
            if dependency["kind"] == "dev" {
                package.test_dependencies.push(name);
            } else {
                package.dependencies.push(name);
            }
        }
        package
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
