//! Which functions take the processor time, by Linux's own sampling profiler.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use kv_client::Transport;
use kv_local::in_path;
use tokio::{process::Command, time::timeout};

use crate::{
    error::{Error, Result},
    load::Durations,
    report::Sample,
    run::version,
    system::{Kv, KvVariant, NODES, Setup, System as _},
    workload::{Group, Workload},
};

const NO_PERF: &str =
    "run `apt-get install -y linux-perf` (any version does), as root or with kernel.perf_event_paranoid at 1 or less";
/// A timer of the kernel and no counter of the processor, which virtual machines often have none of. Samples a second are few
/// enough not to be seen in the rate, and not a divisor of anybody's timer.
const EVENT: [&str; 4] = ["--event", "cpu-clock", "--freq", "499"];
/// Before samples are taken.
const WARM_UP: Duration = Duration::from_secs(2);
/// Until samples are written, and until they are read: names of functions are looked up, those of the kernel too.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);
const READ_WITHIN: Duration = Duration::from_secs(600);
const COPIES: usize = 2;

/// What to profile.
#[derive(Clone, Debug)]
pub struct ProfileOptions {
    /// Loads, one after the other.
    pub groups: Vec<Group>,
    /// Requests in flight.
    pub in_flight: usize,
    /// How long samples are taken.
    pub sampled: Duration,
    /// Functions that are shown at most, for the nodes and for the client each.
    pub functions: usize,
    /// Where data and samples are kept meanwhile. It must exist.
    pub directory: PathBuf,
    /// As of a run.
    pub cache: PathBuf,
}

/// Puts loads on this store's nodes, and says which functions of theirs, and of the client's, took the time, by own time.
///
/// # Errors
/// [`Error::Missing`] without `perf`; else those of a run.
pub async fn profile(options: &ProfileOptions) -> Result<String> {
    let perf = in_path("perf").ok_or(Error::Missing { tool: "perf", advice: NO_PERF })?;
    let variant = KvVariant { copies: COPIES, transport: Transport::Pipeline };
    let directory = options.directory.join("kv");
    let setup = Setup { directory: &directory, cache: &options.cache, live_bytes: 0, shards: None };
    let mut kv = Kv::start(variant, setup).await?;
    let nodes: Vec<_> = (0..NODES).filter_map(|node| kv.process(node)).collect();
    let mut text = format!("kv-bench {}: own time by function, each second sampled {} times\n", version(), EVENT[3]);
    for workload in options.groups.iter().flat_map(|group| group.workloads(&[options.in_flight])) {
        eprintln!("kv-bench: profiling {workload}");
        let files = ["nodes", "client"].map(|name| options.directory.join(format!("{name}.perf")));
        let durations = Durations { warm_up: WARM_UP, measured: options.sampled };
        let client = [std::process::id()];
        let (sample, of_nodes, of_client) = tokio::join!(
            kv.load(workload.into(), durations),
            record(&perf, &nodes, &files[0], options.sampled),
            record(&perf, &client, &files[1], options.sampled),
        );
        of_nodes?;
        of_client?;
        section(&mut text, &workload, &sample?);
        for (whose, file) in ["the three nodes", "the client"].into_iter().zip(&files) {
            let found = report(&perf, file, options.functions).await?;
            // Writing to a string can't fail.
            let _ = writeln!(text, "\n### {whose}\n\n{found}");
        }
    }
    kv.stop().await?;
    Ok(text)
}

fn section(text: &mut String, workload: &Workload, sample: &Sample) {
    let (servers, client) = sample.per_million();
    let _ = writeln!(
        text,
        "\n## {workload}\n\n{:.0} a second; processor seconds per million: {servers:.1} of all servers, {client:.1} of the client",
        sample.rate(),
    );
}

/// Samples these processes from the end of the warm-up on.
async fn record(perf: &Path, processes: &[u32], file: &Path, sampled: Duration) -> Result<()> {
    tokio::time::sleep(WARM_UP).await;
    let ids: Vec<_> = processes.iter().map(u32::to_string).collect();
    let mut command = Command::new(perf);
    command.arg("record").args(EVENT).arg("--pid").arg(ids.join(",")).arg("--output").arg(file);
    // What it runs ends it.
    command.args(["--", "sleep", &sampled.as_secs_f64().to_string()]);
    run(command, sampled + WRITTEN_WITHIN).await.map(drop)
}

async fn report(perf: &Path, file: &Path, functions: usize) -> Result<String> {
    let mut command = Command::new(perf);
    command.arg("report").arg("--input").arg(file);
    // By the name of the thread, which says whose work it is.
    command.args(["--stdio", "--no-children", "--sort", "comm,symbol"]);
    Ok(shown(&run(command, READ_WITHIN).await?, functions))
}

/// Rows without the comments around them and the empty columns behind them, as many as are wanted.
fn shown(report: &str, functions: usize) -> String {
    let rows = report
        .lines()
        .map(|line| line.trim_end_matches([' ', '-']))
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.take(functions).collect::<Vec<_>>().join("\n")
}

async fn run(mut command: Command, within: Duration) -> Result<String> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let line = format!("{:?}", command.as_std());
    let started = |source| kv_local::Error::Start { program: "perf".to_owned(), source };
    let output = match timeout(within, command.output()).await {
        Ok(output) => output.map_err(started)?,
        Err(_) => return Err(Error::TimedOut { what: "perf does not end", within, detail: line }),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    Err(kv_local::Error::Command { command: line, status: output.status, output: errors }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_of_a_report_are_left_out() {
        let report = "# Samples: 3\n#\n    20.00%  log  [.] step   -      -  \n\n    10.00%  log  [.] flush\n";
        assert_eq!(shown(report, 1), "    20.00%  log  [.] step");
        assert_eq!(shown(report, 9).lines().count(), 2);
    }
}
