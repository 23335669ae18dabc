//! A report as a page: `docs/benchmark.md`, with its plots in `docs/benchmark/`.

mod plot;
mod plots;
mod words;

use std::fmt::Write as _;

use plots::Plot;

use crate::{
    error::Result,
    report::{Machine, Report, Settings},
    table::grids,
    workload::{MIXED_READS, ZIPF_EXPONENT},
};

/// Of the page's file, and of the folder of its plots beside it.
const NAME: &str = "benchmark";

/// The page without plots. It is generated: what it says of systems beside their figures stands in `page/words.rs`.
#[must_use]
pub fn markdown(report: &Report) -> String {
    written(report, &[])
}

/// The page and its plots, as paths within one folder and what is to be there.
///
/// # Errors
/// If a plot can't be drawn.
pub fn files(report: &Report) -> Result<Vec<(String, String)>> {
    let plots = plots::all(report)?;
    let page = (format!("{NAME}.md"), written(report, &plots));
    let plots = plots.into_iter().map(|plot| (format!("{NAME}/{}.svg", plot.name), plot.svg));
    Ok(std::iter::once(page).chain(plots).collect())
}

fn written(report: &Report, plots: &[Plot]) -> String {
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
    if !plots.is_empty() {
        let _ = writeln!(page, "## Plots\n\nEach group of bars has a scale of its own, from zero.\n");
        for Plot { name, title, svg: _ } in plots {
            let _ = writeln!(page, "![{title}]({NAME}/{name}.svg)\n");
        }
    }
    let _ = writeln!(page, "## What differs between the systems\n\n{}", words::DIFFERENCES);
    let _ = writeln!(page, "## What the comparison favours\n\n{}", words::FAIRNESS);
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
         Lease, heartbeat and election times are those that each system comes with.\n\n{}\n\
         To measure anew: `make bench`; it keeps all figures, the rate of each second among them, as JSON.",
        words::TRIALS
    );
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{made, measured};

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

    #[test]
    fn every_plot_that_the_page_shows_is_beside_it() {
        let files = files(&measured()).expect("they can be drawn");
        let (name, page) = &files[0];
        assert_eq!(name, "benchmark.md");
        assert!(!page.contains("\n\n\n"), "{page}");
        let shown: Vec<_> = page.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        let beside: Vec<_> = files[1..].iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(shown, beside);
    }
}
