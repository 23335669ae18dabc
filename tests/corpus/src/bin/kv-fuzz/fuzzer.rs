use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::reached::Reached;

/// Longest inputs in bytes, where they are not [`MAX_LEN`]: several segments of a log, and several chunks of a snapshot.
const LONGER: [(&str, usize); 2] = [("log_segments", 16 << 10), ("snapshot_chunks", 4 << 10)];
/// Longest input of the others in bytes. All bounds that inputs can break lie below it, and longer ones only take longer.
const MAX_LEN: usize = 2 << 10;
/// Inputs that are kept of each target beside its seeds, at most.
const KEPT: usize = 8;
/// What a fuzzer may take of memory, in MiB: a length that is believed without its bytes shows as far more.
const MEMORY_MIB: usize = 512;
/// How long one input may take, in seconds.
const INPUT_SECONDS: usize = 10;

/// One target's fuzzer.
pub(crate) struct Fuzzer {
    name: String,
    program: PathBuf,
    /// What the repository keeps.
    kept: PathBuf,
    /// What was found by runs on this machine.
    grown: PathBuf,
    /// Inputs that a run has failed on.
    failed: PathBuf,
    log: PathBuf,
}

impl Fuzzer {
    pub(crate) fn new(repository: &Path, built: &Path, target: &Path, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            program: built.join(name),
            kept: repository.join("fuzz/corpus").join(name),
            grown: target.join("fuzz-corpus").join(name),
            failed: target.join("fuzz-failed").join(name),
            log: target.join("fuzz-failed").join(format!("{name}.log")),
        }
    }

    /// Takes the kept inputs as well, so that they can be chosen from anew.
    pub(crate) fn gather(&self) -> io::Result<()> {
        fs::create_dir_all(&self.grown)?;
        for input in self.kept.read_dir()? {
            let input = input?;
            fs::copy(input.path(), self.grown.join(input.file_name()))?;
            fs::remove_file(input.path())?;
        }
        Ok(())
    }

    /// Keeps the few inputs that reach most of what the kept ones don't.
    pub(crate) fn merge(&self) -> io::Result<()> {
        fs::create_dir_all(&self.grown)?;
        // libFuzzer writes down what each input reaches. What it would keep of them are far more than a repository wants.
        let (scratch, control) = (self.log.with_extension("merged"), self.log.with_extension("reached"));
        for path in [&scratch, &control] {
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
        fs::create_dir_all(&scratch)?;
        let to = format!("-merge_control_file={}", control.display());
        let mut command = self.command();
        command.args(["-set_cover_merge=1", "-use_counters=0", &to]).args([&scratch, &self.kept, &self.grown]);
        let output = command.output()?;
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(io::Error::other(format!("{}: {}\n{log}", self.name, output.status)));
        }
        let reached = Reached::read(&fs::read_to_string(&control)?);
        for input in reached.best(&self.kept, KEPT) {
            let name = input.file_name().ok_or_else(|| io::Error::other("an input has no name"))?;
            fs::copy(&input, self.kept.join(name))?;
        }
        println!("{}: {} inputs are kept", self.name, self.kept.read_dir()?.count());
        Ok(())
    }

    /// Goes on for so long; whether nothing was found.
    pub(crate) fn run(&self, minutes: f64) -> io::Result<bool> {
        fs::create_dir_all(&self.grown)?;
        fs::create_dir_all(&self.failed)?;
        let failed = format!("-artifact_prefix={}/", self.failed.display());
        let seconds = format!("-max_total_time={}", (minutes * 60.0).ceil());
        let mut command = self.command();
        command.args([seconds.as_str(), &failed, "-print_final_stats=1"]).arg(&self.grown).arg(&self.kept);
        let output = command.output()?;
        fs::write(&self.log, &output.stderr)?;
        let text = String::from_utf8_lossy(&output.stderr);
        let executions = after(&text, "stat::number_of_executed_units: ");
        let coverage = after(&text, "cov: ");
        println!("{}: {executions} executions, {coverage} branches reached", self.name);
        if !output.status.success() {
            let program = self.program.display();
            let input =
                text.lines().rev().find_map(|line| line.split_once("Test unit written to ").map(|(_, path)| path));
            let input = input.unwrap_or("(none was written)");
            println!("{}: FAILED, {}, see {}", self.name, output.status, self.log.display());
            println!("{}: the input is {input}: run {program} {input}", self.name);
            return Ok(false);
        }
        // Without its instrumentation a fuzzer would find its way by luck alone.
        if coverage < 10 {
            println!("{}: FAILED, it sees no branches: is it instrumented?", self.name);
            return Ok(false);
        }
        Ok(true)
    }

    fn command(&self) -> Command {
        let longer = LONGER.iter().find(|(name, _)| *name == self.name);
        let max_len = longer.map_or(MAX_LEN, |(_, max_len)| *max_len);
        let mut command = Command::new(&self.program);
        command.arg(format!("-max_len={max_len}")).arg(format!("-rss_limit_mb={MEMORY_MIB}"));
        command.arg(format!("-timeout={INPUT_SECONDS}"));
        command
    }
}

/// The number behind the last `mark`; 0 if there is none.
fn after(text: &str, mark: &str) -> u64 {
    let rest = text.rsplit_once(mark).map_or("", |(_, rest)| rest);
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
