use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use kv_local::in_path;

use crate::error::{Error, Result};

const SERVER: (&str, &str) = ("go.etcd.io/etcd/server/v3", "etcd");
const TOOL: (&str, &str) = ("go.etcd.io/etcd/v3/tools/benchmark", "benchmark");
const GO_MOD: &str = include_str!("../../../modules/etcd/go.mod");
const NO_GO: &str = "install Go 1.24 or later, or leave etcd out by `--systems kv,zookeeper`";

/// etcd and its load generator.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) server: PathBuf,
    pub(super) tool: PathBuf,
}

impl Programs {
    /// Builds those that are not in `cache` yet. Blocks; the first time for some minutes.
    pub(super) fn build(cache: &Path) -> Result<Self> {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("modules/etcd");
        // Another folder for each version.
        let folder = cache.join(format!("etcd-{}", version()));
        fs::create_dir_all(&folder).map_err(kv_local::Error::file("make", &folder))?;
        let lock_path = folder.join("lock");
        let lock = File::create(&lock_path).map_err(kv_local::Error::file("make", &lock_path))?;
        lock.lock().map_err(kv_local::Error::file("lock", &lock_path))?;
        let [server, tool] = [SERVER, TOOL].map(|(package, name)| (package, folder.join(name)));
        for (package, program) in [&server, &tool] {
            if !program.is_file() {
                build(&module, package, program)?;
            }
        }
        Ok(Self { server: server.1, tool: tool.1 })
    }
}

/// As the module asks for.
pub(super) fn version() -> &'static str {
    let line = GO_MOD.lines().find_map(|line| line.trim().strip_prefix("go.etcd.io/etcd/server/v3 v"));
    line.and_then(|rest| rest.split_whitespace().next()).unwrap_or("unknown")
}

fn build(module: &Path, package: &str, program: &Path) -> Result<()> {
    if in_path("go").is_none() {
        return Err(Error::Missing { tool: "Go", advice: NO_GO });
    }
    eprintln!("kv-bench: building {package} from its Go module, which takes a while the first time");
    let partial = program.with_extension("partial");
    let arguments = ["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o"];
    let mut go = Command::new("go");
    go.args(arguments).arg(&partial).arg(package).current_dir(module);
    // No C compiler is needed, and nothing of the user's settings gets in.
    go.env("CGO_ENABLED", "0").env("GOFLAGS", "").stdin(Stdio::null());
    let output = go.output().map_err(|source| kv_local::Error::Start { program: "go".to_owned(), source })?;
    if !output.status.success() {
        let command = format!("go build {package}");
        let output_text = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        return Err(kv_local::Error::Command { command, status: output.status, output: output_text }.into());
    }
    // What has its name is whole.
    fs::rename(&partial, program).map_err(kv_local::Error::file("make", program))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_is_that_of_the_module() {
        assert!(super::version().starts_with("3."), "{}", super::version());
    }
}
