use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    command::run,
    error::{Error, Result},
    layout::{Layout, make_folder, remove_folder, write_file},
    progress::step,
};

/// What an image is made from.
#[derive(Clone, Debug, Default)]
pub(super) struct Recipe {
    containerfile: String,
    arguments: Vec<String>,
    /// What lies in the folder that the image is built from, by its path there.
    context: BTreeMap<PathBuf, Content>,
    /// Of another image below it.
    base: String,
}

#[derive(Clone, Debug, Hash)]
enum Content {
    /// A copy of a file.
    File(PathBuf),
    /// A copy of a program without what is there for debuggers.
    Program(PathBuf),
    /// A text that can be run.
    Script(String),
    Text(String),
    /// A symbolic link.
    Link(PathBuf),
    Folder,
}

/// An image in a file.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    pub(crate) path: PathBuf,
    /// Another one for each content.
    pub(crate) fingerprint: String,
}

impl Recipe {
    pub(super) fn new(containerfile: impl Into<String>) -> Self {
        Self { containerfile: containerfile.into(), ..Self::default() }
    }

    /// Built upon another one: `BASE` in the Containerfile.
    pub(super) fn upon(mut self, name: &str, base: &Archive) -> Self {
        self.arguments.push(format!("BASE={name}"));
        self.base.clone_from(&base.fingerprint);
        self
    }

    pub(super) fn file(mut self, path: impl Into<PathBuf>, from: impl Into<PathBuf>) -> Self {
        self.context.insert(path.into(), Content::File(from.into()));
        self
    }

    pub(super) fn program(mut self, path: impl Into<PathBuf>, from: impl Into<PathBuf>) -> Self {
        self.context.insert(path.into(), Content::Program(from.into()));
        self
    }

    pub(super) fn script(mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.context.insert(path.into(), Content::Script(text.into()));
        self
    }

    pub(super) fn text(mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.context.insert(path.into(), Content::Text(text.into()));
        self
    }

    pub(super) fn link(mut self, path: impl Into<PathBuf>, to: impl Into<PathBuf>) -> Self {
        self.context.insert(path.into(), Content::Link(to.into()));
        self
    }

    pub(super) fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.context.insert(path.into(), Content::Folder);
        self
    }

    /// Builds it as `name`, unless that has been done.
    pub(super) fn build(&self, layout: &Layout, name: &str) -> Result<Archive> {
        let file = name.replace(['/', ':'], "-");
        let path = layout.images().join(format!("{file}.tar"));
        let stamp = layout.images().join(format!("{file}.made-from"));
        let fingerprint = self.fingerprint()?;
        let archive = Archive { path, fingerprint };
        if archive.path.is_file() && fs::read_to_string(&stamp).is_ok_and(|made| made == archive.fingerprint) {
            return Ok(archive);
        }
        step(&format!("built the image {name}"), || {
            let context = layout.images().join(format!("{file}.context"));
            remove_folder(&context)?;
            self.lay_out(&context)?;
            let containerfile = layout.images().join(format!("{file}.containerfile"));
            write_file(&containerfile, &self.containerfile)?;
            let arguments = self.arguments.iter().flat_map(|argument| ["--build-arg", argument]);
            let options = ["build", "--quiet", "--pull-never", "--isolation", "chroot", "--tag", name, "--file"];
            run(buildah(layout).args(options).arg(&containerfile).args(arguments).arg(&context))?;
            let _ = fs::remove_file(&archive.path);
            run(buildah(layout)
                .args(["push", "--quiet", name])
                .arg(format!("docker-archive:{}:{name}", archive.path.display())))?;
            // Those that had the name before.
            run(buildah(layout).args(["rmi", "--prune"]))?;
            remove_folder(&context)
        })?;
        write_file(&stamp, &archive.fingerprint)?;
        Ok(archive)
    }

    fn lay_out(&self, context: &Path) -> Result<()> {
        make_folder(context)?;
        for (path, content) in &self.context {
            let to = context.join(path);
            if let Some(folder) = to.parent() {
                make_folder(folder)?;
            }
            match content {
                Content::File(from) => fs::copy(from, &to).map(drop).map_err(Error::file("copy", from))?,
                Content::Program(from) => run(Command::new("strip").arg("-o").arg(&to).arg(from)).map(drop)?,
                Content::Script(text) => {
                    write_file(&to, text)?;
                    fs::set_permissions(&to, Permissions::from_mode(0o755)).map_err(Error::file("change", &to))?;
                }
                Content::Text(text) => write_file(&to, text)?,
                Content::Link(target) => std::os::unix::fs::symlink(target, &to).map_err(Error::file("make", &to))?,
                Content::Folder => make_folder(&to)?,
            }
        }
        Ok(())
    }

    fn fingerprint(&self) -> Result<String> {
        let mut hasher = DefaultHasher::new();
        (&self.containerfile, &self.arguments, &self.context, &self.base).hash(&mut hasher);
        for content in self.context.values() {
            if let Content::File(from) | Content::Program(from) = content {
                hash_file(from, &mut hasher).map_err(Error::file("read", from))?;
            }
        }
        Ok(format!("{:016x}", hasher.finish()))
    }
}

/// With a store of its own, which goes with the cache.
fn buildah(layout: &Layout) -> Command {
    let store = layout.images().join("store");
    let mut command = Command::new("buildah");
    command.arg("--root").arg(&store).arg("--runroot").arg(layout.images().join("store-run"));
    command.args(["--storage-driver", "overlay"]);
    command
}

fn hash_file(path: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    fs::read(path)?.hash(hasher);
    Ok(())
}
