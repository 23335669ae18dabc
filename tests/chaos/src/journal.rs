use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::plan::Fault;

/// One fault of a round, as it happened.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// When it began, in milliseconds since the load did.
    pub at_millis: u64,
    /// What.
    pub fault: Fault,
    /// On whom, and how.
    pub on: String,
    /// When it was healed; none: it was not begun.
    pub healed_millis: Option<u64>,
    /// Why it was not begun: it can't be done on this machine, or the rule forbids it.
    pub skipped: Option<String>,
    /// Whether no other fault was under way when it began, and all copies were in sync.
    pub alone: bool,
    /// Shards that the node served when it was killed, if it was asked.
    pub served: Vec<u64>,
    /// When it began.
    #[serde(skip)]
    pub began: Instant,
}

/// All faults of a round.
#[derive(Clone, Debug)]
pub struct Journal {
    zero: Instant,
    /// In the order of their beginnings.
    pub entries: Vec<Entry>,
}

impl Default for Journal {
    fn default() -> Self {
        Self { zero: Instant::now(), entries: Vec::new() }
    }
}

impl Journal {
    /// A fault begins. Returns its number.
    pub fn begin(&mut self, fault: Fault, alone: bool) -> usize {
        let began = Instant::now();
        let entry = Entry {
            at_millis: millis(began - self.zero),
            fault,
            on: String::new(),
            healed_millis: None,
            skipped: None,
            alone,
            served: Vec::new(),
            began,
        };
        self.entries.push(entry);
        self.entries.len() - 1
    }

    /// What had to be waited for is over: it begins now.
    pub fn begin_now(&mut self, number: usize) {
        let now = Instant::now();
        if let Some(entry) = self.entries.get_mut(number) {
            (entry.began, entry.at_millis) = (now, millis(now - self.zero));
        }
    }

    /// Writes it for people into `faults.txt` of a directory: also a run that is killed leaves what it did.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let lines: String = self.entries.iter().map(|entry| entry.line() + "\n").collect();
        fs::write(directory.join("faults.txt"), lines)
    }

    /// A fault is healed.
    pub fn healed(&mut self, number: usize) {
        let now = millis(self.zero.elapsed());
        if let Some(entry) = self.entries.get_mut(number) {
            entry.healed_millis = Some(now);
        }
    }
}

impl Entry {
    /// For people.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { at_millis, fault, on, healed_millis, skipped, .. } = self;
        let end = match (skipped, healed_millis) {
            (Some(why), _) => format!("not begun: {why}"),
            (None, Some(healed)) => format!("healed after {} ms", healed.saturating_sub(*at_millis)),
            (None, None) => "not healed".to_owned(),
        };
        format!("{:>8.3} s  {fault:<16} {on}  {end}", Duration::from_millis(*at_millis).as_secs_f64())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
