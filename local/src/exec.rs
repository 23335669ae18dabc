use std::{
    error::Error,
    ffi::{OsStr, OsString},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use kv_local::{Error as LocalError, LocalCluster};
use tokio::process::Command;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// Runs a program on a cluster that is ready, with the cluster's address in its environment. Returns its exit code.
///
/// # Errors
/// Those of the cluster's start; [`LocalError::Start`] if there is no such program.
pub async fn run(cluster: &mut LocalCluster, command: &[OsString]) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    cluster.wait_ready(READY_WITHIN).await?;
    let Some((program, arguments)) = command.split_first() else { return Ok(ExitCode::SUCCESS) };
    let status = Command::new(program)
        .args(arguments)
        .env("KVCTL_ZOOKEEPER", cluster.zookeeper_url())
        .env("PATH", path_with_our_own()?)
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|source| LocalError::Start { program: program.display().to_string(), source })?;
    // Without a code it was ended by a signal.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// PATH with the directory of this program, where kvctl lies too, before all others.
fn path_with_our_own() -> Result<OsString, Box<dyn Error + Send + Sync>> {
    let program = std::env::current_exe()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = program.parent().map(Path::to_owned);
    let all = own.into_iter().chain(std::env::split_paths(OsStr::new(&path)));
    Ok(std::env::join_paths(all)?)
}
