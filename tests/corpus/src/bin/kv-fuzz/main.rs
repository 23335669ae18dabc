//! Runs the fuzzers that `make fuzz` has built, some at a time, and says what they came to. `make help` has the commands.

mod fuzzer;
mod reached;

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
};

use fuzzer::Fuzzer;

const USAGE: &str = "usage: kv-fuzz run|gather|merge BUILT TARGET [--minutes N] [--jobs N] [NAME ...]
  run     each fuzzer for that long (1), so many at a time (1), with the inputs of TARGET/fuzz-corpus
  gather  takes what is kept in fuzz/corpus into TARGET/fuzz-corpus
  merge   keeps the few that reach most of what the inputs in fuzz/corpus don't
BUILT is where the fuzzers are, TARGET where they write, and names leave out other fuzzers";

/// What is asked for.
struct Arguments {
    command: String,
    built: PathBuf,
    target: PathBuf,
    minutes: f64,
    jobs: usize,
    names: Vec<String>,
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match carry_out(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kv-fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = String>) -> Option<Self> {
        let (command, built, target) = (given.next()?, given.next()?.into(), given.next()?.into());
        let mut arguments = Self { command, built, target, minutes: 1.0, jobs: 1, names: Vec::new() };
        while let Some(argument) = given.next() {
            match argument.as_str() {
                "--minutes" => arguments.minutes = given.next()?.parse().ok()?,
                "--jobs" => arguments.jobs = given.next()?.parse().ok().filter(|jobs| *jobs > 0)?,
                _ => arguments.names.push(argument),
            }
        }
        Some(arguments)
    }
}

/// Whether all went well.
fn carry_out(arguments: &Arguments) -> io::Result<bool> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let mut names = Vec::new();
    for source in repository.join("fuzz/fuzz_targets").read_dir()? {
        let name = source?.file_name().to_string_lossy().trim_end_matches(".rs").to_owned();
        if arguments.names.is_empty() || arguments.names.contains(&name) {
            names.push(name);
        }
    }
    names.sort();
    if names.is_empty() {
        return Err(io::Error::other(format!("there is no fuzzer named {}", arguments.names.join(", "))));
    }
    let fuzzers: Vec<_> =
        names.iter().map(|name| Fuzzer::new(&repository, &arguments.built, &arguments.target, name)).collect();
    match arguments.command.as_str() {
        "run" => run(fuzzers, arguments.minutes, arguments.jobs),
        "gather" => fuzzers.iter().try_for_each(Fuzzer::gather).map(|()| true),
        "merge" => fuzzers.iter().try_for_each(Fuzzer::merge).map(|()| true),
        other => Err(io::Error::other(format!("there is no command {other:?}\n{USAGE}"))),
    }
}

fn run(fuzzers: Vec<Fuzzer>, minutes: f64, jobs: usize) -> io::Result<bool> {
    let waiting = Mutex::new(VecDeque::from(fuzzers));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let worker = || -> io::Result<bool> {
        let mut well = true;
        while let Some(fuzzer) = next() {
            well &= fuzzer.run(minutes)?;
        }
        Ok(well)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(worker)).collect();
        let mut well = true;
        for worker in workers {
            well &= worker.join().map_err(|_| io::Error::other("a worker has panicked"))??;
        }
        Ok(well)
    })
}
