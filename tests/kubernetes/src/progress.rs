use std::{
    io::Write,
    time::{Duration, Instant},
};

/// Shorter steps are not worth a line.
const WORTH_A_LINE: Duration = Duration::from_millis(200);

/// Does `work`, and says on standard error what was done and how long it took.
///
/// # Errors
/// Those of the work, of which nothing is said here.
pub fn step<T, E>(what: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let started = Instant::now();
    let done = work()?;
    let took = started.elapsed();
    if took >= WORTH_A_LINE {
        say(&format!("{what} ({:.1} s)", took.as_secs_f64()));
    }
    Ok(done)
}

/// Says a line on standard error, past the test harness, which shows nothing of tests that pass.
pub fn say(line: &str) {
    // Nobody reads: nobody misses it.
    let _ = writeln!(std::io::stderr(), "kubernetes: {line}");
}
