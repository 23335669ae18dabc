//! Processor time that processes have used, as Linux counts it.

use std::fs;

/// Where `/proc/PID/stat` has the times, counted from behind the name: user, system, and those of children that ended.
const TIMES: usize = 11;

/// Processor seconds of servers and of this process with the clients that it has run, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ProcessorTime {
    pub(crate) servers: f64,
    pub(crate) client: f64,
}

impl ProcessorTime {
    pub(crate) fn now(servers: &[u32]) -> Self {
        let servers = servers.iter().filter_map(|id| Some(read(&id.to_string())?[..2].iter().sum::<f64>())).sum();
        // Children count once they have been waited for: servers run on, so these are the clients' programs.
        let client = read("self").map_or(0.0, |times| times.iter().sum());
        Self { servers, client }
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { servers: self.servers - earlier.servers, client: self.client - earlier.client }
    }
}

/// Seconds: own user and system, children's user and system. `None` if the process is gone.
fn read(process: &str) -> Option<[f64; 4]> {
    parse(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<[f64; 4]> {
    // The name may hold spaces and brackets.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let mut times = fields.split_ascii_whitespace().skip(TIMES).map(|field| Some(field.parse::<f64>().ok()? / ticks));
    Some([times.next()??, times.next()??, times.next()??, times.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_behind_the_name_whatever_that_is() {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 200 100 300 400 20 0 1 0 1 2 3";
        assert_eq!(parse(stat), Some([200.0, 100.0, 300.0, 400.0].map(|time| time / ticks)));
        assert_eq!(parse("7 (x) S 1"), None);
    }

    #[test]
    fn work_is_counted() {
        if !std::path::Path::new("/proc/self/stat").exists() {
            return;
        }
        let before = ProcessorTime::now(&[std::process::id()]);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while ProcessorTime::now(&[std::process::id()]).since(before).servers == 0.0 {
            assert!(std::time::Instant::now() < deadline, "no processor time in a minute of work");
        }
        assert!(ProcessorTime::now(&[]).since(before).client > 0.0);
    }
}
