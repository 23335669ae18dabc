//! `kv-chaos`: rounds of random faults on clusters of real processes, each from a seed.

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use kv_chaos::{
    Result,
    plan::Fault,
    report::{Report, RoundReport},
    round::Round,
    settings::Size,
};

/// Starts clusters of real processes, disturbs them at random while clients are at work, heals them, and judges what the
/// clients were told. Exit code 1: something was wrong; what is left of it says what, and how to run it again.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Seed of the first round; each further round has the next one. Drawn, and printed, unless given
    #[arg(long)]
    seed: Option<u64>,
    /// No round begins after so many minutes
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// So many rounds at most
    #[arg(long)]
    rounds: Option<usize>,
    /// For how many seconds of a round faults begin, instead of what its seed draws (45 to 75)
    #[arg(long)]
    seconds: Option<u64>,
    /// Three nodes and one ZooKeeper in every round
    #[arg(long)]
    small: bool,
    /// Only these faults, such as `kill,pause,wipe`
    #[arg(long, value_delimiter = ',')]
    only: Vec<Fault>,
    /// Where rounds have their files; those of a failed round stay
    #[arg(long, default_value = "target/kv-chaos")]
    dir: PathBuf,
    /// Writes the report as JSON too
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(Box::pin(run(&arguments)))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kv-chaos: {error}");
            ExitCode::from(2)
        }
    }
}

/// True if all was judged, and nothing was wrong.
async fn run(arguments: &Arguments) -> Result<bool> {
    let first = arguments.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let (began, length) = (Instant::now(), Duration::from_secs(arguments.minutes * 60));
    eprintln!("kv-chaos: the first seed is {first}");
    let mut rounds = Vec::new();
    let mut seed = first;
    while began.elapsed() < length && arguments.rounds.is_none_or(|most| rounds.len() < most) {
        let round = Round {
            seed,
            size: if arguments.small { Size::Small } else { Size::Any },
            seconds: arguments.seconds,
            only: arguments.only.clone(),
            directory: arguments.dir.clone(),
        };
        let interrupted = tokio::signal::ctrl_c();
        let report = tokio::select! {
            report = Box::pin(round.run()) => report?,
            _ = interrupted => {
                eprintln!("kv-chaos: interrupted in round {seed}");
                break;
            }
        };
        say(&round, &report);
        if !report.violations.is_empty() {
            eprintln!("  run it again: {}", again(arguments, seed));
        }
        rounds.push(report);
        seed += 1;
    }
    let report = Report::of(rounds);
    println!("{}", report.text());
    if let Some(path) = &arguments.json {
        fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(report.is_clean())
}

fn say(round: &Round, report: &RoundReport) {
    let RoundReport { settings, faults, operations, recovered_millis, took_millis, violations, .. } = report;
    let begun = faults.iter().filter(|entry| entry.skipped.is_none()).count();
    let done: usize = operations.values().map(|counts| counts.done).sum();
    let (seed, nodes, copies) = (settings.seed, settings.nodes, settings.copies);
    let took = Duration::from_millis(*took_millis);
    let whole = recovered_millis.map_or("never".to_owned(), |millis| format!("after {millis} ms"));
    eprintln!(
        "round {seed}: {nodes} nodes, {copies} copies, {begun} faults ({} not begun), {done} operations, whole {whole}, {took:.0?}",
        faults.len() - begun
    );
    for violation in violations {
        eprintln!("  {violation}");
    }
    if !violations.is_empty() {
        eprintln!("  what is left of it: {}", round.files().display());
    }
}

/// The command line of one round.
fn again(arguments: &Arguments, seed: u64) -> String {
    let mut line = format!("kv-chaos --seed {seed} --rounds 1");
    if let Some(seconds) = arguments.seconds {
        line += &format!(" --seconds {seconds}");
    }
    if arguments.small {
        line += " --small";
    }
    if !arguments.only.is_empty() {
        let names: Vec<_> = arguments.only.iter().map(|fault| fault.name()).collect();
        line += &format!(" --only {}", names.join(","));
    }
    line
}
