//! A report as a page: `docs/benchmark.md`.

use std::fmt::Write as _;

use crate::{
    report::{Machine, Report, Settings},
    table::grids,
    workload::{MIXED_READS, ZIPF_EXPONENT},
};

const DIFFERENCES: &str = "\
| | kv | kv-three-copies | etcd | zookeeper |
|---|---|---|---|---|
| copies of a key | 2 | 3 | 3 | 3 |
| copies that have synced a put before it is acknowledged | all in sync: 2 | all in sync: 3 | a majority: 2 | a majority: 2 |
| who orders writes | each node its third of the shards | the same | one leader | one leader |
| where a linearizable read is answered | at the primary, under its lease | the same | at the leader, after a round to a majority | \
by `sync` and then a read |
| client | one stream to each node, requests in any order | the same | HTTP/2, a call for each request | one connection a \
session, answers in order |
| keeps | the last value, and results of sessions | the same | every revision until compacted | the last value, in memory |
";

/// The page. It is generated: what it says of systems beside their figures stands here.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let Machine { processor, processors, memory_bytes, kernel, file_system } = &report.machine;
    let Settings { warm_up_seconds, seconds, crashes, version } = &report.settings;
    let memory = memory_bytes >> 30;
    let mut page = String::from("# Benchmark\n\n<!-- Made by `kv-bench page`: don't edit it. -->\n\n");
    // Writing to a string can't fail.
    let _ = writeln!(
        page,
        "This store, etcd and ZooKeeper in one run on one machine: three nodes each, one system at a time, each started empty \
         on the same disk, every acknowledged write synced. All nodes and the client share {processors} processors, so these \
         figures compare work per request more than what a cluster on machines of its own can do, and the network is \
         loopback.\n\n\
         {processor}, {processors} processors, {memory} GiB of memory, {kernel}, {file_system}. kv-bench {version}.\n"
    );
    for grid in grids(report) {
        let _ = writeln!(page, "## {}\n\n{}", grid.title, grid.markdown());
    }
    let _ = writeln!(page, "## What differs between the systems\n\n{DIFFERENCES}");
    let _ = writeln!(page, "## How it was measured\n");
    for system in &report.systems {
        let _ = writeln!(page, "- **{} {}**: {}.", system.name, system.version, system.settings.join("; "));
    }
    let _ = writeln!(
        page,
        "\nClosed loop: each request that is answered is followed by another, so a system that is slow is asked less; latency is \
         that at the system's own rate, not at the same one. {warm_up_seconds} s to warm up, then {seconds} s. What is read is \
         written before. Of 10,000 keys (fewer of 64 KiB) each is as likely as any other; in the mix of {MIXED_READS} reads in a \
         hundred they follow Zipf's law with the exponent {ZIPF_EXPONENT}. Processor time is that of all servers' processes and \
         of the client's, from `/proc`.\n\n\
         A leader (for kv: the primary of the writer's key) is killed by SIGKILL between two writes, and the next one is tried \
         until it is acknowledged; {crashes} times, the cluster whole again before each. The clients of etcd and ZooKeeper are connected to \
         nodes that are left; that of kv to all, and has to find out. \
         Lease, heartbeat and election times are those that each system comes with.\n\n\
         To measure anew: `make bench`; it keeps all figures, the rate of each second among them, as JSON."
    );
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::made;

    #[test]
    fn the_page_has_figures_differences_and_how() {
        let page = markdown(&made());
        for part in [
            "# Benchmark\n",
            "| put, 100 B, 64 in flight | 12,000 | 4,000 | 6,000 | 3.00 | 2.00 |\n",
            "| --- | ---: | ---: | ---: | ---: | ---: |\n",
            "| kv | 3 | 700 | 800 | 1200 |\n",
            "a processor, 2 processors, 24 GiB of memory, Linux 6.1, ext4. kv-bench 0.1.0 (release).",
            "- **etcd 1.2.3**: three nodes.",
            "3 times, the cluster whole again",
        ] {
            assert!(page.contains(part), "{part:?} is missing in:\n{page}");
        }
        assert!(!page.contains("  \n") && !page.contains("\n\n\n"), "{page}");
    }
}
