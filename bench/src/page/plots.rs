//! Which plots a page has.

use super::plot::{Bar, Group, Line, bars, lines};
use crate::{
    error::Result,
    report::{Endurance, Memory, Report, Sample, quantile},
    workload::{Operation, Workload},
};

/// A picture beside the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plot {
    /// Of its file, without `.svg`.
    pub(super) name: String,
    /// For who can't see it, and above it.
    pub(super) title: String,
    pub(super) svg: String,
}

/// Loads that are shown together.
struct Class {
    name: &'static str,
    title: &'static str,
    holds: fn(&Workload) -> bool,
}

const SMALL: usize = 100;
const CLASSES: [Class; 3] = [
    Class {
        name: "puts",
        title: "Writes of 100 bytes",
        holds: |load| load.operation == Operation::Put && load.value_bytes == SMALL,
    },
    Class {
        name: "gets",
        title: "Reads of 100 bytes",
        holds: |load| matches!(load.operation, Operation::Get | Operation::StaleGet) && load.value_bytes == SMALL,
    },
    Class {
        name: "others",
        title: "Larger values, the mix, scans",
        holds: |load| matches!(load.operation, Operation::Mixed | Operation::Scan) || load.value_bytes != SMALL,
    },
];

/// Those that there are figures for.
pub(super) fn all(report: &Report) -> Result<Vec<Plot>> {
    let mut plots = Vec::new();
    for Class { name, title, holds } in CLASSES {
        let rate = grouped(report, holds, Sample::rate);
        let p99 = grouped(report, holds, |sample| sample.latency.p99 / 1e3);
        if rate.is_empty() {
            continue;
        }
        plots.push(made(&format!("{name}-rate"), title, "requests a second", &rate)?);
        plots.push(made(&format!("{name}-latency"), &format!("{title}: p99"), "ms", &p99)?);
    }
    let crashes = crashes(report);
    if !crashes.is_empty() {
        plots.push(made("crash", "From the kill of the leader to the next acknowledged write", "ms", &crashes)?);
    }
    for system in &report.systems {
        if let Some(long) = &system.endurance {
            plots.extend(endurance(&system.name, long)?);
        }
    }
    Ok(plots)
}

fn made(name: &str, title: &str, unit: &str, groups: &[Group]) -> Result<Plot> {
    Ok(Plot { name: name.to_owned(), title: title.to_owned(), svg: bars(title, unit, groups)? })
}

fn grouped(report: &Report, holds: fn(&Workload) -> bool, figure: fn(&Sample) -> f64) -> Vec<Group> {
    let loads = report.workloads().into_iter().filter(holds);
    let group = |load: Workload| {
        let bar = |(system, name): (usize, &str)| {
            Some(Bar { system, name: name.to_owned(), figure: figure(report.sample(name, &load)?) })
        };
        let systems = report.systems.iter().map(|system| system.name.as_str()).enumerate();
        Group { name: load.to_string(), bars: systems.filter_map(bar).collect() }
    };
    loads.map(group).collect()
}

fn crashes(report: &Report) -> Vec<Group> {
    let parts = [("median", 0.5), ("longest", 1.0)];
    let groups = parts.map(|(name, part)| {
        let systems = report.systems.iter().enumerate();
        let bars = systems.filter_map(|(index, system)| {
            Some(Bar { system: index, name: system.name.clone(), figure: quantile(&system.crash_millis, part)? })
        });
        Group { name: name.to_owned(), bars: bars.collect() }
    });
    groups.into_iter().filter(|group| !group.bars.is_empty()).collect()
}

fn endurance(system: &str, long: &Endurance) -> Result<Vec<Plot>> {
    let nodes = long.moments.iter().map(|moment| moment.memory.len()).max().unwrap_or(0);
    let mebibytes = |memory: &Memory| memory.resident_bytes as f64 / f64::from(1 << 20);
    let node = |node: usize| Line {
        name: format!("node {node}"),
        points: long.moments.iter().filter_map(|at| Some((at.seconds, mebibytes(at.memory.get(node)?)))).collect(),
    };
    let memory: Vec<_> = (0..nodes).map(node).collect();
    let disk = long.moments.iter().map(|moment| (moment.seconds, moment.disk_bytes as f64 / 1e9));
    let live = (long.live_bytes * long.copies) as f64 / 1e9;
    let flat = long.moments.iter().map(|moment| (moment.seconds, live));
    let disk = [
        Line { name: "disk".to_owned(), points: disk.collect() },
        Line { name: "live data".to_owned(), points: flat.collect() },
    ];
    let seconds = |values: &[f64]| values.iter().enumerate().map(|(second, value)| (second as f64, *value)).collect();
    let slowest: Vec<_> = long.sample.slowest_each_second.iter().map(|micros| micros / 1e3).collect();
    let rate: Vec<_> = long.sample.each_second.iter().map(|count| *count as f64).collect();
    let one = |values: &[f64]| [Line { name: system.to_owned(), points: seconds(values) }];
    let plots = [
        ("memory", "memory of each node", "MiB", &memory[..]),
        ("disk", "disk of all nodes, and all copies of the live data", "GB", &disk),
        ("slowest", "slowest write of each second", "ms", &one(&slowest)),
        ("rate", "writes of each second", "a second", &one(&rate)),
    ];
    let plots = plots.into_iter().map(|(name, what, unit, figures)| {
        let title = format!("{system} under full load: {what}");
        Ok(Plot { name: format!("endurance-{system}-{name}"), svg: lines(&title, unit, figures)?, title })
    });
    plots.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::measured;

    #[test]
    fn there_is_one_of_each_thing_that_was_measured() {
        let plots = all(&measured()).expect("they can be drawn");
        let names: Vec<_> = plots.iter().map(|plot| plot.name.as_str()).collect();
        let long = ["memory", "disk", "slowest", "rate"].map(|what| format!("endurance-kv-{what}"));
        let loads = ["puts-rate", "puts-latency", "others-rate", "others-latency", "crash"];
        assert_eq!(names, [&loads[..], &long.each_ref().map(String::as_str)].concat());
        assert!(plots.iter().all(|plot| plot.svg.starts_with("<svg")), "{plots:?}");
    }
}
