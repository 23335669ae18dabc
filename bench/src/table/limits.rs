//! What the machine does without any store, and how much of that a store reaches.

use super::{Grid, grouped, shown};
use crate::{
    report::{Bound, Report, Resource, Sample, SystemReport},
    workload::Workload,
};

/// Loads of values of this size are those that limits are about.
const VALUE_BYTES: usize = 100;

pub(super) fn limits(report: &Report) -> Grid {
    let header = ["what", "a second", "of"].map(str::to_owned).into();
    let rows = report.limits.iter().map(|limit| vec![limit.name.clone(), grouped(limit.rate), limit.unit.clone()]);
    Grid { title: "What the machine does without any store", words: 1, header, rows: rows.collect() }
}

/// Every load that has a limit.
pub(super) fn reached(report: &Report) -> Grid {
    let header = ["load", "system", "a second", "of the disk's limit", "of the wire's limit"];
    let mut loads = Vec::new();
    for Bound { operation, in_flight, resource: _ } in report.limits.iter().filter_map(|limit| limit.bound) {
        let workload = Workload { operation, value_bytes: VALUE_BYTES, in_flight };
        if !loads.contains(&workload) {
            loads.push(workload);
        }
    }
    let rows = loads
        .iter()
        .flat_map(|workload| report.systems.iter().filter_map(|system| row(report, system, workload)))
        .collect();
    Grid { title: "How much of its limit each load reaches", words: 2, header: header.map(str::to_owned).into(), rows }
}

fn row(report: &Report, system: &SystemReport, workload: &Workload) -> Option<Vec<String>> {
    let rate = report.sample(&system.name, workload).map(Sample::rate)?;
    let part = |resource| {
        let bound = Bound { operation: workload.operation, in_flight: workload.in_flight, resource };
        let limit = report.limits.iter().find(|limit| limit.bound == Some(bound));
        shown(limit, |limit| format!("{:.1} %", 100.0 * rate / limit.rate))
    };
    let (disk, wire) = (part(Resource::Disk), part(Resource::Wire));
    Some(vec![workload.to_string(), system.name.clone(), grouped(rate), disk, wire])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::made;

    #[test]
    fn a_load_is_compared_with_what_bounds_it() {
        let grid = reached(&made());
        assert_eq!(grid.rows[0], ["put, 100 B, 64 in flight", "kv", "12,000", "50.0 %", "-"]);
        assert_eq!(grid.rows.len(), 3);
    }
}
