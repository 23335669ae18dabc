//! The figures of a report as tables: text for a terminal, Markdown for a page.

mod limits;
mod trials;

use comfy_table::{Cell, CellAlignment, Table, presets::NOTHING};

use crate::{
    report::{Report, Sample, SystemReport},
    workload::Workload,
};

/// Whose figures are divided by those of the others.
const OWN: &str = "kv";
const OTHERS: [&str; 2] = ["etcd", "zookeeper"];
const NONE: &str = "-";

/// A table, with words in the first `words` columns and numbers in the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) title: &'static str,
    pub(crate) words: usize,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// All tables of a report, for a terminal.
#[must_use]
pub fn text(report: &Report) -> String {
    let parts: Vec<_> = grids(report).iter().map(|grid| format!("{}\n\n{}\n", grid.title, grid.text())).collect();
    parts.join("\n")
}

/// Those that have rows.
pub(crate) fn grids(report: &Report) -> Vec<Grid> {
    let all = [
        rates(report),
        details(report),
        crashes(report),
        trials::handovers(report),
        trials::starts(report),
        trials::catch_ups(report),
        trials::endurances(report),
        trials::growths(report),
        limits::limits(report),
        limits::reached(report),
        trials::failures(report),
        trials::goals(report),
    ];
    all.into_iter().filter(|grid| !grid.rows.is_empty()).collect()
}

impl Grid {
    fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(self.header.iter().map(|title| Cell::new(title.to_uppercase())));
        for row in &self.rows {
            table.add_row(row.iter().enumerate().map(|(column, text)| {
                let side = if column < self.words { CellAlignment::Left } else { CellAlignment::Right };
                Cell::new(text).set_alignment(side)
            }));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let lines: Vec<_> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }

    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let sides = (0..self.header.len()).map(|column| if column < self.words { "---" } else { "---:" }.to_owned());
        let head = line(&self.header) + &line(&sides.collect::<Vec<_>>());
        self.rows.iter().fold(head, |text, row| text + &line(row))
    }
}

fn rates(report: &Report) -> Grid {
    let others: Vec<_> = OTHERS.into_iter().filter(|other| has(report, other) && has(report, OWN)).collect();
    let names = report.systems.iter().map(|system| system.name.clone());
    let ratios = others.iter().map(|other| format!("{OWN} ÷ {other}"));
    let header = std::iter::once("load".to_owned()).chain(names).chain(ratios).collect();
    let row = |workload: &Workload| {
        let rate = |name: &str| report.sample(name, workload).map(Sample::rate);
        let rates = report.systems.iter().map(|system| shown(rate(&system.name), grouped));
        let ratios =
            others.iter().map(|other| shown(rate(OWN).zip(rate(other)).map(|(own, other)| own / other), ratio));
        std::iter::once(workload.to_string()).chain(rates).chain(ratios).collect()
    };
    let rows = report.workloads().iter().map(row).collect();
    Grid { title: "Requests a second", words: 1, header, rows }
}

fn has(report: &Report, name: &str) -> bool {
    report.systems.iter().any(|system| system.name == name && !system.measurements.is_empty())
}

fn details(report: &Report) -> Grid {
    let header = ["load", "system", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "server s/M", "client s/M", "errors"];
    let mut rows = Vec::new();
    for workload in report.workloads() {
        for system in &report.systems {
            let Some(sample) = report.sample(&system.name, &workload) else { continue };
            let (latency, (servers, client)) = (sample.latency, sample.per_million());
            rows.push(vec![
                workload.to_string(),
                system.name.clone(),
                millis(latency.p50),
                millis(latency.p99),
                shown(latency.p999, millis),
                millis(latency.max),
                format!("{servers:.1}"),
                format!("{client:.1}"),
                sample.errors.to_string(),
            ]);
        }
    }
    let title = "Latency, and processor seconds of all servers and of the client per million requests";
    Grid { title, words: 2, header: header.map(str::to_owned).into(), rows }
}

fn crashes(report: &Report) -> Grid {
    let header = ["system", "kills", "shortest ms", "median ms", "longest ms"].map(str::to_owned).into();
    let row = |system: &SystemReport| {
        let mut millis = system.crash_millis.clone();
        millis.sort_by(f64::total_cmp);
        let [Some(shortest), Some(median), Some(longest)] =
            [millis.first(), millis.get(millis.len() / 2), millis.last()]
        else {
            return None;
        };
        let figures = [shortest, median, longest].map(|figure| format!("{figure:.0}"));
        Some([system.name.clone(), millis.len().to_string()].into_iter().chain(figures).collect())
    };
    let rows = report.systems.iter().filter_map(row).collect();
    Grid { title: "From the kill of the leader to the next acknowledged write", words: 1, header, rows }
}

fn shown<T>(figure: Option<T>, show: impl Fn(T) -> String) -> String {
    figure.map_or_else(|| NONE.to_owned(), show)
}

fn ratio(ratio: f64) -> String {
    format!("{ratio:.2}")
}

fn millis(micros: f64) -> String {
    format!("{:.2}", micros / 1e3)
}

/// Such as `12,345`.
fn grouped(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::report::tests::made;

    #[test]
    fn rates_are_compared_and_what_was_not_measured_has_none() {
        let rates = rates(&made());
        assert_eq!(rates.header, ["load", "kv", "etcd", "zookeeper", "kv ÷ etcd", "kv ÷ zookeeper"]);
        assert_eq!(rates.rows[0], ["put, 100 B, 64 in flight", "12,000", "4,000", "6,000", "3.00", "2.00"]);
        assert_eq!(rates.rows[1], ["scan of 100, 100 B, 64 in flight", "1,000", "2,000", "-", "0.50", "-"]);
    }

    #[test]
    fn latency_and_processor_time_have_their_units() {
        let details = details(&made());
        assert_eq!(details.rows.len(), 5);
        assert_eq!(details.rows[0][1..], ["kv", "1.50", "3.00", "-", "9.00", "100.0", "50.0", "0"]);
    }

    #[test]
    fn crashes_are_sorted_and_systems_without_any_left_out() {
        assert_eq!(crashes(&made()).rows, [["kv", "3", "700", "800", "1200"]]);
    }

    #[test]
    fn the_text_lines_up() {
        let text = text(&made());
        assert!(text.contains("KV ÷ ETCD") && text.contains("syncs"), "{text}");
        let rows: Vec<_> = text.lines().filter(|line| line.contains("64 in flight")).take(2).collect();
        assert_eq!(rows[0].find("12,000").map(|at| at + 6), rows[1].find("1,000").map(|at| at + 5), "{text}");
    }

    #[test]
    fn a_comma_stands_before_each_three_digits() {
        assert_eq!([0.4, 999.0, 1_000.0, 1_234_567.0].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
