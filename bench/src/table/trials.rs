//! Tables of what is not a load.

use super::{Grid, grouped, shown};
use crate::{
    goals::{Goal, Verdict},
    report::{Memory, Report, SystemReport, quantile},
};

pub(super) fn handovers(report: &Report) -> Grid {
    let header = ["system", "handovers", "p50 ms", "p99 ms", "max ms", "p99 ms as nodes say", "requests", "failed"]
        .map(str::to_owned);
    let row = |system: &SystemReport| {
        let found = system.handovers.as_ref()?;
        let millis = |values: &[f64], part| shown(quantile(values, part), |millis| format!("{millis:.1}"));
        Some(vec![
            system.name.clone(),
            found.client_millis.len().to_string(),
            millis(&found.client_millis, 0.5),
            millis(&found.client_millis, 0.99),
            millis(&found.client_millis, 1.0),
            millis(&found.node_millis, 0.99),
            grouped(found.requests as f64),
            found.failed.to_string(),
        ])
    };
    let title = "Planned handovers under load: the slowest write to the shard";
    grid(report, title, header.into(), row)
}

pub(super) fn starts(report: &Report) -> Grid {
    let header = [
        "system",
        "data MB",
        "empty MiB",
        "with data MiB",
        "of which anonymous",
        "after a start MiB",
        "start ms, median",
        "longest",
    ];
    let row = |system: &SystemReport| {
        let start = system.start.as_ref()?;
        let most = |all: &[Memory], of: fn(&Memory) -> u64| shown(all.iter().map(of).max(), mebibytes);
        Some(vec![
            system.name.clone(),
            megabytes(start.live_bytes),
            most(&start.empty, |memory| memory.resident_bytes),
            most(&start.full, |memory| memory.resident_bytes),
            most(&start.full, |memory| memory.anonymous_bytes),
            most(start.started.as_slice(), |memory| memory.resident_bytes),
            shown(quantile(&start.millis, 0.5), millis),
            shown(quantile(&start.millis, 1.0), millis),
        ])
    };
    let title = "Memory of the largest node at rest, and from the start of a node with data until it serves";
    grid(report, title, header.map(str::to_owned).into(), row)
}

pub(super) fn catch_ups(report: &Report) -> Grid {
    let header = ["system", "missed MB", "times", "median ms", "longest ms"].map(str::to_owned);
    let row = |system: &SystemReport| {
        let found = system.catch_up.as_ref()?;
        Some(vec![
            system.name.clone(),
            megabytes(found.missed_bytes),
            found.millis.len().to_string(),
            shown(quantile(&found.millis, 0.5), millis),
            shown(quantile(&found.millis, 1.0), millis),
        ])
    };
    grid(report, "From the start of a node that was away until it has everything", header.into(), row)
}

pub(super) fn endurances(report: &Report) -> Grid {
    let header = [
        "system",
        "seconds",
        "live MB",
        "puts a second",
        "slowest ms",
        "errors",
        "largest MiB",
        "late ÷ early",
        "disk MB",
        "kept log MB",
        "disk ÷ live",
    ];
    let row = |system: &SystemReport| {
        let long = system.endurance.as_ref()?;
        let memory = long.moments.iter().flat_map(|moment| &moment.memory).map(|memory| memory.resident_bytes).max();
        Some(vec![
            system.name.clone(),
            format!("{:.0}", long.sample.seconds),
            format!("{} × {}", megabytes(long.live_bytes), long.copies),
            grouped(long.sample.rate()),
            millis(long.sample.latency.max / 1e3),
            long.sample.errors.to_string(),
            shown(memory, mebibytes),
            shown(long.memory_growth(), |growth| format!("{growth:.2}")),
            shown(long.moments.iter().map(|moment| moment.disk_bytes).max(), megabytes),
            megabytes(long.log_bytes),
            shown(long.disk_ratio(), |ratio| format!("{ratio:.2}")),
        ])
    };
    let title = "Full load for long: memory of the largest node; disk at its fullest, and that without the kept log by live data";
    grid(report, title, header.map(str::to_owned).into(), row)
}

pub(super) fn growths(report: &Report) -> Grid {
    let header = ["system", "keys", "shards", "puts a second", "by the first"].map(str::to_owned);
    let rows = report.systems.iter().flat_map(|system| {
        let first = system.growth.first().map_or(f64::NAN, |point| point.sample.rate());
        system.growth.iter().map(move |point| {
            let rate = point.sample.rate();
            let (keys, shards) = (grouped(point.keys as f64), grouped(point.shards as f64));
            vec![system.name.clone(), keys, shards, grouped(rate), format!("{:.2}", rate / first)]
        })
    });
    let rows = rows.collect();
    Grid { title: "Writes with more keys, and with more shards", words: 1, header: header.into(), rows }
}

pub(super) fn failures(report: &Report) -> Grid {
    let header = ["system", "what", "why"].map(str::to_owned);
    let rows = report.systems.iter().flat_map(|system| {
        let one_line = |why: &str| why.replace('|', "/").split_whitespace().collect::<Vec<_>>().join(" ");
        system
            .failures
            .iter()
            .map(move |failure| vec![system.name.clone(), failure.what.clone(), one_line(&failure.why)])
    });
    Grid { title: "What could not be measured", words: 3, header: header.into(), rows: rows.collect() }
}

pub(super) fn goals(report: &Report) -> Grid {
    let header = ["what", "figure", "goal", "at least", "reached"].map(str::to_owned);
    let row = |goal: &Goal| {
        let sign = if goal.at_most { "≤" } else { "≥" };
        let figure = |figure: f64| {
            if figure < 10.0 && figure.fract() != 0.0 { format!("{figure:.2}") } else { format!("{figure:.0}") }
        };
        let verdict = goal.verdict();
        let reached = match verdict {
            Verdict::NotJudged => format!("{}: {}", verdict.text(), goal.reservation),
            _ => verdict.text().to_owned(),
        };
        vec![
            goal.what.clone(),
            shown(goal.figure, |found| format!("{} {}", figure(found), goal.unit)),
            format!("{sign} {} {}", figure(goal.goal), goal.unit),
            format!("{sign} {} {}", figure(goal.least), goal.unit),
            reached,
        ]
    };
    Grid { title: "Goals", words: 1, header: header.into(), rows: report.goals.iter().map(row).collect() }
}

fn grid(
    report: &Report,
    title: &'static str,
    header: Vec<String>,
    row: impl Fn(&SystemReport) -> Option<Vec<String>>,
) -> Grid {
    Grid { title, words: 1, header, rows: report.systems.iter().filter_map(row).collect() }
}

fn megabytes(bytes: u64) -> String {
    grouped(bytes as f64 / 1e6)
}

fn mebibytes(bytes: u64) -> String {
    grouped(bytes as f64 / f64::from(1 << 20))
}

fn millis(millis: f64) -> String {
    grouped(millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::measured;

    #[test]
    fn each_has_a_row_for_each_system_that_was_measured() {
        let report = measured();
        assert_eq!(handovers(&report).rows, [["kv", "2", "10.0", "20.0", "20.0", "9.0", "1,000", "0"]]);
        assert_eq!(starts(&report).rows, [["kv", "1,074", "30", "150", "100", "150", "400", "500"]]);
        assert_eq!(catch_ups(&report).rows, [["kv", "128", "1", "2,000", "2,000"]]);
        let long = ["kv", "600", "2,000 × 2", "2", "200", "0", "110", "1.10", "5,000", "1,000", "1.00"];
        assert_eq!(endurances(&report).rows, [long]);
        assert_eq!(growths(&report).rows[1], ["kv", "10,000,000", "12", "1", "0.50"]);
    }

    #[test]
    fn a_failure_is_one_line_of_its_table() {
        let mut report = measured();
        assert!(failures(&report).rows.is_empty());
        report.systems[1].failures =
            vec![crate::report::Failure { what: "start".to_owned(), why: "it | broke\n  here".to_owned() }];
        assert_eq!(failures(&report).rows, [["etcd", "start", "it / broke here"]]);
    }

    #[test]
    fn goals_have_figures_bounds_and_a_verdict() {
        let mut report = measured();
        report.goals = crate::goals::goals(&report);
        let rows = goals(&report).rows;
        let row = |part: &str| rows.iter().find(|row| row[0].contains(part)).expect("it is there").clone();
        assert_eq!(row("million keys")[1..], ["0.50 ×", "≥ 0.80 ×", "≥ 0.60 ×", "missed"]);
        assert_eq!(row("p99")[4], "not judged: 3 kills instead of 20");
        assert_eq!(row("at rest, empty")[1..], ["30 MiB", "≤ 40 MiB", "≤ 64 MiB", "reached"]);
        assert_eq!(row("put, 100 B, 256 in flight: kv")[4], "not measured");
    }
}
