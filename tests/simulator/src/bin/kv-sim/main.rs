//! `kv-sim`: plays seeds, shows what led to a violation, and measures how hard broken rules are to find.

mod gate;
mod many;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    thread,
};

use clap::Parser;
use kv_simulator::{RULES, Rule, run, trace};

/// Plays a cluster in one thread, from a seed.
#[derive(Debug, Parser)]
#[command(name = "kv-sim")]
struct Options {
    /// Play one seed.
    #[arg(long, conflicts_with_all = ["seeds", "minutes", "mutants"])]
    seed: Option<u64>,
    /// Play the seeds from A up to and without B.
    #[arg(long, value_name = "A..B", value_parser = range)]
    seeds: Option<(u64, u64)>,
    /// Play for so many minutes, from --first on.
    #[arg(long, conflicts_with = "seeds")]
    minutes: Option<f64>,
    /// The first seed of --minutes; a random one by default.
    #[arg(long, requires = "minutes")]
    first: Option<u64>,
    /// Break a rule of the protocol.
    #[arg(long, value_name = "NAME", value_parser = rule)]
    rule: Option<Rule>,
    /// Tell everything that happens in --seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Break each rule and see how many seeds it takes to find out.
    #[arg(long, conflicts_with_all = ["minutes", "rule"])]
    mutants: bool,
    /// Ranges of seeds in which each rule is looked for, one behind the other, each as long as --seeds (0..20000).
    #[arg(long, default_value_t = 5, requires = "mutants")]
    ranges: u64,
    /// Write what --mutants found to this page.
    #[arg(long, value_name = "FILE", requires = "mutants")]
    write: Option<PathBuf>,
    /// Say which rules this page of --mutants lacks, and play nothing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "seeds", "minutes", "mutants"])]
    check: Option<PathBuf>,
    /// Stop after so many violations.
    #[arg(long, default_value_t = 5)]
    at_most: usize,
    /// Threads to play seeds on; as many as there are cores by default.
    #[arg(long)]
    threads: Option<usize>,
}

impl Options {
    fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from))
    }
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text:?} is not two numbers with '..' between them, such as 0..1000");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    Ok((from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?))
}

fn rule(text: &str) -> Result<Rule, String> {
    RULES.into_iter().find(|rule| format!("{rule:?}") == text).ok_or_else(|| {
        let names: Vec<_> = RULES.iter().map(|rule| format!("{rule:?}")).collect();
        format!("there is no such rule; there are {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    if cfg!(panic = "unwind") {
        // A violated assertion of the core is reported as a violation; its message would only come twice.
        std::panic::set_hook(Box::new(|_| {}));
    } else {
        // Nothing can be said any more if even this fails.
        let _ = writeln!(io::stderr(), "kv-sim: in this build a failed assertion ends all: use `--profile soak`");
    }
    let options = Options::parse();
    let played = match (options.seed, &options.check) {
        (Some(seed), _) => play(seed, &options),
        (_, Some(page)) => gate::check(page),
        _ if options.mutants => gate::run(&options),
        _ => many::run(&options),
    };
    match played {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing can be said any more if even this fails.
            let _ = writeln!(io::stderr(), "kv-sim: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether no invariant was violated.
fn play(seed: u64, options: &Options) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    if options.trace {
        for line in trace(seed, options.rule, true) {
            writeln!(out, "{line}")?;
        }
    }
    match run(seed, options.rule) {
        Ok((steps, coverage)) => {
            write!(out, "{coverage}")?;
            writeln!(out, "seed {seed}: no violation in {steps} steps")?;
            Ok(true)
        }
        Err(violation) => {
            writeln!(out, "{violation}")?;
            Ok(false)
        }
    }
}
