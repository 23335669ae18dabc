//! grpcurl, as users have it: built by Go from `tools/grpcurl/go.mod`.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/grpcurl");
const MODULE_FILES: &str = concat!(include_str!("../tools/grpcurl/go.mod"), include_str!("../tools/grpcurl/go.sum"));
const PACKAGE: &str = "github.com/fullstorydev/grpcurl/cmd/grpcurl";
/// What means "stuck" for a build; some 30 s are expected, once.
const BUILT_WITHIN: Duration = Duration::from_secs(600);

/// Where grpcurl is, built first if it is not in the cache (`KV_LOCAL_CACHE`, or `.cache` in the source tree).
///
/// # Errors
/// What is missing.
///
/// # Panics
/// If it can't be built although Go is there.
pub async fn program() -> Result<PathBuf, String> {
    let source_tree = || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".cache");
    let cache = std::env::var_os("KV_LOCAL_CACHE").map_or_else(source_tree, PathBuf::from).join("grpcurl");
    fs::create_dir_all(&cache).expect("the cache can be written");
    // One at a time, also with another run of the tests.
    let lock = File::create(cache.join("lock")).expect("the cache can be written");
    lock.lock().expect("the cache can be locked");
    let mut hasher = DefaultHasher::new();
    MODULE_FILES.hash(&mut hasher);
    let program = cache.join(format!("grpcurl-{:016x}", hasher.finish()));
    if program.is_file() {
        return Ok(program);
    }
    let partial = cache.join("partial");
    let mut build = Command::new("go");
    build.args(["build", "-mod=readonly", "-o"]).arg(&partial).arg(PACKAGE).current_dir(MODULE).kill_on_drop(true);
    // No other Go is fetched: the one that is there builds it, or says why not.
    build.envs([("GOTOOLCHAIN", "local"), ("CGO_ENABLED", "0"), ("GOWORK", "off")]);
    let output = match timeout(BUILT_WITHIN, build.output()).await.expect("Go ends") {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err("go is not installed".to_owned()),
        output => output.expect("Go starts"),
    };
    assert!(output.status.success(), "grpcurl is not built: {}", String::from_utf8_lossy(&output.stderr));
    fs::rename(&partial, &program).expect("the cache can be written");
    Ok(program)
}
