use std::time::Duration;

use hdrhistogram::Histogram;
use kv_client::Error;
use serde_json::{Map, Value, json};

use super::{BenchArguments, keys::Distribution};
use crate::{
    exit::{self, Failed},
    output::{self, Output, table},
};

/// What became of the requests of one connection.
#[derive(Debug)]
pub struct Tally {
    puts: Histogram<u64>,
    gets: Histogram<u64>,
    not_found: u64,
    definite_errors: u64,
    unknown_outcomes: u64,
    first_error: Option<Error>,
}

/// What became of all requests.
#[derive(Debug)]
pub struct Outcome {
    tally: Tally,
    elapsed: Duration,
    /// Due in an open loop, and never sent.
    pub unsent: u64,
    pub first_error: Option<String>,
}

/// Latencies are kept in microseconds to three digits, up to an hour.
const LONGEST_MICROS: u64 = 3_600_000_000;
const DIGITS: u8 = 3;
const PERCENTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

impl Tally {
    pub fn new() -> Result<Self, Failed> {
        let histogram = Histogram::new_with_max(LONGEST_MICROS, DIGITS);
        let histogram = histogram.map_err(|error| Failed::new(exit::ERROR, format!("can't measure: {error}")))?;
        Ok(Self {
            puts: histogram.clone(),
            gets: histogram,
            not_found: 0,
            definite_errors: 0,
            unknown_outcomes: 0,
            first_error: None,
        })
    }

    /// `result`: whether a read found its key.
    pub fn record(&mut self, is_read: bool, latency: Duration, result: Result<bool, Error>) {
        match result {
            Ok(found) => {
                let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST_MICROS);
                let histogram = if is_read { &mut self.gets } else { &mut self.puts };
                histogram.saturating_record(micros);
                self.not_found += u64::from(!found);
            }
            Err(error) => {
                if error.is_definite() {
                    self.definite_errors += 1;
                } else {
                    self.unknown_outcomes += 1;
                }
                self.first_error.get_or_insert(error);
            }
        }
    }
}

impl Outcome {
    pub fn new(elapsed: Duration) -> Result<Self, Failed> {
        Ok(Self { tally: Tally::new()?, elapsed, unsent: 0, first_error: None })
    }

    pub fn add(&mut self, tally: &Tally) {
        let Tally { puts, gets, not_found, definite_errors, unknown_outcomes, first_error } = tally;
        // All histograms have the same bounds, so adding can't fail.
        let _ = self.tally.puts.add(puts);
        let _ = self.tally.gets.add(gets);
        self.tally.not_found += not_found;
        self.tally.definite_errors += definite_errors;
        self.tally.unknown_outcomes += unknown_outcomes;
        if let (None, Some(error)) = (&self.first_error, first_error) {
            self.first_error = Some(error.to_string());
        }
    }

    pub fn succeeded(&self) -> u64 {
        self.tally.puts.len() + self.tally.gets.len()
    }

    fn kinds(&self) -> impl Iterator<Item = (&'static str, &Histogram<u64>)> {
        [("put", &self.tally.puts), ("get", &self.tally.gets)].into_iter().filter(|(_, kind)| !kind.is_empty())
    }

    fn per_second(&self, requests: u64) -> f64 {
        requests as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    pub fn print(&self, arguments: &BenchArguments, output: Output) -> Result<(), Failed> {
        match output {
            Output::Json => output::json(&self.json(arguments)),
            Output::Table => output::line(&self.text()),
        }
    }

    fn text(&self) -> String {
        let mut header = vec!["", "REQUESTS", "PER SECOND"];
        header.extend(["MEAN", "P50", "P90", "P99", "P99.9", "P99.99", "MAX"]);
        let rows = self.kinds().map(|(name, kind)| {
            let mut row = vec![name.to_owned(), kind.len().to_string(), format!("{:.0}", self.per_second(kind.len()))];
            row.push(millis(kind.mean()));
            row.extend(PERCENTILES.map(|(_, quantile)| millis(kind.value_at_quantile(quantile) as f64)));
            row.push(millis(kind.max() as f64));
            row
        });
        let mut text = table(&header, &header, rows);
        let seconds = self.elapsed.as_secs_f64();
        text.push_str(&format!("\n{} requests in {seconds:.2} s; latencies in milliseconds\n", self.succeeded()));
        let Tally { not_found, definite_errors, unknown_outcomes, .. } = &self.tally;
        text.push_str(&format!("errors: {definite_errors} definite, {unknown_outcomes} of unknown outcome"));
        if let Some(error) = &self.first_error {
            text.push_str(&format!(" (the first: {error})"));
        }
        if *not_found > 0 {
            text.push_str(&format!("\n{not_found} reads found no key; --prepare writes them all first"));
        }
        if self.unsent > 0 {
            text.push_str(&format!("\nthe rate was not kept: {} requests were due and not sent", self.unsent));
        }
        text
    }

    fn json(&self, arguments: &BenchArguments) -> Value {
        let mut kinds = Map::new();
        for (name, kind) in self.kinds() {
            let mut latency = Map::new();
            latency.insert("mean".into(), kind.mean().into());
            for (name, quantile) in PERCENTILES {
                latency.insert(name.into(), kind.value_at_quantile(quantile).into());
            }
            latency.insert("max".into(), kind.max().into());
            let per_second = self.per_second(kind.len());
            let object = json!({"requests": kind.len(), "per_second": per_second, "latency_micros": latency});
            kinds.insert(name.into(), object);
        }
        let Tally { not_found, definite_errors, unknown_outcomes, .. } = &self.tally;
        json!({
            "in_flight": arguments.in_flight,
            "connections": arguments.connections,
            "transport": if arguments.unary { "unary" } else { "pipeline" },
            "rate": arguments.rate,
            "value_bytes": arguments.value_bytes,
            "keys": arguments.keys,
            "distribution": if arguments.distribution == Distribution::Zipf { "zipf" } else { "uniform" },
            "seconds": self.elapsed.as_secs_f64(),
            "requests": self.succeeded(),
            "per_second": self.per_second(self.succeeded()),
            "kinds": kinds,
            "not_found": not_found,
            "definite_errors": definite_errors,
            "unknown_outcomes": unknown_outcomes,
            "unsent": self.unsent,
            "first_error": self.first_error,
        })
    }
}

fn millis(micros: f64) -> String {
    format!("{:.3}", micros / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_apart_from_what_succeeded() {
        let mut tally = Tally::new().expect("valid bounds");
        tally.record(false, Duration::from_millis(2), Ok(true));
        tally.record(true, Duration::from_micros(10), Ok(false));
        tally.record(true, Duration::from_micros(30), Ok(true));
        tally.record(false, Duration::from_secs(1), Err(Error::ClusterDead));
        tally.record(false, Duration::from_secs(9999), Err(Error::OutcomeUnknown("cut".into())));
        let mut outcome = Outcome::new(Duration::from_secs(2)).expect("valid bounds");
        outcome.add(&tally);
        outcome.add(&tally);
        assert_eq!(outcome.succeeded(), 6);
        assert_eq!(outcome.per_second(6), 3.0);
        assert_eq!((outcome.tally.definite_errors, outcome.tally.unknown_outcomes, outcome.tally.not_found), (2, 2, 2));
        let text = outcome.text();
        assert!(text.contains("errors: 2 definite, 2 of unknown outcome (the first: the cluster is dead"), "{text}");
        assert!(text.lines().any(|line| line.starts_with("put") && line.contains("2.0")), "{text}");
    }
}
