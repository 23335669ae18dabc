//! What etcd's own `benchmark` prints.

use crate::{
    error::{Error, Result},
    report::{Latency, Sample},
};

/// Reads the report of one run with `--precise --sample`. Processor times are left at 0: they are not in it.
pub(super) fn parse(text: &str) -> Result<Sample> {
    if !text.contains("Summary:")
        && let Some((_, failures)) = text.split_once("Error distribution:\n")
    {
        return Err(Error::request(failures.trim()));
    }
    let seconds = field(text, "Total:")?;
    let latency = Latency {
        p50: micros(percentile(text, "50%")?.ok_or_else(|| missing("50%"))?),
        // It leaves out a percentile that it has too few requests for.
        p99: micros(percentile(text, "99%")?.map_or_else(|| field(text, "Slowest:"), Ok)?),
        p999: percentile(text, "99.9%")?.map(micros),
        max: micros(field(text, "Slowest:")?),
    };
    let each_second = each_second(text)?;
    let operations = each_second.iter().sum();
    let errors = errors(text)?;
    Ok(Sample { operations, errors, seconds, latency, each_second, ..Sample::default() })
}

/// The number behind a name and a tab.
fn field(text: &str, name: &str) -> Result<f64> {
    let value = text.lines().find_map(|line| line.trim_start().strip_prefix(name)).ok_or_else(|| missing(name))?;
    number(value)
}

/// Such as `  99% in 0.0012 secs.`
fn percentile(text: &str, name: &str) -> Result<Option<f64>> {
    let start = format!("{name} in ");
    text.lines().find_map(|line| line.trim_start().strip_prefix(&start)).map(number).transpose()
}

/// The first word.
fn number(text: &str) -> Result<f64> {
    let word = text.split_whitespace().next().unwrap_or_default();
    word.parse().map_err(|_| unreadable(format!("{word:?} is no number")))
}

/// The last column of the table at the end.
fn each_second(text: &str) -> Result<Vec<u64>> {
    let (_, rows) = text.split_once("AVG-THROUGHPUT\n").ok_or_else(|| missing("AVG-THROUGHPUT"))?;
    let rows = rows.lines().take_while(|row| !row.trim().is_empty());
    rows.map(|row| {
        let (_, count) = row.rsplit_once(',').ok_or_else(|| unreadable(format!("{row:?} has no columns")))?;
        count.parse().map_err(|_| unreadable(format!("{count:?} is no number")))
    })
    .collect()
}

/// Counts in brackets, each before its message.
fn errors(text: &str) -> Result<u64> {
    let Some((_, rows)) = text.split_once("Error distribution:\n") else { return Ok(0) };
    let counts = rows.lines().filter_map(|row| row.trim_start().strip_prefix('[')?.split_once(']'));
    counts.map(|(count, _)| count.parse::<u64>().map_err(|_| unreadable(format!("{count:?} is no number")))).sum()
}

fn micros(seconds: f64) -> f64 {
    seconds * 1e6
}

fn missing(name: &str) -> Error {
    unreadable(format!("there is no {name}"))
}

fn unreadable(why: String) -> Error {
    Error::Unreadable { what: "the report of etcd's benchmark".to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 3.6.8 printed of 2,000 puts.
    const RECORDED: &str = include_str!("recorded.txt");

    #[test]
    fn a_recorded_report_is_read() {
        let sample = parse(RECORDED).expect("it is one");
        assert_eq!((sample.operations, sample.errors), (2_000, 0));
        assert_eq!(sample.each_second.iter().sum::<u64>(), 2_000);
        let Latency { p50, p99, p999, max } = sample.latency;
        assert!(0.0 < p50 && p50 <= p99 && p99 <= p999.expect("it is there") && p999.expect("it is there") <= max);
        let said = field(RECORDED, "Requests/sec:").expect("it is there");
        assert!((sample.rate() / said - 1.0).abs() < 1e-3, "{} instead of {said}", sample.rate());
    }

    #[test]
    fn errors_are_counted_and_what_is_no_report_is_refused() {
        let failed = format!("{RECORDED}\nError distribution:\n  [3]\ttimed out\n  [4]\tno leader\n");
        assert_eq!(parse(&failed).expect("it is one").errors, 7);
        let none = parse("\nError distribution:\n  [3]\ttimed out\n").expect_err("nothing was measured");
        assert!(none.to_string().contains("timed out"), "{none}");
        let refused = parse("Error: unknown flag").expect_err("it is none").to_string();
        assert!(refused.contains("there is no Total:"), "{refused}");
        let damaged = RECORDED.replace("Slowest:\t", "Slowest:\tx");
        assert!(parse(&damaged).expect_err("it is damaged").to_string().contains("is no number"));
    }
}
