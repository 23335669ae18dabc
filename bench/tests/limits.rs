//! What the machine does without any store, measured by the program itself: processes of it are the nodes.

use std::process::Command;

use kv_bench::report::{Bound, Report, Resource};
use kv_bench::workload::Operation;

#[test]
fn the_wire_is_measured_between_processes() {
    let directory = tempfile::tempdir().expect("a directory");
    let json = directory.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_kv-bench"))
        .args(["run", "--systems", "kv", "--workloads", "limits", "--in-flight", "1,64", "--seconds", "1", "--json"])
        .arg(&json)
        .arg("--dir")
        .arg(directory.path())
        .output()
        .expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report: Report = serde_json::from_slice(&std::fs::read(&json).expect("it is written")).expect("a report");
    let rate = |operation, in_flight, resource| {
        let bound = Some(Bound { operation, in_flight, resource });
        report.limits.iter().find(|limit| limit.bound == bound).expect("it is measured").rate
    };
    for in_flight in [1, 64] {
        assert!(rate(Operation::Put, in_flight, Resource::Disk) > 0.0, "{:?}", report.limits);
        assert!(rate(Operation::Put, in_flight, Resource::Wire) > 0.0, "{:?}", report.limits);
        assert!(rate(Operation::Get, in_flight, Resource::Wire) > 0.0, "{:?}", report.limits);
    }
}
