//! Memory of processes, as Linux counts it.

use std::fs;

use crate::report::Memory;

/// Of a process now; `None` if it is gone.
pub(crate) fn of(process: u32) -> Option<Memory> {
    parse(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

fn parse(status: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    };
    Some(Memory { resident_bytes: bytes("VmRSS")?, anonymous_bytes: bytes("RssAnon")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_with_what_of_it_is_no_file() {
        let status = "Name:\ta\nVmRSS:\t    20 kB\nRssAnon:\t    12 kB\nRssFile:\t 8 kB\n";
        assert_eq!(parse(status), Some(Memory { resident_bytes: 20 << 10, anonymous_bytes: 12 << 10 }));
        // A process that has ended and was not collected yet has none.
        assert_eq!(parse("Name:\ta\nState:\tZ (zombie)\n"), None);
    }
}
