//! etcd's own `benchmark`, as the client.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use super::report::parse;
use crate::{
    error::{Error, Result},
    load::Durations,
    processor::ProcessorTime,
    report::Sample,
    workload::{Operation, Workload},
};

/// Requests of the first run, for each of those in flight.
const FIRST_REQUESTS: usize = 20;
/// One run of it: longer means that it is stuck.
const ENDS_WITHIN: Duration = Duration::from_secs(3 * 3_600);
const TOOL_TAIL: usize = 2_000;
/// Bytes of a key: as long as those of other loads.
const KEY_BYTES: usize = kv_client::keys::KEY_BYTES;

/// How the tool reaches the members.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    pub(super) program: PathBuf,
    /// `host:port`, by commas.
    pub(super) endpoints: String,
}

impl Tool {
    /// The name of the key that its reads are of: it can't be told to choose.
    pub(super) fn read_key(workload: &Workload) -> String {
        format!("read-{:011}", workload.value_bytes)
    }

    /// It runs for a number of requests and not for a time. So the first runs warm up, and say how many requests will take
    /// how long.
    pub(super) async fn drive(&self, workload: &Workload, durations: Durations, servers: &[u32]) -> Result<Sample> {
        let first = self.run(workload, workload.in_flight * FIRST_REQUESTS).await?;
        let second = self.run(workload, requests(&first, durations.warm_up)).await?;
        let number = requests(&second, durations.measured);
        let before = ProcessorTime::now(servers);
        let sample = self.run(workload, number).await?;
        let used = ProcessorTime::now(servers).since(before);
        if sample.operations == 0 {
            let why = format!("all {} failed", sample.errors);
            return Err(Error::NothingSucceeded { workload: workload.to_string(), why });
        }
        Ok(Sample { server_seconds: used.servers, client_seconds: used.client, ..sample })
    }

    async fn run(&self, workload: &Workload, requests: usize) -> Result<Sample> {
        let arguments = self.arguments(workload, requests);
        let mut command = Command::new(&self.program);
        command.args(&arguments).stdin(Stdio::null()).kill_on_drop(true);
        let program = self.program.display().to_string();
        let started = |source| kv_local::Error::Start { program: program.clone(), source };
        let output = match timeout(ENDS_WITHIN, command.output()).await {
            Ok(output) => output.map_err(started)?,
            Err(_) => {
                let (what, within) = ("etcd's benchmark does not end", ENDS_WITHIN);
                return Err(Error::TimedOut { what, within, detail: format!("{requests} requests of {workload}") });
            }
        };
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            let tail: String = errors.chars().rev().take(TOOL_TAIL).collect();
            let command = format!("{program} {}", arguments.join(" "));
            let output_text = tail.chars().rev().collect();
            return Err(kv_local::Error::Command { command, status: output.status, output: output_text }.into());
        }
        parse(&text)
    }

    fn arguments(&self, workload: &Workload, requests: usize) -> Vec<String> {
        let mut arguments = vec![
            format!("--endpoints={}", self.endpoints),
            format!("--clients={}", workload.in_flight),
            format!("--conns={}", connections(workload.in_flight)),
            "--precise".to_owned(),
            "--sample".to_owned(),
        ];
        // What may be out of date any member may be asked for.
        if workload.operation != Operation::StaleGet {
            arguments.push("--target-leader".to_owned());
        }
        let total = format!("--total={requests}");
        match workload.operation {
            Operation::Put => arguments.extend([
                "put".to_owned(),
                total,
                format!("--key-size={KEY_BYTES}"),
                format!("--val-size={}", workload.value_bytes),
                format!("--key-space-size={}", workload.keys()),
            ]),
            Operation::Get | Operation::StaleGet | Operation::Mixed | Operation::Scan => {
                let consistency = if workload.operation == Operation::StaleGet { "s" } else { "l" };
                let key = Self::read_key(workload);
                arguments.extend(["range".to_owned(), key, total, format!("--consistency={consistency}")]);
            }
        }
        arguments
    }
}

/// As many as etcd's own guide would take for so many clients, about: one for ten.
pub(super) fn connections(in_flight: usize) -> usize {
    in_flight.div_ceil(10)
}

fn requests(sample: &Sample, duration: Duration) -> usize {
    (sample.rate() * duration.as_secs_f64()).ceil().max(1.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tool_is_told_what_the_load_is() {
        let tool = Tool { program: "benchmark".into(), endpoints: "127.0.0.1:1".to_owned() };
        let line = |operation, value_bytes| {
            let workload = Workload { operation, value_bytes, in_flight: 64 };
            tool.arguments(&workload, 500).join(" ")
        };
        let put = line(Operation::Put, 65_536);
        for part in ["--clients=64 --conns=7", "put --total=500 --key-size=16 --val-size=65536 --key-space-size=256"] {
            assert!(put.contains(part), "{put}");
        }
        assert!(put.contains("--target-leader") && !line(Operation::StaleGet, 100).contains("--target-leader"));
        assert!(line(Operation::Get, 100).ends_with("range read-00000000100 --total=500 --consistency=l"));
        assert!(line(Operation::StaleGet, 100).ends_with("--consistency=s"));
    }
}
