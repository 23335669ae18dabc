use std::{fmt, fs, path::Path};

use kv_checker::{DEFAULT_BUDGET, Operation, Verdict, check_within};
use serde::Serialize;

use crate::{
    history::Log,
    watches::{self, Ended, Stretch},
};

/// Steps of the search for one key: writes of unknown outcome, of which outages leave many, make it long.
const BUDGET: u64 = DEFAULT_BUDGET * 4;
/// Of what is wrong in one way, how much is told.
const TOLD: usize = 10;
/// What a program that panicked has in its log.
const PANICKED: &str = "panicked at";

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// In which way.
    pub kind: Kind,
    /// What exactly.
    pub what: String,
}

/// In which way something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// No order of the operations on a key explains what clients were told.
    Linearizability,
    /// An answer contradicts the API by itself: a scan out of order, half a batch.
    Contradiction,
    /// A watch told something twice, out of order, or not at all.
    Watch,
    /// A process panicked, ended by itself, or was left behind.
    Process,
    /// The cluster did not come back in time. On a machine that has much else to do this may say little.
    Recovery,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}

/// What a history and its watches came to.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// Keys whose history is too unclear to be judged.
    pub undecided: Vec<String>,
    /// What watches told.
    pub watched: Watched,
}

/// What watches told.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Watched {
    /// Changes.
    pub changes: usize,
    /// Times that a watch began anew, since changes were not kept any more.
    pub compacted: usize,
    /// Times that one began anew, since it could not be resumed.
    pub cut: usize,
}

/// Judges. Takes seconds, and a thread.
#[must_use]
pub fn judge(log: &Log, watches: &[Vec<Stretch>]) -> Judgement {
    let mut judgement = Judgement::default();
    // By key, so that one that is undecided hides nothing of the others.
    let mut operations: Vec<&Operation> = log.operations.iter().collect();
    operations.sort_by(|one, other| (&one.key, one.call).cmp(&(&other.key, other.call)));
    for of_key in operations.chunk_by(|one, other| one.key == other.key) {
        let of_key: Vec<Operation> = of_key.iter().map(|operation| (*operation).clone()).collect();
        match check_within(&of_key, BUDGET) {
            Verdict::Linearizable => {}
            Verdict::Violation(violation) => {
                judgement.violations.push(Violation { kind: Kind::Linearizability, what: violation.to_string() });
            }
            Verdict::Undecided(key) => judgement.undecided.push(key.escape_ascii().to_string()),
        }
    }
    let contradictions = log.contradictions.iter().take(TOLD);
    let contradictions = contradictions.map(|what| Violation { kind: Kind::Contradiction, what: what.clone() });
    judgement.violations.extend(contradictions);
    for stretches in watches {
        let wrong = watches::judge(stretches, &log.told);
        let count = wrong.len();
        let told = wrong.into_iter().take(TOLD);
        let told = told.map(|what| Violation { kind: Kind::Watch, what: format!("{what} (one of {count})") });
        judgement.violations.extend(told);
        for stretch in stretches {
            judgement.watched.changes += stretch.changes.len();
            match stretch.ended {
                Some(Ended::Compacted) => judgement.watched.compacted += 1,
                Some(_) => judgement.watched.cut += 1,
                None => {}
            }
        }
    }
    judgement
}

/// What logs of a directory tell of panics, and processes that still have to do with the directory.
#[must_use]
pub fn processes(directory: &Path) -> Vec<Violation> {
    let mut found = Vec::new();
    for log in files(&directory.join("logs")) {
        let text = fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let panics = text.lines().filter(|line| line.contains(PANICKED)).take(TOLD);
        found.extend(panics.map(|line| format!("{}: {line}", log.display())));
    }
    let mark = directory.display().to_string();
    for process in files(Path::new("/proc")) {
        let id = process.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if id.parse::<u32>().is_ok_and(|id| id != std::process::id()) && command.contains(&mark) {
            found.push(format!("process {id} is left: {}", command.chars().take(200).collect::<String>()));
        }
    }
    found.into_iter().map(|what| Violation { kind: Kind::Process, what }).collect()
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(directory).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use kv_checker::{Action, Outcome, Versioned};

    use super::*;

    fn operation(key: &str, action: Action, call: u64, outcome: Outcome) -> Operation {
        Operation { client: 1, key: key.into(), action, expected: None, call, ret: Some(call + 1), outcome }
    }

    #[test]
    fn an_acknowledged_write_that_a_scan_misses_is_found_and_the_other_keys_are_judged_too() {
        let done = |revision| Outcome::Done { revision: Some(revision), existed: None };
        let found = Versioned { value: b"1".to_vec(), revision: Some(1) };
        let mut log = Log {
            operations: vec![
                operation("a", Action::Put(b"1".to_vec()), 1, done(1)),
                operation("a", Action::Get, 3, Outcome::Found(Some(found))),
                operation("b", Action::Put(b"2".to_vec()), 1, done(2)),
            ],
            ..Log::default()
        };
        assert!(judge(&log, &[]).violations.is_empty());
        for key in ["a", "b"] {
            log.operations.push(operation(key, Action::Get, 5, Outcome::Found(None)));
        }
        log.contradictions.push("half a batch".into());
        let kinds: Vec<_> = judge(&log, &[]).violations.iter().map(|violation| violation.kind).collect();
        assert_eq!(kinds, [Kind::Linearizability, Kind::Linearizability, Kind::Contradiction]);
    }

    #[test]
    fn a_panic_in_a_log_and_a_process_that_is_left_are_found() {
        let directory = std::env::temp_dir().join(format!("kv-chaos-judge-{}", std::process::id()));
        fs::create_dir_all(directory.join("logs")).expect("it can be made");
        fs::write(directory.join("logs/kv-0.log"), "well\n").expect("it can be written");
        assert_eq!(processes(&directory), []);
        fs::write(directory.join("logs/kv-1.log"), "thread 'x' panicked at y\n").expect("it can be written");
        // `tail` follows a file without end, and has the directory in its command line.
        let log = directory.join("logs/kv-1.log");
        let mut left = std::process::Command::new("tail")
            .arg("-f")
            .arg(log)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("it starts");
        // Its command line can be read a little later than it starts.
        let begun = std::time::Instant::now();
        let mut found = processes(&directory);
        while found.len() < 2 && begun.elapsed() < std::time::Duration::from_secs(10) {
            std::thread::yield_now();
            found = processes(&directory);
        }
        left.kill().expect("it runs");
        left.wait().expect("it ends");
        fs::remove_dir_all(&directory).expect("it can go");
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
