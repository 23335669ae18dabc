//! What is to be reached, each as a ratio or a figure of one run, and whether it was.

use serde::{Deserialize, Serialize};

use crate::{
    report::{Endurance, GrowthPoint, Report, Sample, Start, SystemReport, quantile},
    run::DEBUG,
    workload::{Operation, Workload},
};

const OWN: &str = "kv";
const UNARY: &str = "kv-unary";
/// Both ways of driving etcd: what its own tool reaches is what the goal is about, and the other must not be hidden.
const ETCD: [&str; 2] = ["etcd", "etcd-tonic"];
const ZOOKEEPER: &str = "zookeeper";
const VALUE_BYTES: usize = 100;
const MOST_IN_FLIGHT: usize = 256;
/// Of goals that speak of an amount of data, a time or a number: less of it says nothing.
const START_BYTES: u64 = 1_000_000_000;
const ENDURANCE_BYTES: u64 = 2_000_000_000;
const ENDURANCE_SECONDS: f64 = 600.0;
const CRASHES: usize = 20;
const HANDOVERS: usize = 100;
const GROWN_KEYS: u64 = 10_000_000;
const GROWN_SHARDS: usize = 1_000;
/// Memory that is flat: of a late part of a load by an early one.
const FLAT: f64 = 1.1;

/// One goal and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// What it is about.
    pub what: String,
    /// The figure, in `unit`; `None`: not measured.
    pub figure: Option<f64>,
    /// Such as `× etcd`, `ms`.
    pub unit: String,
    /// What the figure is to be: as much at least, or at most if `at_most`.
    pub goal: f64,
    /// What it must be in any case.
    pub least: f64,
    /// Whether less is better.
    pub at_most: bool,
    /// Why the figure can't be judged, such as that it is of a shorter load; empty if it can.
    pub reservation: String,
}

/// Whether a goal was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As good as its goal.
    Reached,
    /// Not as good, but good enough.
    AtLeast,
    /// Not even that.
    Missed,
    /// There is a figure, of less than what the goal is about.
    NotJudged,
    /// A system or a workload was left out.
    NotMeasured,
}

impl Goal {
    /// Whether it was reached.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let Some(figure) = self.figure else { return Verdict::NotMeasured };
        let good = |bound: f64| if self.at_most { figure <= bound } else { figure >= bound };
        match () {
            () if !self.reservation.is_empty() => Verdict::NotJudged,
            () if good(self.goal) => Verdict::Reached,
            () if good(self.least) => Verdict::AtLeast,
            () => Verdict::Missed,
        }
    }
}

impl Verdict {
    /// For a table.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::AtLeast => "at least",
            Self::Missed => "missed",
            Self::NotJudged => "not judged",
            Self::NotMeasured => "not measured",
        }
    }
}

/// All goals.
#[must_use]
pub fn goals(report: &Report) -> Vec<Goal> {
    let mut goals = ratios(report);
    let own = report.systems.iter().find(|system| system.name == OWN);
    goals.extend(failures(own));
    goals.extend(memory(own.and_then(|system| system.start.as_ref())));
    goals.extend(endurance(own.and_then(|system| system.endurance.as_ref())));
    let growth = own.map_or(&[][..], |system| &system.growth);
    goals.extend([
        growth_goal(growth, "puts/s with 10 million keys by those with 10 thousand", |point, first| {
            (point.shards == first.shards).then_some((point.keys, GROWN_KEYS))
        }),
        growth_goal(growth, "puts/s with 1,000 shards by those with 12", |point, first| {
            (point.keys == first.keys).then_some((point.shards as u64, GROWN_SHARDS as u64))
        }),
    ]);
    if report.settings.version.contains(DEBUG) {
        for goal in &mut goals {
            "a debug build".clone_into(&mut goal.reservation);
        }
    }
    goals
}

fn ratios(report: &Report) -> Vec<Goal> {
    let (put, get) = (Operation::Put, Operation::Get);
    let mut goals = Vec::new();
    let mut add = |own: &str, operation, in_flight, other: &str, goal, least| {
        let workload = Workload { operation, value_bytes: VALUE_BYTES, in_flight };
        let rate = |system: &str| report.sample(system, &workload).map(Sample::rate);
        goals.push(Goal {
            what: format!("{workload}: {own}"),
            figure: rate(own).zip(rate(other)).map(|(own, other)| own / other),
            unit: format!("× {other}"),
            goal,
            least,
            at_most: false,
            reservation: String::new(),
        });
    };
    for etcd in ETCD {
        add(OWN, put, MOST_IN_FLIGHT, etcd, 10.0, 5.0);
    }
    add(OWN, put, MOST_IN_FLIGHT, ZOOKEEPER, 6.0, 3.0);
    let others = [
        (UNARY, put, MOST_IN_FLIGHT, 4.0, 2.5),
        (OWN, put, 1, 2.5, 1.5),
        (OWN, get, MOST_IN_FLIGHT, 20.0, 10.0),
        (UNARY, get, MOST_IN_FLIGHT, 3.0, 2.0),
        (OWN, get, 1, 5.0, 2.0),
    ];
    for (own, operation, in_flight, goal, least) in others {
        for etcd in ETCD {
            add(own, operation, in_flight, etcd, goal, least);
        }
    }
    goals
}

fn at_most(what: &str, figure: Option<f64>, unit: &str, bounds: (f64, f64), reservation: String) -> Goal {
    let (what, unit, (goal, least)) = (what.to_owned(), unit.to_owned(), bounds);
    Goal { what, figure, unit, goal, least, at_most: true, reservation }
}

/// Empty if there are enough.
fn too_few(what: &str, found: usize, needed: usize) -> String {
    if found >= needed { String::new() } else { format!("{found} {what} instead of {needed}") }
}

fn too_little(found: u64, needed: u64) -> String {
    if found >= needed {
        String::new()
    } else {
        format!("{} MB of data instead of {}", found / 1_000_000, needed / 1_000_000)
    }
}

fn failures(own: Option<&SystemReport>) -> [Goal; 3] {
    let crashes = own.map_or(&[][..], |system| &system.crash_millis);
    let crash = quantile(crashes, 0.99);
    let few = too_few("kills", crashes.len(), CRASHES);
    let handovers = own.and_then(|system| system.handovers.as_ref());
    let few_handovers = too_few("handovers", handovers.map_or(0, |found| found.client_millis.len()), HANDOVERS);
    let pause = handovers.and_then(|found| quantile(&found.client_millis, 0.99));
    let failed = handovers.map(|found| found.failed as f64);
    [
        at_most("crash to the next acknowledged write, p99", crash, "ms", (1_000.0, 1_500.0), few),
        at_most("planned handover under load, p99", pause, "ms", (30.0, 50.0), few_handovers.clone()),
        at_most("planned handover under load, failed requests", failed, "requests", (0.0, 0.0), few_handovers),
    ]
}

/// Of the node that has most.
fn memory(start: Option<&Start>) -> [Goal; 2] {
    let most = |of: fn(&Start) -> &Vec<crate::report::Memory>| {
        let bytes = of(start?).iter().map(|memory| memory.resident_bytes).max()?;
        Some(bytes as f64 / f64::from(1 << 20))
    };
    let little = too_little(start.map_or(0, |start| start.live_bytes), START_BYTES);
    [
        at_most("memory of a node at rest, empty", most(|start| &start.empty), "MiB", (40.0, 64.0), String::new()),
        at_most(
            "memory of a node at rest, with 1 GB of data",
            most(|start| &start.full),
            "MiB",
            (200.0, 300.0),
            little,
        ),
    ]
}

fn endurance(long: Option<&Endurance>) -> [Goal; 3] {
    let (live, seconds) = long.map_or((0, 0.0), |long| (long.live_bytes, long.sample.seconds));
    let reservation = if seconds < ENDURANCE_SECONDS {
        format!("{seconds:.0} s instead of {ENDURANCE_SECONDS:.0}")
    } else {
        too_little(live, ENDURANCE_BYTES)
    };
    let growth = long.and_then(Endurance::memory_growth);
    let disk = long.and_then(Endurance::disk_ratio);
    let pause = long.map(|long| long.sample.latency.max / 1e3);
    let again = || reservation.clone();
    [
        at_most("10 minutes at full load: memory, late by early", growth, "×", (FLAT, FLAT), again()),
        at_most("10 minutes at full load: disk without the kept log", disk, "× live data", (2.0, 2.0), again()),
        at_most("10 minutes at full load: slowest request", pause, "ms", (250.0, 500.0), again()),
    ]
}

/// The largest of those points that differ from the first one as `size` says, which gives what has grown and how far it is to.
fn growth_goal(
    points: &[GrowthPoint],
    what: &str,
    size: impl Fn(&GrowthPoint, &GrowthPoint) -> Option<(u64, u64)>,
) -> Goal {
    let compared = points.split_first().and_then(|(first, others)| {
        let sized =
            others.iter().filter_map(|point| Some((size(point, first)?, point.sample.rate() / first.sample.rate())));
        sized.max_by_key(|((grown, _), _)| *grown)
    });
    let reservation = match compared {
        Some(((grown, needed), _)) if grown < needed => format!("{grown} instead of {needed}"),
        _ => String::new(),
    };
    let figure = compared.map(|(_, ratio)| ratio);
    Goal { what: what.to_owned(), figure, unit: "×".to_owned(), goal: 0.8, least: 0.6, at_most: false, reservation }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::made;

    fn found(report: &Report, part: &str) -> Goal {
        goals(report).into_iter().find(|goal| goal.what.contains(part)).expect("there is such a goal")
    }

    #[test]
    fn what_was_left_out_is_not_measured() {
        let goals = goals(&made());
        assert_eq!(goals.len(), 13 + 3 + 2 + 3 + 2);
        assert_eq!(goals[0].verdict(), Verdict::NotMeasured);
    }

    #[test]
    fn figures_are_judged_by_both_bounds_and_only_if_they_are_of_enough() {
        let mut report = made();
        let crash = found(&report, "crash");
        assert_eq!((crash.figure, crash.verdict()), (Some(1_200.0), Verdict::NotJudged));
        assert_eq!(crash.reservation, "3 kills instead of 20");
        let verdict = |millis: f64, report: &mut Report| {
            report.systems[0].crash_millis = vec![millis; 20];
            found(report, "crash").verdict()
        };
        let verdicts = [900.0, 1_200.0, 1_501.0].map(|millis| verdict(millis, &mut report));
        assert_eq!(verdicts, [Verdict::Reached, Verdict::AtLeast, Verdict::Missed]);
        report.settings.version = format!("0.1.0 ({DEBUG})");
        assert_eq!(found(&report, "crash").verdict(), Verdict::NotJudged);
    }

    #[test]
    fn growth_is_compared_with_the_first_point() {
        let point = |keys, shards, operations| GrowthPoint {
            keys,
            shards,
            in_flight: 256,
            sample: Sample { operations, seconds: 1.0, ..Sample::default() },
        };
        let mut report = made();
        report.systems[0].growth = vec![point(10_000, 12, 100), point(10_000_000, 12, 70), point(10_000, 500, 90)];
        let keys = found(&report, "million keys");
        assert_eq!((keys.figure, keys.verdict()), (Some(0.7), Verdict::AtLeast));
        let shards = found(&report, "1,000 shards");
        assert_eq!((shards.figure, shards.verdict()), (Some(0.9), Verdict::NotJudged));
        assert_eq!(shards.reservation, "500 instead of 1000");
    }
}
